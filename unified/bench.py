"""`rnr bench unified`: unified pairs beside the two models apart, on the same damaged pictures.

Intervals are paired bootstraps over photographs (95%): each resample takes the differences of whole photographs. An
ablation that needs a training of its own (no assessment, shuffled, numbers only, ...) is one `--model NAME=FOLDER`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.intent import Intent
from rnr.degradation.measure import psnr, technical_quality
from rnr.degradation.photographs import rounded
from rnr.degradation.synthesize import degrade, truths
from rnr.evaluation import cases as damaged
from rnr.evaluation.cases import interval, predicted
from rnr.evaluation.metrics import average, percent, presence
from rnr.evaluation.tables import Row, Table
from rnr.quality.loading import load_clip
from rnr.quality.model import QualityModel
from rnr.reasoner.instructions.phrasings import Wish, phrasing
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load_bridge
from rnr.unified.model import UnifiedModel

APART = "the two apart"
FIGURES = ("PSNR", "true score", "predicted score", "severity error")
GAIN = "Gain: mean difference to the two apart, 95%."
FOLLOWED = (
    "right: all kinds and the unknown as meant. PSNR, dB, to the picture with all but one kind left in it, which the "
    "words ask for: with these words, and without any."
)
INTERCHANGED = "Mean change of the restoration, 8-bit levels, by hidden states or diagnosis of the next picture."


@dataclass
class Case(damaged.Case):
    """One damage of a photograph's centre, and what is true of it."""

    truth: Diagnosis

    @property
    def pixels(self) -> np.ndarray:
        return np.ascontiguousarray(self.damaged[0].permute(1, 2, 0).numpy())


@dataclass
class Way:
    """Who diagnoses and who restores."""

    diagnoser: Any
    restorer: Any
    options: dict[str, Any] = field(default_factory=dict)


def named(models: Sequence[str]) -> dict[str, str]:
    """NAME=FOLDER by name. Raises ValueError for what has no name."""
    pairs = [model.partition("=") for model in models]
    if wrong := [model for model, parts in zip(models, pairs) if not all(parts)]:
        raise ValueError(f"--model {wrong[0]}: write NAME=FOLDER, such as --model stage1=runs/unified1/weights")
    return {name: folder for name, _, folder in pairs}


def cases(
    photographs: Mapping[str, np.ndarray], size: int, mixtures: int, seed: int, names: Sequence[str]
) -> list[Case]:
    """The cases of `rnr.evaluation.cases`, of these kinds, with their truth."""
    made = damaged.cases(photographs, size, mixtures, seed, names)
    return [Case(**vars(case), truth=truths(case.clean, case.damaged, case.mixture, names)[0]) for case in made]


def ways_of(models: Mapping[str, UnifiedModel], text: str | None = None) -> dict[str, Way]:
    """The rows of the table: the two apart, each model, and the last one without hidden states or with the text of
    another reasoner."""
    ways = {APART: Way(load_reasoner(), load_bridge())} | {name: Way(model, model) for name, model in models.items()}
    for name, model in list(models.items())[-1:]:
        ways[f"{name}, hidden states off"] = Way(model, model, {"hidden": {}})
        if text:
            ways[f"{name}, text of {text}"] = Way(load_reasoner(text), model)
    return ways


def tables(
    models: Mapping[str, UnifiedModel], text: str | None, held: Sequence[Case], instructions: int, seed: int,
    report: Callable[[int], None],
) -> dict[str, Table]:  # fmt: skip
    """All tables."""
    rows, scorer = list[Row](), load_clip()
    for name, way in ways_of(models, text).items():
        for case in held:
            rows.append(measured(name, way, case, scorer))
            report(len(rows))
    note = f"n = {len(held)} damages of {len({case.photograph for case in held})} photographs. {GAIN}"
    found = {"unified": Table.of("Unified pairs", means(rows, held), note), "unified_rows": Table.of("By case", rows)}
    readers = {name: model for name, model in models.items() if model.reads_instructions}
    if readers and instructions:
        made = [followed(name, model, held, instructions, seed) for name, model in readers.items()]
        found["unified_instructions"] = Table.of("Instructions in held-out words", made, FOLLOWED)
    if models and len(held) > 1:
        made = [interchanged(name, model, held) for name, model in models.items()]
        found["unified_interchange"] = Table.of("Hidden states of another picture", made, INTERCHANGED)
    return found


def measured(name: str, way: Way, case: Case, scorer: QualityModel) -> Row:
    """One way on one case."""
    began = time.perf_counter()
    (record,) = way.diagnoser.diagnose([case.pixels])
    result = way.restorer.restore(case.pixels, record, **way.options)
    row: Row = {"way": name, "photograph": case.photograph, "seconds": time.perf_counter() - began}
    return row | figures(case, record, result.pixels_HWC3, scorer)


def figures(case: Case, record: DiagnosisRecord, pixels_HWC3: np.ndarray, scorer: QualityModel) -> Row:
    """PSNR, full-reference and predicted quality, and how the severities err; true and found presence by kind."""
    made = rounded(torch.from_numpy(pixels_HWC3).permute(2, 0, 1)[None].clamp(0, 1))
    true = {name: finding.severity or 0 for name, finding in case.truth.findings.items()}
    beliefs = {name: record.belief(name) for name in true}
    wrong = [abs(b.probability * b.severity_if_present - true[n]) for n, b in beliefs.items() if b is not None]
    row: Row = {
        "PSNR": float(psnr(made, case.clean).clamp(max=60)),
        "true score": float(technical_quality(made, case.clean)),
        "predicted score": predicted(scorer, made),
        "severity error": average(wrong),
    }  # fmt: skip
    found = record.diagnosis.present if record.diagnosis else []
    return row | {name: f"{int(true[name] > 0)}{int(name in found)}" for name in true}


def means(rows: Sequence[Row], held: Sequence[Case]) -> list[Row]:
    """Of each way: means, and the differences to the two apart with their intervals."""
    groups, found = [case.photograph for case in held], []
    for name in dict.fromkeys(str(row["way"]) for row in rows):
        own = [row for row in rows if row["way"] == name]
        cells: Row = {"way": name}
        for figure in FIGURES:
            values, base = ([float(row[figure]) for row in of] for of in (own, rows))  # type: ignore[arg-type]
            cells[figure] = average(values)
            if name != APART:
                apart = [value - other for value, other in zip(values, base)]  # the two apart are the first rows
                low, high = interval(apart, groups)
                cells[f"{figure}, gain"] = f"{average(apart):+.2f} ({low:+.2f}..{high:+.2f})"
        marks = [str(row[kind]) for row in own for kind in held[0].truth.findings]
        cells["F1"] = presence([m[0] == "1" for m in marks], [m[1] == "1" for m in marks]).f1
        cells["s"] = average([float(row["seconds"]) for row in own])  # type: ignore[arg-type]
        found.append(cells)
    return found


def followed(name: str, model: UnifiedModel, held: Sequence[Case], count: int, seed: int) -> Row:
    """How well a model reads instructions, and what its restorations make of them."""
    rng, some = random.Random(seed), held[0]
    (record,) = model.diagnose([some.pixels])
    asked = [phrasing(rng, model.kinds, held_out=True) for _ in range(count)]
    right = [model.read(words, some.pixels, record).same(wish) for words, wish in asked]
    gains: dict[str, list[float]] = {"with": [], "without": []}
    for case in (case for case in held if len(case.truth.present) > 1):
        kind = rng.choice(case.truth.present)
        words = next(w for w, wish in iter(lambda: phrasing(rng, model.kinds, True), None) if wish.remove == (kind,))
        keep = {step.kind.name: torch.tensor([step.kind.name != kind]) for step in case.mixture.steps}
        target, (record,) = degrade(case.clean, case.mixture, keep), model.diagnose([case.pixels])
        for way, intent in (("with", Intent(instruction=words)), ("without", None)):
            made = model.restore(case.pixels, record, intent).pixels_HWC3
            gains[way].append(float(psnr(torch.from_numpy(made).permute(2, 0, 1)[None], target).clamp(max=60)))
    cells: Row = {"model": name, "read right %": percent(right), "n": count}
    return cells | {f"PSNR {way}": average(values) for way, values in gains.items()} | {"pictures": len(gains["with"])}


def interchanged(name: str, model: UnifiedModel, held: Sequence[Case]) -> Row:
    """Hidden states, or the whole diagnosis, of the next picture in the place of the own."""
    records, wish = model.diagnose([case.pixels for case in held]), Wish(tuple(model.kinds))
    by_states, by_diagnosis = [], []
    for i, case in enumerate(held):
        after = (i + 1) % len(held)
        states, _ = model.hidden(held[after].pixels, records[after], wish)
        own = model.restore(case.pixels, records[i]).pixels_HWC3
        swapped = model.restore(case.pixels, records[i], hidden=states).pixels_HWC3
        by_states.append(255 * float(np.abs(swapped - own).mean()))
        by_diagnosis.append(255 * float(np.abs(model.restore(case.pixels, records[after]).pixels_HWC3 - own).mean()))
    return {"model": name, "by states": average(by_states), "by diagnosis": average(by_diagnosis), "n": len(held)}
