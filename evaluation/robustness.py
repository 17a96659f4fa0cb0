"""What must not change a diagnosis, what must, and what a reasoner says of degradation types outside its training.

Changed pictures: the same damaged region as a PNG file, mirrored, without its last row and column. Strangers: the kinds
that the weights do not know and a colour cast, on clean photographs; each finding is an invention, and a reasoner that
knows its limits is at least less sure. Forced words: the word beside the one that was said is put in as evidence
(`forced`), and the expected severity should move as the true one does with what the word measures.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.errors import DiagnosisError
from rnr.degradation.kind import Kind, kind_named, kinds
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.evaluation.metrics import average, median, spearman
from rnr.evaluation.samples import Batch
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser
    from rnr.reasoner import Reasoner
else:
    np = LazyModule("numpy")

Shown = tuple["np.ndarray", Diagnosis, DiagnosisRecord]
Change = Callable[["np.ndarray"], "np.ndarray"]
Stranger = Callable[["np.ndarray", "np.random.Generator"], "np.ndarray"]
Report = Callable[[int], None]
SURE = 0.9  # P(present) of a finding from which it is said without doubt


def as_png(picture_HWC: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, "PNG")
    return np.asarray(Image.open(file))


CHANGES: dict[str, Change] = {
    "saved as PNG": as_png,
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
    "a row and a column less": lambda picture: np.ascontiguousarray(picture[:-1, :-1]),
}


def colour_cast(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wrong white balance: one channel more, another less, by 15 to 35%."""
    gains = np.ones(3)
    more, less = rng.choice(3, 2, replace=False)
    gains[more], gains[less] = 1 + rng.uniform(0.15, 0.35), 1 - rng.uniform(0.15, 0.35)
    return _bytes(picture_HWC / 255 * gains)


def strangers(names: Collection[str]) -> dict[str, Stranger]:
    """By name, damage that is none of these kinds: all others, at their validation severity, and a colour cast."""
    others = [kind for kind in kinds().values() if kind.name not in names]
    return {kind.words.title: functools.partial(damaged_by, kind) for kind in others} | {"colour cast": colour_cast}


def damaged_by(kind: Kind, picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture with damage of this kind alone."""
    mixture = prescribe({kind.name: kind.validation_severity}, int(rng.integers(2**31)))
    return to_uint8(degrade(to_tensor(picture_HWC), mixture))


def _bytes(picture_HWC: np.ndarray) -> np.ndarray:
    return (picture_HWC.clip(0, 1) * 255).round().astype(np.uint8)


def diagnosed(
    reasoner: Diagnoser, picture_HWC: np.ndarray, forced: Mapping[str, object] | None = None
) -> DiagnosisRecord:
    """One record; `forced` is for a reasoner in this process. DiagnosisError where there is no diagnosis in it."""
    options = {"forced": forced} if forced else {}
    record = reasoner.diagnose([picture_HWC], **options)[0]  # type: ignore[call-arg]
    if record.diagnosis is None:
        raise DiagnosisError(f"a picture could not be diagnosed: {record.error}")
    return record


def looked_at(reasoner: Diagnoser, batches: Iterable[Batch], report: Report = lambda done: None) -> list[Shown]:
    """Each damaged region with its true diagnosis and what the reasoner says of it."""
    shown: list[Shown] = []
    for batch in batches:
        for picture, truth in zip(batch.pictures(), batch.truths()):
            shown.append((picture, truth, diagnosed(reasoner, picture)))
            report(len(shown))
    return shown


def changes_table(reasoner: Diagnoser, shown: Sequence[Shown], report: Report = lambda done: None) -> Table:
    """How far the expected severity of the kinds that are there moves with changes that leave the damage as it is."""
    moved: dict[str, list[float]] = {name: [] for name in CHANGES}
    same: dict[str, list[bool]] = {name: [] for name in CHANGES}
    for done, (picture, truth, first) in enumerate(shown, 1):
        for name, change in CHANGES.items():
            again = diagnosed(reasoner, change(picture))
            same[name].append(again.text == first.text and again.beliefs == first.beliefs)
            both = [(first.expected_severity(kind), again.expected_severity(kind)) for kind in truth.present]
            moved[name] += [abs(a - b) for a, b in both if a is not None and b is not None]
        report(done)
    rows: list[Row] = []
    for name, values in moved.items():
        row: Row = {"change": name, "n": len(values), "median": median(values)}
        most = float(np.quantile(values, 0.8)) if values else None
        rows.append(row | {"80% within": most, "identical %": 100 * average(same[name])})
    note = (
        "Points by which the expected severity of kinds that are there moves; identical: text and beliefs, bit for bit."
    )
    return Table.of("The same damage shown another way", rows, note, {"identical %": 0})


def strangers_table(
    reasoner: Diagnoser, photographs: Sequence[np.ndarray], seed: int, report: Report = lambda done: None
) -> Table:
    """Findings on clean photographs and on damage that is none of the kinds."""
    rows: list[Row] = []
    done = 0
    makers: dict[str, Stranger] = {"nothing": lambda picture, rng: picture} | strangers(reasoner.kinds)
    for name, make in makers.items():
        records = []
        for number, photograph in enumerate(photographs):
            records.append(diagnosed(reasoner, make(photograph, np.random.default_rng([seed, number]))))
            done += 1
            report(done)
        rows.append({"damage": name, **_inventions(records)})
    note = (
        f"invented: findings of all that were asked; sure: those of them with P(present) >= {SURE:g}; P: their mean "
        "P(present); pictures: with any; spread: standard deviation of the likeliest kind's severity, if present."
    )
    digits = {"invented %": 1, "sure %": 1, "pictures %": 0, "spread": 1}
    return Table.of("Damage that is none of the kinds", rows, note, digits)


def _inventions(records: Sequence[DiagnosisRecord]) -> Row:
    findings = [
        (record.diagnosis.state(kind) == "present", belief.probability)
        for record in records
        for kind, belief in record.beliefs.items()
        if record.diagnosis
    ]
    likeliest = [
        max(record.beliefs.values(), key=lambda b: b.probability).spread for record in records if record.beliefs
    ]
    invented = [probability for present, probability in findings if present]
    return {
        "n": len(records),
        "invented %": 100 * len(invented) / len(findings) if findings else None,
        "sure %": 100 * sum(p >= SURE for p in invented) / len(findings) if findings else None,
        "P": average(invented) if invented else None,
        "pictures %": 100 * average([bool(record.diagnosis and record.diagnosis.present) for record in records]),
        "spread": average(likeliest),
    }


def forced_table(reasoner: Reasoner, shown: Sequence[Shown], report: Report = lambda done: None) -> Table:
    """Where the expected severity of a finding goes when the evidence word before it is replaced: by the next one, and
    from the first of its kind to the last."""
    ranges: dict[str, list[float]] = {kind: [] for kind in reasoner.kinds}
    pairs: dict[str, list[tuple[int, int]]] = {kind: [] for kind in reasoner.kinds}
    shifts: dict[str, list[tuple[int, float]]] = {kind: [] for kind in reasoner.kinds}
    for done, (picture, truth, first) in enumerate(shown, 1):
        for kind in reasoner.kinds:
            finding = truth.findings[kind]
            pairs[kind].append((_place(kind, finding.evidence), finding.severity or 0))
            if first.diagnosis and first.diagnosis.state(kind) == "present":
                shifts[kind] += _shifts(reasoner, picture, first, kind)
                ends = [_forced(reasoner, picture, kind, place) for place in (0, -1)]
                ranges[kind] += [] if None in ends else [float(ends[1] or 0) - float(ends[0] or 0)]
        report(done)
    rows: list[Row] = []
    for kind in reasoner.kinds:
        trend = spearman(*zip(*pairs[kind]))  # low light lowers its measurement, haze raises it
        moved = [shift if way * trend > 0 else -shift for way, shift in shifts[kind]]
        row: Row = {"evidence of": kind, "trend": trend, "n": len(moved), "moves by": average(moved)}
        row |= {"right way %": 100 * average([shift > 0 for shift in moved])}
        rows.append(row | {"range": (1 if trend > 0 else -1) * average(ranges[kind])})
    note = (
        "trend: rank correlation of the measured word and the true severity; moves by: points of expected severity, "
        "positive where the forced word moves it along the trend; n: words forced; range: from the first to the last."
    )
    return Table.of("Forced evidence", rows, note, {"right way %": 0})


def false_table(reasoner: Reasoner, photographs: Sequence[np.ndarray], report: Report = lambda done: None) -> Table:
    """What evidence of the worst damage over undamaged pixels does: it must make no finding."""
    rows: list[Row] = []
    for done, kind in enumerate(reasoner.kinds, 1):
        worst = 0 if kind_named(kind).measurement.falls else -1
        records = [diagnosed(reasoner, photograph, _words(kind, worst)) for photograph in photographs]
        clean = [not (record.diagnosis and kind in record.diagnosis.present) for record in records]
        severities = [record.expected_severity(kind) or 0.0 for record in records]
        row: Row = {"false evidence of": kind, "n": len(records), "no finding %": 100 * average(clean)}
        rows.append(row | {"expected severity": average(severities)})
        report(done)
    note = "The strongest word of each kind, forced on undamaged photographs."
    return Table.of("False evidence", rows, note, {"no finding %": 0})


def _words(kind: str, place: int) -> dict[str, str]:
    """`forced` for one word of a kind's evidence."""
    return {f"findings.{kind}.evidence": kind_named(kind).measurement.texts[place]}


def _forced(reasoner: Reasoner, picture: np.ndarray, kind: str, place: int) -> float | None:
    """The expected severity of a kind where this word of its evidence is forced."""
    return diagnosed(reasoner, picture, _words(kind, place)).expected_severity(kind)


def _place(kind: str, evidence: str | None) -> int:
    """Of a word among those of its kind; -1 where it is none of them."""
    texts = kind_named(kind).measurement.texts
    return texts.index(evidence) if evidence in texts else -1


def _shifts(reasoner: Reasoner, picture: np.ndarray, first: DiagnosisRecord, kind: str) -> list[tuple[int, float]]:
    """(-1 or 1, points): what the word below and the word above do to the expected severity."""
    texts, base = kind_named(kind).measurement.texts, first.expected_severity(kind)
    said = _place(kind, first.diagnosis.findings[kind].evidence) if first.diagnosis else -1
    shifts = []
    for way in (-1, 1) if said >= 0 and base is not None else ():
        if 0 <= said + way < len(texts):
            other = _forced(reasoner, picture, kind, said + way)
            shifts += [] if other is None or base is None else [(way, other - base)]
    return shifts
