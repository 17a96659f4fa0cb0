"""The unified model: what a reasoner has in mind while it writes its analysis conditions the legs of the restorer.

    model = rnr.unified.load("runs/unified/weights")
    record = model.diagnose([photo])[0]                  # a Diagnoser ...
    model.restore(pixels_HWC3, record)                   # ... and a Restorer, for every other room
    model.restore(pixels_HWC3, record, Intent(instruction="only remove the rain, keep the mist"))

After UARE (arXiv 2512.06750). There two experts share self-attention in one pretrained model. Here a text pass of the
reasoner comes first; its last hidden states at the fields of the Diagnosis, of the wish and of the expected quality
(`text.SLOTS`) are projected and scale and shift each block of the leg's expert, beside time and severity. Those
projections begin at zero, so an untrained pair restores as the two models do apart, bit for bit. The loss of the
restoration reaches the reasoner through these states.

Shapes: states_BSD are hidden states of S tokens; tokens_BKD those of the K slots of a leg.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.errors import SetupError
from rnr.degradation.intent import Intent
from rnr.reasoner.collate import Collator
from rnr.reasoner.decode import Session, decode
from rnr.reasoner.instructions.phrasings import Wish
from rnr.reasoner.instructions.reader import Reader
from rnr.reasoner.reasoner import Reasoner, Settings
from rnr.reasoner.views import as_uint8
from rnr.restorer.condition import diagnosis_of, left_alone, wanted
from rnr.restorer.expert_train import grown, looked, on_bridge, root_error
from rnr.restorer.pipeline import RestorePipeline
from rnr.restorer.result import RestoreResult
from rnr.unified.text import SLOTS, Written, add_turn, answer, append, first_turn, padded, tokens_of, turn

if TYPE_CHECKING:
    from rnr.degradation.protocols import Picture
    from rnr.unified.data import Restoration

WIDTH = 64  # of what an expert is conditioned on; a choice
Hidden = Mapping[str, torch.Tensor]  # by kind, (1, WIDTH)


class Bridge(nn.Module):
    """Hidden states of a leg's slots (B, K, D) -> what scales and shifts its expert (B, WIDTH)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Sequential(nn.Linear(len(SLOTS) * width, WIDTH), nn.GELU())

    def forward(self, tokens_BKD: torch.Tensor) -> torch.Tensor:
        return self.project(self.norm(tokens_BKD.float()).flatten(1))


class UnifiedModel(nn.Module):
    """A reasoner and a restorer of legs, joined by the hidden states of the analysis.

    It is a `Diagnoser` and a `Restorer` itself; `reasoner` is a whole `Reasoner`, for rooms that look inside.

    Args:
        reasoner: In this process; its model is trained in place.
        pipe: The chain of experts, which grow the conditioning in place.
        card: What a folder of weights says of itself.

    Raises:
        ValueError: For a restorer without experts.

    Example:
        >>> import rnr.unified
        >>> model = rnr.unified.load("built-in")  # the built-in pair, joined; restores as the two do apart
        >>> "noise" in model.conditioned
        True
    """

    def __init__(self, reasoner: Reasoner, pipe: Any, card: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.reasoner, self.pipe, self.card = reasoner, pipe, dict(card or {})
        self.language = reasoner.model
        self.join()
        self.bridge = Bridge(self.language.config.text_config.hidden_size)
        self.reader = None if knows_words(reasoner.processor.tokenizer) else Reader(self.kinds)
        self.collator = Collator(reasoner.processor)
        self.condition, self.lora = "both", 0  # as `UnifiedRun` names them

    def join(self) -> None:
        """Let the restorer be conditioned on hidden states, by what begins at zero."""
        pipe: RestorePipeline = self.pipe
        if getattr(pipe, "experts", None) is None:
            raise ValueError(f"{pipe.identity['model']}: has no experts to condition; name built-in, or such a folder")
        for kind, network in pipe.experts.networks.items():
            pipe.experts.networks[kind] = grown(network, (), hidden=WIDTH).eval()
        self.experts = pipe.experts.networks

    @property
    def conditioned(self) -> list[str]:
        """The kinds whose removal is conditioned on hidden states."""
        return list(self.experts)

    def add_lora(self, rank: int, seed: int = 0) -> None:
        """Adapters in the place of weights: for models that are too large to train whole.

        Raises:
            SetupError: For this pair, which is small.
        """
        raise SetupError("lora is for a latent diffusion transformer; leave it at 0 for a chain of experts")

    def to(self, *arguments: Any, memory_format: Any = None, **options: Any) -> UnifiedModel:
        """As any module; the experts have their layout already, and a reasoner's patch embedding takes none."""
        return super().to(*arguments, **options)

    @property
    def device(self) -> torch.device:
        return self.bridge.norm.weight.device

    @property
    def kinds(self) -> list[str]:
        """The kinds that the reasoner writes of."""
        return self.reasoner.kinds

    @property
    def physics(self) -> int:
        return self.reasoner.physics

    @property
    def identity(self) -> dict[str, Any]:
        """Of both, and of what joins them."""
        return {**self.reasoner.identity, "model": self.card.get("name", "unified pair, untrained"),
                "model_hash": self.card.get("hash", "")}  # fmt: skip

    @property
    def steps(self) -> int:
        return self.pipe.steps

    def diagnose(
        self, images: Iterable[Picture], settings: Settings | None = None, forced: Mapping[str, object] | None = None
    ) -> list[DiagnosisRecord]:
        """As `Reasoner.diagnose`, by the reasoner inside."""
        return self.reasoner.diagnose(images, settings, forced)

    def restore(
        self, pixels_HWC3: np.ndarray, source: DiagnosisRecord | Diagnosis | None, intent: Intent | None = None,
        num_inference_steps: int | None = None, seed: int = 0, eta: float = 0.0, hidden: Hidden | None = None,
        **options: Any,
    ) -> RestoreResult:  # fmt: skip
        """Restore one picture, as `RestorePipeline.restore`, with the hidden states of this text about this picture.

        Args:
            pixels_HWC3: Float in [0, 1].
            source: What was diagnosed; without a diagnosis there are no hidden states.
            intent: What is wanted; its `instruction` is read, and limits the kinds.
            num_inference_steps: As there.
            seed: The same.
            eta: The same.
            **options: The same.
            hidden: By kind, states to go by instead: those of another picture (an interchange).

        Returns:
            As there; `settings["wish"]` has what was read in the instruction.
        """
        words = intent.instruction if intent else None
        wish = self.read(words, pixels_HWC3, source) if words else None
        if intent and wish:
            intent = wish.narrowed(intent, self.kinds, left_alone(source, intent))
        asked = wish or Wish(tuple(self.kinds if intent is None or intent.kinds is None else intent.kinds))
        states, missing = (hidden, "") if hidden is not None else self.hidden(pixels_HWC3, source, asked, words or "")
        result = self.by(states, pixels_HWC3, source, intent, num_inference_steps, seed, eta, **options)
        result.settings |= {"model": self.identity["model"], "model_hash": self.identity["model_hash"]}
        if wish is not None:
            result.settings["wish"] = wish.as_record(words or "")
        if missing:
            result.settings["hidden"] = missing
        return result

    def by(self, hidden: Hidden, *arguments: Any, **options: Any) -> RestoreResult:
        """The restorer's answer, conditioned on these states."""
        if self.condition == "hidden" and arguments[1] is not None:
            pixels, source, intent, *rest = arguments
            arguments = (pixels, presence_of(source, intent), intent, *rest)
        return self.pipe.restore(*arguments, hidden=hidden, **options)

    @property
    def reads_instructions(self) -> bool:
        """Whether it was trained to."""
        return any(stage["stage"] == 2 for stage in self.card.get("training", []))

    @torch.no_grad()
    def read(self, words: str, pixels_HWC3: np.ndarray, source: DiagnosisRecord | Diagnosis | None) -> Wish:
        """What an instruction asks for; a reasoner that knows words writes it behind its own analysis.

        Raises:
            SetupError: For a pair that was not trained to.
            ValueError: For a reasoner that knows words and is given no diagnosis.
        """
        if not self.reads_instructions:
            raise SetupError(
                f"{self.identity['model']}: has not learned to read instructions; train it on with "
                "`rnr train unified --stage 2`, or name kinds with --only"
            )
        if self.reader is not None:
            return self.reader.read(words)
        diagnosis = diagnosis_of(source)
        if diagnosis is None:
            raise ValueError("there is no diagnosis to go on from; diagnose the picture first")
        first, views = self._first(pixels_HWC3, diagnosis, _boxes(source))
        append(first, self.collator, turn(self.reasoner.processor, words), 0.0)
        session = Session(self.language, self._inputs([first], [views]))
        decoded = decode(session, answer(self.kinds, diagnosis), self.reasoner.lexicon)
        written = {entry.field: decoded.text[entry.start : entry.end] for entry in decoded.trace}
        remove = tuple(kind for kind in self.kinds if written[f"wish.{kind}"] == "true")
        return Wish(remove, written["wish.unknown"] == "true")

    @torch.no_grad()
    def hidden(
        self, pixels_HWC3: np.ndarray, source: DiagnosisRecord | Diagnosis | None, wish: Wish, words: str = ""
    ) -> tuple[Hidden, str]:
        """By kind, what its expert is conditioned on beside the numbers, and why there is nothing, where so."""
        diagnosis = diagnosis_of(source)
        if diagnosis is None or not diagnosis.present or self.condition == "numbers":
            return {}, ""
        try:
            sequence, views = self.sequence(pixels_HWC3, diagnosis, wish, words, _boxes(source))
        except (ValueError, KeyError) as error:  # a diagnosis by hand, that this reasoner could not have written
            return {}, f"none: the reasoner could not have written this diagnosis ({error})"
        states = self.states([sequence], [views])[0]
        chosen = [kind for kind in diagnosis.present if kind in self.conditioned]
        return {kind: self.bridge(tokens_of(states, sequence.places, kind)[None]) for kind in chosen}, ""

    def sequence(
        self, pixels_HWC3: np.ndarray, diagnosis: Diagnosis, wish: Wish, words: str = "", boxes: Any = None
    ) -> tuple[Written, np.ndarray]:
        """The four parts about a picture, and its views, uint8 (V, S, S, 3)."""
        first, views = self._first(pixels_HWC3, diagnosis, boxes)
        return self.second(first, diagnosis, wish, words, None), views

    def second(self, first: Written, diagnosis: Diagnosis, wish: Wish, words: str, expected: float | None) -> Written:
        """The same sequence with its second turn; words only where the reasoner reads them."""
        reads = self.reader is None
        add_turn(first, self.collator, words if reads else "", diagnosis, self.kinds, wish, expected, reads)
        return first

    def row(self, views: np.ndarray, diagnosis: Diagnosis, looked: bool = False) -> dict[str, Any]:
        """As the reasoner's collator takes it; `looked`: whether it is known what the picture shows."""
        text = {"prompt": self.reasoner.prompt_text, "completion": diagnosis.to_json()}
        return {"images": views, "looked": looked, **text}

    def _first(self, pixels_HWC3: np.ndarray, diagnosis: Diagnosis, boxes: Any) -> tuple[Written, np.ndarray]:
        views = self.reasoner.views(as_uint8(np.asarray(pixels_HWC3)), boxes)
        return first_turn(self.collator, self.row(views, diagnosis), diagnosis, False), views

    def _inputs(self, sequences: Sequence[Written], views: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        pad, image = self.collator.tokenizer.pad_token_id, self.reasoner.processor.image_token_id
        ids = [Written(each.ids, each.ids, [0.0] * len(each.ids)) for each in sequences]
        batch = padded(ids, pad, image) | self.collator.pixels(views)
        names = ("input_ids", "mm_token_type_ids", "pixel_values", "image_grid_thw")
        found = {name: batch[name].to(self.language.device) for name in names}
        return found | {"pixel_values": found["pixel_values"].to(self.language.dtype)}

    def states(self, sequences: Sequence[Written], views: Sequence[np.ndarray]) -> torch.Tensor:
        """The last hidden states (B, S, D) of texts about pictures; the head makes logits of them."""
        return self.language.model(**self._inputs(sequences, views), use_cache=False).last_hidden_state

    def conditions(self, states_BSD: torch.Tensor, sequences: Sequence[Written], kind: str) -> torch.Tensor | None:
        """What the expert of a kind is conditioned on, (B, WIDTH); None where only numbers count."""
        if self.condition == "numbers":
            return None
        tokens = [tokens_of(states, each.places, kind) for states, each in zip(states_BSD, sequences)]
        return self.bridge(torch.stack(tokens))

    def flow_loss(
        self, made: Restoration, states_BSD: torch.Tensor, sequences: Sequence[Written], seed: int
    ) -> torch.Tensor:
        """L_RF of a batch of legs (`rnr.unified.train`)."""
        conditions = self.conditions(states_BSD, sequences, made.kind.name)
        network: Any = self.experts[made.kind.name]
        start, end = (x.to(self.device, memory_format=torch.channels_last) for x in (made.leg.start, made.leg.end))
        x, t = on_bridge(start, end, seed)
        numbers = self.condition != "hidden"
        inverse = made.leg.inverse.to(self.device) if numbers and made.leg.inverse is not None else None
        severity = made.leg.severity_B.to(self.device) if numbers and made.leg.severity_B is not None else None
        velocity = network(x, start, t, looked(network, start, inverse, conditions), severity, conditions)
        return root_error(x + t.view(-1, 1, 1, 1) * velocity, end)


def presence_of(source: DiagnosisRecord | Diagnosis, intent: Intent | None) -> Diagnosis:
    """A diagnosis without numbers: the kinds that are to be removed, in its order."""
    diagnosis, chosen = diagnosis_of(source), wanted(source, intent)
    assert diagnosis is not None  # `wanted` has refused it
    # Not validated: a finding that is present has a severity, and here it must not be read.
    findings = {kind: Finding.model_construct(present=True, severity=None) for kind in chosen}
    plan = [kind for kind in diagnosis.plan if kind in chosen]
    return Diagnosis.model_construct(scene=diagnosis.scene, findings=findings, quality=diagnosis.quality, plan=plan)


def knows_words(tokenizer: Any) -> bool:
    """Whether a tokenizer has words of English, or only letters."""
    return len(tokenizer.encode("remove", add_special_tokens=False)) < 3


def _boxes(source: DiagnosisRecord | Diagnosis | None) -> Any:
    """Where the views of a record lay, so that a text is read about what was seen."""
    return source.views if isinstance(source, DiagnosisRecord) and source.views else None
