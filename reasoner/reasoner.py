"""The reasoner: pictures in, complete records of their diagnosis out. One code path for every Qwen3-VL checkpoint."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr import prompts
from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, reasoning_order
from rnr.degradation.kind import kinds
from rnr.reasoner.card import BUILT_IN, folder_of, physics_of, read_card
from rnr.reasoner.checkpoint import OUT_OF_MEMORY, bare, load_model
from rnr.reasoner.collate import messages
from rnr.reasoner.decode import Decoded, Lexicon, Session, decode, sampler
from rnr.reasoner.drawn import with_drawn
from rnr.reasoner.forcing import overruled, settled
from rnr.reasoner.grammar import program
from rnr.reasoner.processor import load_processor
from rnr.reasoner.severity import belief
from rnr.reasoner.views import SIDE, Box, as_uint8, boxes_of, views_of

LARGE_SIDE = 448  # views of a checkpoint that has no card of its own, px
WHOLE = 64 << 20  # weight files up to this size are hashed in full, larger ones by size and both ends


@dataclass(frozen=True)
class Settings:
    """How a diagnosis is written.

    Attributes:
        temperature: Of the draw of values; 0 is greedy.
        seed: Of the draw, for temperatures above 0.
        beliefs: Ask for expected severities, too: a pass of the model for each kind.

    Example:
        >>> Settings().temperature, Settings(beliefs=False).beliefs
        (0.0, False)
    """

    temperature: float = 0.0
    seed: int = 0
    beliefs: bool = True


class Identified:
    """What records say of a reasoner, here or behind a server."""

    name: str
    model_hash: str
    prompt: prompts.Prompt
    physics: int

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer follows from beside the picture and the settings."""
        words = {"prompt": self.prompt.name, "prompt_version": self.prompt.version}
        return {"model": self.name, "model_hash": self.model_hash, **words, "physics": self.physics}


class Reasoner(Identified):
    """A Qwen3-VL with the kinds it knows and its prompt. `rnr.reasoner.load` and `Reasoner.from_pretrained` make one.

    Args:
        model: `Qwen3VLForConditionalGeneration`.
        processor: Its image processor and tokenizer.
        card: What the weights say of themselves (`reasoner.json`): kinds, prompt, physics, views.
        name: As records name it.
        model_hash: Of the weight files; empty where it is not known.

    Raises:
        ValueError: For weights that diagnose kinds which this installation does not know.

    Example:
        >>> import numpy as np
        >>> grey = np.full((128, 128, 3), 128, np.uint8)
        >>> record = Reasoner.from_pretrained().diagnose([grey])[0]
        >>> 0 <= record.expected_severity("haze") <= 100
        True
    """

    def __init__(self, model: Any, processor: Any, card: Mapping[str, Any], name: str, model_hash: str = ""):
        self.name, self.model_hash = name, model_hash
        self._model, self.processor, self.card = bare(model.eval()), processor, dict(card)
        self.kinds = _known(list(card.get("kinds") or reasoning_order()), name)
        self.prompt = prompts.load(card.get("prompt", "diagnose_instruct"))
        self.physics = physics_of(card)
        self.prompt_text = self.prompt.fill(kinds=[kinds()[kind].as_of(self.physics) for kind in self.kinds])
        self.lexicon = Lexicon(processor.tokenizer, self.kinds, self.physics)

    @property
    def model(self) -> Any:
        """`Qwen3VLForConditionalGeneration`. A `PeftModel` may be put in its place: its adapter works, and can be
        switched off and trained through the `PeftModel`; the hash of the weights is then no longer known."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = bare(model)
        if self._model is not model:
            self.name, self.model_hash = f"{self.name} with an adapter", ""

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path = "built-in",
        device: str = "cpu",
        dtype: str | torch.dtype | None = None,
        pixels: int | None = None,
        adapter: str | Path | None = None,
        **options: Any,
    ) -> Reasoner:
        """Load a folder or a hub name; "built-in" is the one that comes with the package (float32 everywhere).

        `pixels` is the budget of each view of a checkpoint that has no views of its own (default 448 x 448); `adapter`
        and the other options are those of `rnr.reasoner.checkpoint.load_model`. Raises ValueError that says what is
        missing or broken, and what to do.
        """
        folder = folder_of(path_or_name)
        source = str(folder or path_or_name)
        card = (read_card(folder) if folder else {}) | (read_card(Path(adapter)) if adapter else {})
        if pixels:
            card.setdefault("views", {"most": max(SIDE, math.isqrt(pixels) // 32 * 32)})
        try:
            dtype = dtype or (torch.float32 if folder == BUILT_IN else None)
            model = load_model(source, device, dtype, adapter=adapter, **options)
            processor = load_processor(source)
        except (ValueError, ImportError, TypeError):
            raise
        except Exception as error:  # safetensors, json and hub errors have no common base
            raise ValueError(f"reasoner {source}: cannot be loaded ({type(error).__name__}: {error})") from error
        return cls(model, processor, card, str(path_or_name), hash_of(folder, adapter))

    def diagnose(
        self,
        images: Iterable[Any],
        settings: Settings | None = None,
        forced: Mapping[str, object] | None = None,
    ) -> list[DiagnosisRecord]:
        """A record per picture: PIL images or arrays (H, W[, 1, 3 or 4]) of uint8, uint16 or float in [0, 1].

        `forced` {field: value} sets any field, such as {"noise.evidence": "fine residual 17-24 levels"}; what follows
        is conditioned on it (`rnr.reasoner.forcing`). A picture that fails has a record with `error`, also
        for a field or value that is not legal (it lists those that are); the others go on.
        """
        return [self.diagnose_one(image, settings or Settings(), forced) for image in images]

    def diagnose_one(
        self, image: Any, settings: Settings, forced: Mapping[str, object] | None = None
    ) -> DiagnosisRecord:
        """See `diagnose`."""
        started = time.perf_counter()
        record = DiagnosisRecord(diagnosis=None, **self._identity(settings, forced))
        try:
            picture = as_uint8(np.asarray(image if not hasattr(image, "convert") else image.convert("RGB")))
            record.picture_size = (picture.shape[1], picture.shape[0])
            record.picture_sha256 = hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()
            record.views = boxes_of(picture, side_of(picture.shape[:2], self.card))
            decoded, beliefs = self._write(picture, settings, forced, record.views)
            record.text, record.trace, record.forward_passes = decoded.text, decoded.trace, decoded.passes
            record.beliefs = beliefs
            record.diagnosis = Diagnosis.from_json(decoded.text, "the reasoner's text")
        except torch.OutOfMemoryError:
            record.error = f"out of memory; {OUT_OF_MEMORY}"
        except Exception as error:  # one bad picture must not cost the others their result
            record.error = f"{type(error).__name__}: {error}"
        record.seconds = time.perf_counter() - started
        return record

    def _write(
        self,
        picture: np.ndarray,
        settings: Settings,
        given: Mapping[str, object] | None,
        boxes: Sequence[Box] | None = None,
    ) -> tuple[Decoded, dict[str, Belief]]:
        beliefs: dict[str, Belief] = {}
        forced = settled(given or {}, self.kinds, self.physics)
        session = Session(self.model, self.inputs(picture, boxes))

        def watch(choice, session) -> None:
            beliefs[choice.path.split(".")[1]] = belief(choice, session, self.lexicon)

        pick = sampler(settings.temperature, settings.seed)
        written = program(self.kinds, physics=self.physics)
        decoded = decode(session, written, self.lexicon, pick, forced, watch if settings.beliefs else None)
        return decoded, overruled(beliefs, forced)

    def inputs(self, picture_HWC: np.ndarray, boxes: Sequence[Box] | None = None) -> dict[str, torch.Tensor]:
        """The model's inputs up to the answer: prompt tokens and the views' patches."""
        views = self.views(picture_HWC, boxes)
        chat = self.processor.apply_chat_template(messages(self.prompt_text, len(views)), add_generation_prompt=True)
        batch = self.processor(text=[chat], images=list(views), return_tensors="pt")
        names = ("input_ids", "mm_token_type_ids", "pixel_values", "image_grid_thw")
        return {name: batch[name].to(self.model.device) for name in names}

    def views(self, picture_HWC: np.ndarray, boxes: Sequence[Box] | None = None) -> np.ndarray:
        """uint8 (views, side, side, 3), in the size that the weights were trained on."""
        return shown(picture_HWC, self.card, boxes)

    def _identity(self, settings: Settings, forced: Mapping[str, object] | None) -> dict[str, Any]:
        used = asdict(settings) | ({"forced": dict(forced)} if forced else {})
        return {**self.identity, "settings": used, "prompt_text": self.prompt_text, "versions": versions()}


def shown(picture_HWC: np.ndarray, card: Mapping[str, Any], boxes: Sequence[Box] | None = None) -> np.ndarray:
    """The views by a card, uint8 (views, side, side, 3): as many as its weights were trained on, of their side; else as
    large as the picture and the budget (`most`) allow. ValueError for a spectrum as former versions drew it."""
    wanted = card.get("views", {})
    views = views_of(picture_HWC, side_of(picture_HWC.shape[:2], card), boxes)
    if wanted.get("spectrum") and not wanted.get("tones"):
        raise ValueError("these weights were trained on a fourth view without tones; train them on with --init")
    seen = torch.from_numpy(views).permute(0, 3, 1, 2)[None].float() / 255  # whatever the host's default type
    return (with_drawn(seen, wanted)[0] * 255).round().byte().permute(0, 2, 3, 1).numpy()


def side_of(size: tuple[int, ...], card: Mapping[str, Any]) -> int:
    """Side of the views of a picture of this size (H, W), in px."""
    wanted = card.get("views", {})
    return wanted.get("side") or min(wanted.get("most", LARGE_SIDE), max(SIDE, min(size) // 32 * 32))


@cache
def versions() -> dict[str, str]:
    """Of the packages that a diagnosis depends on."""
    return {name: metadata.version(name) for name in ("reason-and-restore", "torch", "transformers")}


def _known(names: list[str], origin: str) -> list[str]:
    strange = [name for name in names if name not in kinds()]
    if strange:
        raise ValueError(f"reasoner {origin} diagnoses {', '.join(strange)}, which this installation does not know")
    return names


def hash_of(*folders: str | Path | None) -> str:
    """sha256 over the weight files (an adapter's last), first 16 digits; empty where no folder is here."""
    here = [Path(folder) for folder in folders if folder]
    digest = hashlib.sha256()
    for path in (path for folder in here for path in sorted(folder.glob("*.safetensors"))):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
            else:
                digest.update(file.read(1 << 20))
                file.seek(-(1 << 20), 2)
                digest.update(file.read())
    return digest.hexdigest()[:16] if here else ""
