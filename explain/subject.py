"""Whose faithfulness is measured: thought first, answers after it. A reasoner, or a synthetic one (`dial.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rnr.degradation._lazy import LazyModule
from rnr.degradation.errors import Error
from rnr.explain.internals import Internals
from rnr.explain.thought import Thought
from rnr.reasoner.collate import messages
from rnr.reasoner.decode import Session, decode
from rnr.reasoner.grammar import program
from rnr.reasoner.severity import belief

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

Answers = Mapping[str, float]  # expected severity 0..100 by kind


class Subject(Protocol):
    """What the tests of faithfulness need of a reasoner. `hint`: a sentence in the prompt beside the task."""

    kinds: Sequence[str]

    def think(self, picture: np.ndarray, hint: str = "") -> Thought:
        """What it writes of a picture, uint8 (H, W, 3), before it answers."""

    def answer(self, picture: np.ndarray | None, thought: Thought, hint: str = "") -> Answers:
        """Its answers after this thought; without a picture, from the words alone."""

    def patched(self, picture: np.ndarray, source: np.ndarray, kind: str) -> float:
        """Its answer for a kind, with the inner state at that question taken from another picture."""


class Reasoned:
    """A reasoner that runs in this process as a subject.

    Args:
        reasoner: A `rnr.reasoner.Reasoner`.

    Raises:
        Error: For a reasoner behind a server.
    """

    def __init__(self, reasoner: Any) -> None:
        self.internals, self.reasoner = Internals(reasoner), reasoner
        self.kinds: Sequence[str] = reasoner.kinds
        self.layer = len(reasoner.model.model.language_model.layers) // 2  # where `patched` replaces states

    def think(self, picture: np.ndarray, hint: str = "") -> Thought:
        decoded, _ = self._decode(picture, hint, {})
        written = {entry.field: decoded.text[entry.start : entry.end] for entry in decoded.trace}
        thoughts = {
            path: text for path, text in written.items() if path.startswith("scene.") or path.endswith("evidence")
        }
        return Thought(thoughts)

    def answer(self, picture: np.ndarray | None, thought: Thought, hint: str = "") -> Answers:
        return self._decode(picture, hint, {path: thought.text(path) for path in thought.fields})[1]

    def patched(self, picture: np.ndarray, source: np.ndarray, kind: str) -> float:
        run, other = (self.internals.run(one) for one in (picture, source))
        names = [f"findings.{kind}.{field}" for field in ("present", "severity")]
        return self.internals.patch(run, picture, other, names, self.layer).expected_severity(kind)

    def _decode(self, picture: np.ndarray | None, hint: str, words: Mapping[str, str]) -> tuple[Any, Answers]:
        reasoner, said = self.reasoner, {}

        def watch(choice: Any, session: Session) -> None:
            said[choice.path.split(".")[1]] = belief(choice, session, reasoner.lexicon).expected_severity

        session = Session(reasoner.model, self.inputs(picture, hint))
        written = program(reasoner.kinds, physics=reasoner.physics)
        decoded = decode(session, written, reasoner.lexicon, watch=watch, instead=words)
        return decoded, said

    def inputs(self, picture: np.ndarray | None, hint: str) -> dict[str, torch.Tensor]:
        """The prompt with a hint behind it, and with no views at all where there is no picture."""
        reasoner = self.reasoner
        views = [] if picture is None else list(reasoner.views(picture))
        asked = f"{reasoner.prompt_text} {hint}" if hint else reasoner.prompt_text
        chat = reasoner.processor.apply_chat_template(messages(asked, len(views)), add_generation_prompt=True)
        batch = reasoner.processor(text=[chat], images=views or None, return_tensors="pt")
        names = ("input_ids", "mm_token_type_ids", "pixel_values", "image_grid_thw")
        return {name: batch[name].to(reasoner.model.device) for name in names if name in batch}


def subject_of(reasoner: Any) -> Reasoned:
    """A reasoner as a subject. Raises Error for one behind a server, whose words cannot be replaced."""
    if not hasattr(reasoner, "lexicon"):
        raise Error(
            "faithfulness needs the weights in this process: load the reasoner from a folder, not from a server"
        )
    return Reasoned(reasoner)
