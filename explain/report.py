"""`rnr explain PHOTO`: all that can be said of one diagnosis and one restoration.

Every field with its distribution, what each finding did to the pixels, how the result answers to each severity, what
removing one kind does to the others, and which pixels a severity comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import kinds
from rnr.degradation.synthesize import Mixture
from rnr.evaluation.metrics import spearman
from rnr.evaluation.tables import Row, Table
from rnr.explain.attribution import MEASURES, Ends, maps_of, noting, random_map, scores, true_map, worth_mapping
from rnr.explain.internals import Internals, Run
from rnr.explain.page import Section
from rnr.explain.pixels import batch_of

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

DOSE = 20  # points between the doses of a sheet
LOUD = 8.0  # by which the image of a leg's change is amplified


@dataclass
class Explanation:
    """What `explain` found; `sections` for the page, `data` for programs."""

    record: DiagnosisRecord
    sentence: str
    sections: list[Section] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Known:
    """How the picture was damaged, where that is known."""

    clean: torch.Tensor
    mixture: Mixture


def explain(
    reasoner: Any,
    restorer: Any,
    picture_HWC: np.ndarray,
    known: Known | None = None,
    num_inference_steps: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda stage: None,
) -> Explanation:
    """Explain one picture.

    Args:
        reasoner: In this process.
        restorer: Anything with `RestorePipeline.restore` and `kinds`.
        picture_HWC: uint8 (H, W, 3).
        known: Clean image and recipe, where the damage is synthetic: attribution is then scored.
        num_inference_steps: Of each leg.
        seed: Of the restorer.
        tell: Hears of each stage.

    Raises:
        Error: For a reasoner behind a server, and where the picture cannot be diagnosed.
    """
    tell("diagnosing")
    internals = Internals(reasoner)
    run = internals.run(picture_HWC)
    assert run.record is not None
    work = Work(internals, restorer, picture_HWC, run, run.record, num_inference_steps, seed, tell)
    found = Explanation(run.record, sentence(run.record, restorer))
    for part in (fields, legs, doses, effects):
        section, data = part(work)
        found.sections.append(section)
        found.data[part.__name__] = data
    tell("which pixels each severity comes from")
    section, found.data["attribution"] = attribution(work, known)
    found.sections.append(section)
    return found


@dataclass
class Work:
    """What the parts of an explanation share."""

    internals: Internals
    restorer: Any
    picture: np.ndarray
    run: Run
    record: DiagnosisRecord
    steps: int | None
    seed: int
    tell: Callable[[str], None] = lambda stage: None

    @property
    def pixels(self) -> np.ndarray:
        """float32 in [0, 1]."""
        return self.picture.astype(np.float32) / 255

    @property
    def present(self) -> list[str]:
        """Kinds that are held present and can be removed."""
        assert self.record.diagnosis is not None
        return [name for name in self.record.diagnosis.present if name in self.restorer.kinds]

    def restored(self, source: Any, callback: Any = None) -> Any:
        """The restorer's result by a diagnosis."""
        return self.restorer.restore(
            self.pixels, source, num_inference_steps=self.steps, seed=self.seed, callback_on_step_end=callback
        )


def sentence(record: DiagnosisRecord, restorer: Any) -> str:
    """What was diagnosed, by which evidence, so that a person can measure it again."""
    diagnosis, parts = record.diagnosis, []
    assert diagnosis is not None
    for name in diagnosis.present:
        finding = diagnosis.findings[name]
        title = kinds()[name].words.title
        removed = "" if name in restorer.kinds else ", which this restorer cannot remove"
        parts.append(f"{title} {record.expected_severity(name) or 0:.0f} of 100, because {finding.evidence}{removed}")
    said = "; ".join(parts) or "nothing that would have to be removed"
    return f"The reasoner finds {said}. The evidence can be measured again: rnr.degradation, Kind.measure."


def fields(work: Work) -> tuple[Section, Any]:
    """Every field that was chosen, with its probability and the likeliest alternatives."""
    rows: list[Row] = []
    for name, place in work.run.script.places.items():
        if place.value:
            shares = work.run.probabilities(name)
            others = [pair for pair in work.run.alternatives(name, 4) if pair[0] != place.value][:3]
            said = ", ".join(f"{value.strip(chr(34))} {share:.2f}" for value, share in others if share >= 0.005)
            rows.append({"field": name, "value": place.value.strip('"'), "P": shares[place.value], "else": said or "-"})
    note = "P: probability of the value given all text before it; else: the likeliest other values."
    distributions = {kind: work.run.probabilities(f"{kind}.severity") for kind in work.internals.reasoner.kinds}
    table = Table.of("Fields", rows, note)
    return Section("What was written, and what else might have been", table=table), {
        "fields": rows,
        "severity_if_present": distributions,
        "expected_severity": {kind: work.record.expected_severity(kind) for kind in distributions},
    }


def legs(work: Work) -> tuple[Section, Any]:
    """What each finding did to the pixels."""
    work.tell("what each finding does to the pixels")
    ends: Ends = {}
    result = work.restored(work.record, noting(ends))
    section = Section("What each finding did to the pixels")
    section.note = f"After each leg, and what it changed, {LOUD:g} times amplified about grey."
    section.show("before", work.picture)
    start, rows = work.pixels, []
    for (names, end), leg in zip(ends.items(), result.legs):
        title, image = ", ".join(names), end[0].permute(1, 2, 0).cpu().numpy()
        section.show(f"without {title}", image)
        section.show(f"change by {title}", 0.5 + LOUD * (image - start))
        largest = 255 * float(np.abs(image - start).max())
        row: Row = {"leg": title, "dose": leg.dose, "mean change": leg.change, "largest": largest}
        rows.append(row | {"severity": leg.severity, "removed": leg.removed})
        start = image
    note_text = "change in 8-bit levels; severity: as diagnosed; removed: severity of what separates start and end."
    section.table = Table.of("Legs", rows, note_text) if rows else None
    return section, rows


def doses(work: Work) -> tuple[Section, Any]:
    """How the result answers to each severity, all else as diagnosed."""
    from rnr.restorer.chain import removed_severity

    section, rows = Section("Dose and response"), []
    start = batch_of(work.pixels)
    for name in work.present:
        wanted = [*range(0, kinds()[name].highest, DOSE), kinds()[name].highest]
        removed = []
        for dose in wanted:
            work.tell(f"dose and response: {name} {dose} of {wanted[-1]}")
            diagnosis = work.record.diagnosis.only(name).edit(name, severity=dose)  # type: ignore[union-attr]
            result = work.restored(diagnosis)
            removed.append(removed_severity(start, batch_of(result.pixels_HWC3)))
            section.show(f"{name} {dose}", result.pixels_HWC3)
        row: Row = {"kind": name, "Spearman": spearman(wanted, removed)}
        rows.append(row | {f"at {dose}": value for dose, value in zip(wanted, removed)})
    section.note = "Only this kind is removed, at rising severities. at N: severity of what was removed at severity N."
    section.table = Table.of("Dose and response", rows, digits={f"at {n}": 1 for n in range(101)}) if rows else None
    return section, rows


def effects(work: Work) -> tuple[Section, Any]:
    """Kind x kind: one kind is removed alone, and every expected severity is read again."""
    rows: list[Row] = []
    for name in work.present:
        work.tell(f"what removing {name} alone does to the others")
        result = work.restored(work.record.only(name))
        again = work.internals.reasoner.diagnose([result.pixels_HWC3])[0]
        row: Row = {"removed": name}
        for other in work.internals.reasoner.kinds:
            before, after = work.record.expected_severity(other), again.expected_severity(other)
            row[other] = None if before is None or after is None else after - before
        rows.append(row)
    note = "Change of each expected severity (columns) where only the kind of the row is removed; the diagonal falls."
    table = Table.of("Effects", rows, digits=dict.fromkeys(work.internals.reasoner.kinds, 1)) if rows else None
    return Section("What removing one kind does to the others", note, table), rows


def attribution(work: Work, known: Known | None) -> tuple[Section, Any]:
    """Which pixels a severity comes from; scored where synthesis knows the true map."""
    section, rows = Section("Which pixels a severity comes from"), []
    names = worth_mapping(work.run)
    by_kind = maps_of(work.internals, work.run, work.restorer, work.picture, names, work.seed)
    for name, maps in by_kind.items():
        damaged = known is not None and any(step.kind.name == name for step in known.mixture.steps)
        truth = true_map(name, known.clean, known.mixture) if known and damaged else None
        if truth is not None:
            maps = {**maps, "random": random_map(truth.shape, work.seed)}
            section.show_map(f"{name}: true map", truth)
        for method, found in maps.items():
            section.show_map(f"{name}: {method}", found)
            row: Row = {"kind": name, "method": method}
            rows.append(row | (dict(scores(found, truth)) if truth is not None else dict.fromkeys(MEASURES)))
    section.note = "Brighter is more; occlusion says nothing (black) where no native crop lies."
    if any(row[measure] is not None for row in rows for measure in MEASURES):
        section.table = Table.of("Attribution", rows, "On cells of 8 px, against the true map; random is the control.")
    return section, rows


def as_json(found: Explanation) -> dict[str, Any]:
    """For programs: the record, and the numbers of all parts."""
    return {"diagnosis_record": found.record.model_dump(mode="json"), "sentence": found.sentence, **found.data}
