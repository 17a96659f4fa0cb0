"""What a reasoner writes before it answers, as fields that can be cut, filled, reworded and edited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FILLER = "."


@dataclass(frozen=True)
class Thought:
    """The reasoning before the answers: scene and evidence, by path, in order.

    Attributes:
        fields: By path ("scene.lighting", "findings.haze.evidence"), the words as they were written.
        shown: By path, what stands there instead, for a reader of text; "" is nothing.
    """

    fields: Mapping[str, str]
    shown: Mapping[str, str] = field(default_factory=dict)

    def evidence(self, kind: str) -> str | None:
        """The words for a kind that are still legible; None where they were cut or replaced by filler."""
        path = f"findings.{kind}.evidence"
        text = self.shown.get(path, self.fields.get(path, ""))
        return self.fields[path] if text and not set(text) <= set(FILLER) else None

    def text(self, path: str) -> str:
        """What a reader finds at a path."""
        return self.shown.get(path, self.fields[path])

    def edited(self, kind: str, words: str) -> Thought:
        """With other evidence for a kind."""
        return replace(self, fields={**self.fields, f"findings.{kind}.evidence": words})

    def truncated(self, share: float) -> Thought:
        """Only the first share (0..1) of the fields (early answering, Lanham et al. 2023)."""
        kept = round(share * len(self.fields))
        return replace(self, shown={path: "" for path in list(self.fields)[kept:]})

    def filled(self) -> Thought:
        """Every value as filler of its length in characters (Lanham et al. 2023)."""
        return replace(self, shown={path: FILLER * len(text) for path, text in self.fields.items()})

    def paraphrased(self) -> Thought:
        """The evidence in other words: `fine residual 12-17 levels` as `fine residual from 12 to 17 levels`."""
        words = {path: reworded(text) for path, text in self.fields.items() if path.endswith(".evidence")}
        return replace(self, shown=words)


def reworded(evidence: str) -> str:
    """The same range in other words."""
    text = re.sub(r"([\d.]+)-([\d.]+)", r"from \1 to \2", evidence)
    return text.replace("below ", "less than ").replace("above ", "more than ")
