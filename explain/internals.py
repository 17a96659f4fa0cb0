"""Inside a reasoner, by the names of the Diagnosis' fields instead of token positions.

    internals = Internals(rnr.reasoner.load("built-in"))
    run = internals.run(photo)
    run.hidden("haze.severity", layer=2)          # (D,) where the severity is about to be chosen
    run.lens("haze.severity")                     # (layers + 1,) E[severity | present] by layer
    internals.patch(run, other, "views.rich_crop", layer=1).expected_severity("haze")
    internals.gradient(photo, "haze").pixels_HWC  # d E[severity] / d pixels of the photograph

Plain hooks on `Qwen3VLForConditionalGeneration`, unmodified: the built-in model and any Qwen3-VL alike. Layer i is the
residual stream that text layer i reads; the last one (number of layers) is what the final norm reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.errors import Error
from rnr.degradation.photographs import to_tensor
from rnr.explain.hooks import eager, watching
from rnr.explain.pixels import boxes, patches_of, views_of_tensor
from rnr.explain.script import Script, expected, log_probabilities, rows_of, script_of
from rnr.reasoner.reasoner import Settings
from rnr.reasoner.views import Box, as_uint8

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

At = Literal["asked", "written"]


@dataclass
class Run:
    """One forward pass over a picture and its answer.

    Attributes:
        reasoner: Who answered.
        diagnosis: The answer.
        script: Its tokens by the names of fields and views.
        logits: (rows, vocabulary) after the tokens `script.asked()`.
        states: Residual streams (layers + 1, S, D), float32; S tokens of prompt, answer and branches.
        weights: Attention (layers, heads, S, S), where it was asked for.
        record: What `Reasoner.diagnose` said, where the answer is its own.

    Example:
        >>> from PIL import Image
        >>> from rnr.reasoner import load_local
        >>> run = Internals(load_local()).run(Image.open("photo.jpg"))
        >>> len(run.lens("noise.severity")) == run.layers + 1
        True
        >>> run.alternatives("noise.present", 1)[0][0]
        'true'
    """

    reasoner: Any
    diagnosis: Diagnosis
    script: Script
    logits: torch.Tensor
    states: torch.Tensor
    weights: torch.Tensor | None = None
    record: DiagnosisRecord | None = None

    @property
    def layers(self) -> int:
        """Number of text layers."""
        return len(self.states) - 1

    def hidden(self, name: str, layer: int | None = None, at: At = "asked") -> torch.Tensor:
        """Hidden states by name.

        Args:
            name: A field ("findings.haze.severity", "haze.severity") or a view ("views.rich_crop", "rich_crop").
            layer: 0 (embeddings) to `layers` (before the final norm); None for all.
            at: Of a field, "asked" is the token whose logits choose the value, "written" the tokens of the value.

        Returns:
            A field that is asked: (D,), with all layers (layers + 1, D). Else the mean over the tokens, likewise.

        Raises:
            Error: For a name or a layer that is not there.
        """
        states = self.states[:, self._tokens(name, at)].mean(1)
        if layer is None:
            return states
        if not -len(states) <= layer < len(states):
            raise Error(f"there is no layer {layer}; there are 0 to {self.layers}")
        return states[layer]

    def _tokens(self, name: str, at: At) -> list[int]:
        place = self.script.place(name)
        view = self.script.path(name).startswith("views.")
        return list(range(place.start, place.end)) if view or (at == "written" and place.value) else [place.asked]

    def probabilities(self, name: str, layer: int | None = None) -> dict[str, float]:
        """Probability of every legal string of a field, given all before it; they sum to 1.

        Args:
            name: A field; the severity of a kind is P(severity | present), whether it is present or not.
            layer: None for the model's own; a layer for what the final norm and the head make of it (logit lens,
                nostalgebraist 2020).

        Raises:
            Error: For a name that is not there.
        """
        full = self.script.path(name)
        if full not in self.script.trees:
            raise Error(f"{full} is not chosen; fields are {', '.join(self.script.trees)}")
        tree = self.script.trees[full]
        shares = log_probabilities(tree, self.row(layer), self.reasoner.lexicon).exp()
        return dict(zip(tree.choice.options, shares.tolist()))

    def alternatives(self, name: str, count: int = 3) -> list[tuple[str, float]]:
        """The likeliest strings of a field with their probabilities."""
        ordered = sorted(self.probabilities(name).items(), key=lambda pair: -pair[1])
        return ordered[:count]

    def row(self, layer: int | None = None) -> Any:
        """Logits after a token: the model's own, or those of the logit lens at a layer."""
        if layer is None:
            return rows_of(self.logits, self.script.asked())
        model, states = self.reasoner.model, self.states[layer]
        text = model.model.language_model

        def lens(token: int) -> torch.Tensor:
            with torch.no_grad():
                return model.lm_head(text.norm(states[token].to(model.dtype))).float()

        return lens

    def expected_severity(self, kind: str, layer: int | None = None) -> float:
        """P(present) x E[severity | present], 0..100; with `layer`, as the logit lens sees it there."""
        self._known(kind)
        return float(expected(self.script, kind, self.row(layer), self.reasoner.lexicon))

    def _known(self, kind: str) -> None:
        if kind not in self.reasoner.kinds:
            raise Error(f"the reasoner does not ask for {kind!r}; it asks for {', '.join(self.reasoner.kinds)}")

    def lens(self, name: str) -> torch.Tensor:
        """By layer (layers + 1,): of a severity E[severity | present], else the probability of the chosen string."""
        full = self.script.path(name)
        rows = [self.probabilities(full, layer) for layer in range(self.layers + 1)]
        if full.endswith("severity"):
            return torch.tensor([sum(int(value) * share for value, share in row.items()) for row in rows])
        return torch.tensor([row[self.script.places[full].value] for row in rows])

    def attention(self, name: str) -> dict[str, torch.Tensor]:
        """How much the token that asks for a field attends to each field, view, and the rest of prompt and answer.

        Returns:
            (layers, heads) by name; with "rest" they sum to 1.

        Raises:
            Error: If the run was made without `attention=True`.
        """
        if self.weights is None:
            raise Error("this run has no attention; make it with run(image, attention=True)")
        rows = self.weights[:, :, self.script.place(name).asked]
        found = {full: rows[..., place.start : place.end].sum(-1) for full, place in self.script.places.items()}
        return found | {"rest": 1 - torch.stack(list(found.values())).sum(0)}


@dataclass
class Gradient:
    """How an expected severity answers to pixels.

    Attributes:
        kind: Of the severity.
        expected: The severity, 0..100.
        pixels_HWC: d expected / d pixel, per unit of [0, 1], in the picture's own size.
        image_HWC: The pixels, float32 in [0, 1].
        boxes: (top, left, height, width) of the views.

    Example:
        >>> from PIL import Image
        >>> from rnr.reasoner import load_local
        >>> photo = Image.open("photo.jpg")
        >>> found = Internals(load_local()).gradient(photo, "noise")
        >>> found.pixels_HWC.shape == found.image_HWC.shape
        True
    """

    kind: str
    expected: float
    pixels_HWC: np.ndarray
    image_HWC: np.ndarray
    boxes: list[Box]


class Internals:
    """Hidden states, attention, logit lens, patching and gradients of a reasoner that runs in this process.

    Args:
        reasoner: A `rnr.reasoner.Reasoner`.

    Raises:
        Error: For a reasoner behind a server, whose insides nobody sees.

    Example:
        >>> from PIL import Image
        >>> from rnr.reasoner import load_local
        >>> internals = Internals(load_local("built-in"))
        >>> internals.run(Image.open("photo.jpg")).expected_severity("noise") > 30
        True
    """

    def __init__(self, reasoner: Any) -> None:
        if not hasattr(reasoner, "model") or not hasattr(reasoner, "lexicon"):
            raise Error(
                "internals need the weights in this process: load the reasoner from a folder, not from a server"
            )
        self.reasoner = reasoner

    def run(self, image: Any, diagnosis: Diagnosis | None = None, attention: bool = False) -> Run:
        """Look inside while a picture is diagnosed.

        Args:
            image: PIL image or array, as `Reasoner.diagnose` takes it.
            diagnosis: An answer to look at instead of the reasoner's own (its own, edited; teacher forcing).
            attention: Keep attention weights, layers x heads x tokens x tokens of them.

        Raises:
            Error: If the picture could not be diagnosed.
        """
        picture = self.pixels(image)
        record = None
        if diagnosis is None:
            record = self.reasoner.diagnose([picture], Settings())[0]
            if record.diagnosis is None:
                raise Error(f"the picture could not be diagnosed: {record.error}")
            diagnosis = record.diagnosis
        inputs = self.reasoner.inputs(picture)
        script = script_of(self.reasoner, diagnosis, inputs["input_ids"][0].tolist())
        with torch.no_grad():
            run = self._forward(script, inputs, diagnosis, attention)
        run.record = record
        return run

    def pixels(self, image: Any) -> np.ndarray:
        """uint8 (H, W, 3) of what `Reasoner.diagnose` takes."""
        return as_uint8(np.asarray(image if not hasattr(image, "convert") else image.convert("RGB")))

    def patch(
        self, run: Run, image: Any, source: Run, at: str | Sequence[str], layer: int, tokens: At = "asked"
    ) -> Run:
        """The run again with hidden states of another one: activation patching (Meng et al. 2022; Geiger et al. 2021).

        Args:
            run: Of `image`; its answer is kept, what changes are the logits and the states above the patch.
            image: The picture of `run`.
            source: Where the states come from: a run on another picture.
            at: Fields or views whose states are replaced.
            layer: 0 to the number of layers.
            tokens: Of a field, the token that asks for it, or those of its value (aligned at their end).

        Raises:
            Error: For names that one of the two runs does not have.
        """
        pairs = [
            pair for name in ([at] if isinstance(at, str) else at) for pair in self._pairs(run, source, name, tokens)
        ]
        here, there = ([pair[i] for pair in pairs] for i in (0, 1))
        change = {layer: (here, source.states[layer][there])}
        inputs = self.reasoner.inputs(self.pixels(image))
        with torch.no_grad():
            return self._forward(run.script, inputs, run.diagnosis, run.weights is not None, change)

    def _pairs(self, run: Run, source: Run, name: str, tokens: At) -> list[tuple[int, int]]:
        here, there = run._tokens(name, tokens), source._tokens(name, tokens)
        shared = min(len(here), len(there))
        return list(zip(here[-shared:], there[-shared:]))

    def gradient(self, image: Any, kind: str, diagnosis: Diagnosis | None = None) -> Gradient:
        """d E[severity] / d pixels of the original picture, through crops, resizing, spectrum and tones.

        Args:
            image: As in `run`.
            kind: Whose expected severity.
            diagnosis: The answer along which it is read; the reasoner's own by default.

        Raises:
            Error: For a kind that the reasoner does not ask for.
        """
        picture = self.pixels(image)
        run = self.run(picture, diagnosis)
        run._known(kind)
        places, pixels = boxes(picture, self.reasoner.card), to_tensor(picture).requires_grad_()
        value = self.severity_of(pixels, run, kind, places)
        (slope,) = torch.autograd.grad(value, pixels)
        by_pixel, seen = (t[0].permute(1, 2, 0).cpu().numpy() for t in (slope, pixels.detach()))
        return Gradient(kind, float(value.detach()), by_pixel, seen, places)

    def along(self, image_1CHW: torch.Tensor, run: Run, places: list[Box]) -> Run:
        """A float picture along the answer of a run, its crops at these boxes; differentiable in the pixels."""
        model, pixels = self.reasoner.model, self.pixels(image_1CHW.detach()[0].permute(1, 2, 0))
        inputs = self.reasoner.inputs(pixels, places)
        views = views_of_tensor(image_1CHW, self.reasoner.card, places)
        inputs["pixel_values"] = patches_of(views.to(model.device), self.reasoner.processor).to(model.dtype)
        return self._forward(run.script, inputs, run.diagnosis, False)

    def severity_of(self, image_1CHW: torch.Tensor, run: Run, kind: str, places: list[Box]) -> torch.Tensor:
        """Expected severity (a scalar) of a float picture along the answer of a run, differentiable in the pixels."""
        again = self.along(image_1CHW, run, places)
        return expected(again.script, kind, again.row(), self.reasoner.lexicon)

    def arguments(self, run: Run, image: Any) -> dict[str, Any]:
        """What the model is called with for the one pass of a run, for other tools: nnsight, TransformerLens, hooks.

        Args:
            run: Of `image`; its `script.place(name)` says where fields and views stand in this pass.
            image: The picture of `run`.

        Returns:
            Keyword arguments of `reasoner.model`; the logits are those after the tokens `run.script.asked()`.

        Example:
            >>> from PIL import Image
            >>> from rnr.reasoner import load_local
            >>> reasoner, photo = load_local(), Image.open("photo.jpg")
            >>> internals = Internals(reasoner)
            >>> run, states = internals.run(photo), []
            >>> layer = reasoner.model.model.language_model.layers[2]
            >>> hook = layer.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))
            >>> with torch.no_grad():
            ...     _ = reasoner.model(**internals.arguments(run, photo))
            >>> hook.remove()
            >>> bool(torch.allclose(states[0][0], run.states[2], atol=1e-4))
            True
        """
        return _arguments(self.reasoner.model, run.script, self.reasoner.inputs(self.pixels(image)))

    def _forward(
        self,
        script: Script,
        inputs: Mapping[str, torch.Tensor],
        diagnosis: Diagnosis,
        attention: bool,
        change: Mapping[int, tuple[list[int], torch.Tensor]] | None = None,
    ) -> Run:
        model = self.reasoner.model
        with watching(model, change or {}) as seen, eager(model, attention) as weights:
            output = model(**_arguments(model, script, inputs))
        states = torch.stack([seen[layer] for layer in sorted(seen)]).float()
        kept = torch.stack(weights).float() if attention else None
        return Run(self.reasoner, diagnosis, script, output.logits[0].float(), states, kept)


def _arguments(model: Any, script: Script, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    more = torch.tensor([script.ids], dtype=torch.long, device=model.device)
    vision = {name: inputs[name] for name in ("mm_token_type_ids", "image_grid_thw") if name in inputs}
    prompt = model.model.get_rope_index(inputs["input_ids"], **vision)[0]
    behind = torch.tensor(script.depth, device=model.device).expand(3, 1, -1) + int(prompt.max()) + 1
    return {
        "input_ids": torch.cat([inputs["input_ids"], more], 1), "position_ids": torch.cat([prompt, behind], 2),
        "attention_mask": script.mask(model.dtype).to(model.device), "use_cache": False,
        "logits_to_keep": torch.tensor(script.asked(), device=model.device),
        **{name: inputs[name] for name in ("pixel_values", "image_grid_thw") if name in inputs},
    }  # fmt: skip
