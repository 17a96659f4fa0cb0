"""Evidence that is edited to that of the same picture with another severity: in the form that training shows, and in
forms that are kept out of it (`rnr.reasoner.data.FAR`).

The words are measured, not made up: a region is damaged once more with the same random layers and another severity, and
what is measured in that is forced while the reasoner looks at the first. The expected severity should move the way in
which the true one was moved. An edit is compared with the region's own measured evidence, forced likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from rnr.degradation.synthesize import Mixture, degrade, truths
from rnr.evaluation.metrics import average
from rnr.evaluation.robustness import Report, diagnosed
from rnr.evaluation.samples import Batch
from rnr.evaluation.tables import Row, Table
from rnr.reasoner.data import FAR, SHIFT, UNTAUGHT, by_points

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
    from rnr.reasoner import Reasoner

WAYS = (-1, 1)
Words = Mapping[str, str]  # by field, as `forced` takes them
Look = Callable[[tuple[tuple[str, str], ...]], "DiagnosisRecord"]


@dataclass(frozen=True)
class Form:
    """One form of edit.

    Attributes:
        points: Least and most by which the severity is moved that the words are measured at; the middle is tried.
        together: Whether the words of all kinds are edited, as training does it, or those of one kind alone.
    """

    points: tuple[float, float]
    together: bool = False


FORMS = {
    "near, all kinds": Form(SHIFT, together=True),
    "near, one kind": Form(SHIFT),
    "far, one kind": Form(FAR),
}


@dataclass(frozen=True)
class Edit:
    """Words of a picture whose `kinds` are less (way -1) or more (1) severe."""

    way: int
    kinds: Sequence[str]
    words: Words


@dataclass
class Moved:
    """What edits did to one kind: (way, points of expected severity), and from less to more the points between."""

    edits: list[tuple[int, float]] = field(default_factory=list)
    ranges: list[float] = field(default_factory=list)

    def row(self) -> Row:
        along = [way * points for way, points in self.edits]
        right = 100 * average([points > 0 for points in along])
        return {"n": len(along), "moves by": average(along), "right way %": right, "range": average(self.ranges)}


def edits_table(reasoner: Reasoner, batches: Iterable[Batch], report: Report = lambda done: None) -> Table:
    """By form and kind: how far edited evidence moves the expected severity of what is there, and which way."""
    found = {name: {kind: Moved() for kind in reasoner.kinds} for name in FORMS}
    done = 0
    for batch in batches:
        edits = {name: edits_of(batch, form, reasoner.kinds) for name, form in FORMS.items()}
        for i, (picture, truth) in enumerate(zip(batch.pictures(), batch.truths())):
            look = _look(reasoner, picture)
            for name in FORMS:
                _measure(look, truth, edits[name][i], found[name])
            done += 1
            report(done)
    note = (
        f"near: words of {SHIFT[0]:g} to {SHIFT[1]:g} points less or more; far: of {FAR[0]:g} to {FAR[1]:g}; shown: in "
        "training; moves by: points of expected severity, positive the right way; range: from less to more."
    )
    rows = [row for name in FORMS for row in _rows(name, found[name])]
    return Table.of("Edited evidence, in the form that training shows and in others", rows, note, {"right way %": 0})


def _rows(name: str, found: Mapping[str, Moved]) -> Iterator[Row]:
    taught = [moved for kind, moved in found.items() if kind not in UNTAUGHT]
    every = Moved([edit for m in taught for edit in m.edits], [points for m in taught for points in m.ranges])
    for kind, moved in [*found.items(), ("all that training edits", every)]:
        row: Row = {"edit": name, "shown": FORMS[name].together and kind not in UNTAUGHT, "evidence of": kind}
        yield row | moved.row()


def edits_of(batch: Batch, form: Form, kinds: Sequence[str]) -> list[list[Edit]]:
    """The edits of each picture: of all its kinds together, or of each kind that is there."""
    groups = [[kind for kind in kinds if kind not in UNTAUGHT]] if form.together else [[kind] for kind in kinds]
    edits: list[list[Edit]] = [[] for _ in range(batch.mixture.batch)]
    before = {kind: batch.mixture.severity(kind).tolist() for kind in kinds}
    for group in groups:
        asked = kinds if form.together else group
        for way in WAYS:
            other = moved(batch.mixture, group, way * sum(form.points) / 2)
            after = {kind: other.severity(kind).tolist() for kind in group}
            said = truths(batch.clean_BCHW, degrade(batch.clean_BCHW, other), other, asked)
            for i, diagnosis in enumerate(said):
                read = [k for k in group if form.points[0] <= way * (after[k][i] - before[k][i]) <= form.points[1]]
                read = [kind for kind in read if before[kind][i]]
                words = evidence(diagnosis, asked)
                edits[i] += [Edit(way, read, words)] if read else []
    return edits


def moved(mixture: Mixture, names: Sequence[str], points: float) -> Mixture:
    """The same recipe with severities of these kinds moved, as far as they are visible and the kinds reach."""
    steps = [by_points(step, points) if step.kind.name in names else step for step in mixture.steps]
    return Mixture(steps, mixture.batch)


def evidence(diagnosis: Diagnosis, kinds: Sequence[str]) -> dict[str, str]:
    """The words of these kinds, by field."""
    return {f"findings.{kind}.evidence": str(diagnosis.findings[kind].evidence) for kind in kinds}


def _measure(look: Look, truth: Diagnosis, edits: Sequence[Edit], found: Mapping[str, Moved]) -> None:
    """Add what the edits of a picture do to the kinds that they are about."""
    levels: dict[tuple[str, int], float] = {}
    for edit in edits:
        own = evidence(truth, [field.split(".")[1] for field in edit.words])
        first, then = look(tuple(own.items())), look(tuple(edit.words.items()))
        for kind in edit.kinds:
            before, after = (record.expected_severity(kind) or 0.0 for record in (first, then))
            levels[kind, edit.way] = after
            if edit.words[f"findings.{kind}.evidence"] != own[f"findings.{kind}.evidence"]:  # else there is no edit
                found[kind].edits.append((edit.way, after - before))
    for kind, sums in found.items():
        if all((kind, way) in levels for way in WAYS):
            sums.ranges.append(levels[kind, 1] - levels[kind, -1])


def _look(reasoner: Reasoner, picture_HWC: np.ndarray) -> Look:
    """What the reasoner says of a picture where words are forced; each set of words is read once."""
    return cache(lambda words: diagnosed(reasoner, picture_HWC, dict(words)))
