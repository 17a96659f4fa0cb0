"""Synthetic reasoners and restorers whose unfaithfulness is a dial: the tests of faithfulness are tested on them first.

At 0 the words are measured on the picture and the answer follows from the words alone (`Rule`). At 1 the words are made
up and the answer comes from the picture. Between, each case is one or the other with that chance. `brittle` is another
fault: an answer that changes with the wording. A test that cannot tell 0 from 1 here says nothing about a real model.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import to_tensor
from rnr.explain.cases import Case, Rule
from rnr.explain.pixelwise import mediation
from rnr.explain.subject import Answers
from rnr.explain.thought import Thought

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

HINTED = 40.0  # points by which a hint moves an answer; a choice, eight times the tolerance


class EvenRule(Rule):
    """Severities evenly spaced over the words of a kind: the law by which the dials answer, without ties."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__([], names)

    def _read(self, kind: str) -> list[float]:
        count = len(self.words[kind])
        return [100 * place / (count - 1) for place in range(count)]


class DialReasoner:
    """A reasoner that is unfaithful with chance `dial` in each picture.

    Args:
        rule: From words to severities.
        dial: 0 (faithful) to 1.
        brittle: Answer by the exact wording, too.
    """

    def __init__(self, rule: Rule, dial: float, brittle: bool = False) -> None:
        self.rule, self.dial, self.brittle = rule, dial, brittle
        self._seen: dict[tuple[int, str], str] = {}
        self.kinds: Sequence[str] = rule.names

    def think(self, picture: np.ndarray, hint: str = "") -> Thought:
        fields = {"scene.lighting": "even"}
        for kind in self.kinds:
            words = self.seen(picture, kind)
            if self._pretends(picture):
                words = self._made_up(picture, kind, words)
            elif hint and kind in hint:
                words = self.rule.opposite(kind, words)
            fields[f"findings.{kind}.evidence"] = words
        return Thought(fields)

    def answer(self, picture: np.ndarray | None, thought: Thought, hint: str = "") -> Answers:
        return {kind: self._answer(picture, thought, kind, hint) for kind in self.kinds}

    def _answer(self, picture: np.ndarray | None, thought: Thought, kind: str, hint: str) -> float:
        words = thought.evidence(kind)
        if picture is not None and self._pretends(picture):
            moved = HINTED if hint and kind in hint else 0.0
            return (self.rule(kind, self.seen(picture, kind)) + moved) % 100
        value = 50.0 if words is None else self.rule(kind, words)
        if self.brittle and words is not None:
            value += zlib.crc32(thought.text(f"findings.{kind}.evidence").encode()) % 50
        return value

    def patched(self, picture: np.ndarray, source: np.ndarray, kind: str) -> float:
        own, other = (self.answer(one, self.think(one))[kind] for one in (picture, source))
        return own if self._pretends(picture) else other

    def seen(self, picture: np.ndarray, kind: str) -> str:
        """The evidence as it is measured."""
        key = _hash(picture, "seen"), kind
        if key not in self._seen:
            value = float(kinds()[kind].measure(to_tensor(picture))[0])
            self._seen[key] = kinds()[kind].measurement.text(value)
        return self._seen[key]

    def _made_up(self, picture: np.ndarray, kind: str, words: str) -> str:
        """Any words of the kind but the true ones."""
        others = [other for other in self.rule.words[kind] if other != words]
        return others[_hash(picture, kind) % len(others)]

    def _pretends(self, picture: np.ndarray) -> bool:
        return _hash(picture, "dial") % 1000 < 1000 * self.dial


def _hash(picture: np.ndarray, salt: str) -> int:
    return zlib.crc32(salt.encode(), zlib.crc32(picture.tobytes()))


class DialRestorer:
    """A restorer that knows what a case's kind did, and removes the share of it that the diagnosis asks for.

    With chance `dial` it does not read the diagnosis and removes all of it.
    """

    def __init__(self, case: Case, dial: float) -> None:
        self.case, self.dial = case, dial
        self.kinds = list(case.names)

    def restore(self, pixels_HWC3: np.ndarray, source: Any, *_: Any, **__: Any) -> Any:
        """As `RestorePipeline.restore`: the pixels, and no legs."""
        from types import SimpleNamespace

        diagnosis = getattr(source, "diagnosis", source)
        finding = diagnosis.findings.get(self.case.kind) if diagnosis else None
        asked = min(1.0, (finding.severity or 0) / self.case.severity) if finding else 0.0
        share = 1.0 if _hash(self.case.picture, "restorer") % 1000 < 1000 * self.dial else asked
        here, there = (image[0].permute(1, 2, 0).numpy() for image in (self.case.damaged, self.case.spared))
        return SimpleNamespace(pixels_HWC3=pixels_HWC3 + share * (there - here), legs=[], untouched=share == 0)


def mediated(case: Case, dial: float) -> float:
    """What `mediation` says of a case whose restorer is such a one and whose diagnoses are true: the proportion."""
    said = {case.picture.tobytes(): case.truth, case.pair.tobytes(): case.truth.without(case.kind)}
    return mediation(DialRestorer(case, dial), [case], lambda picture: said[picture.tobytes()])[1][0]
