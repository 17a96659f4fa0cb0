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
from rnr.degradation.photographs import centre_crop, rounded, to_tensor
from rnr.degradation.synthesize import Mixture, degrade, draw_mixture, truths
from rnr.evaluation.latent import interval, predicted
from rnr.evaluation.metrics import average, percent, presence
from rnr.evaluation.tables import Row, Table
from rnr.quality.loading import load_clip
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load_bridge
from rnr.unified.instructions import Wish, phrasing
from rnr.unified.loading import load
from rnr.unified.model import UnifiedModel

APART = "the two apart"
FIGURES = ("PSNR", "true score", "predicted score", "severity error")
Report = Callable[[int], None]


@dataclass
class Case:
    """One damage of a photograph's centre (1, 3, H, W), and what is true of it."""

    photograph: str
    clean: torch.Tensor
    damaged: torch.Tensor
    truth: Diagnosis
    mixture: Mixture

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
    if wrong := [model for model, (name, sign, folder) in zip(models, pairs) if not (name and sign and folder)]:
        raise ValueError(f"--model {wrong[0]}: write NAME=FOLDER, such as --model stage1=runs/unified1/weights")
    return {name: folder for name, _, folder in pairs}


def cases(
    photographs: Mapping[str, np.ndarray], size: int, mixtures: int, seed: int, names: Sequence[str]
) -> list[Case]:
    """Centres of `size` px, each with so many mixtures of one or several kinds."""
    found = []
    for number, (name, picture) in enumerate(photographs.items()):
        clean = to_tensor(centre_crop(picture, size) if size else picture)
        for index in range(mixtures):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + 101 * number + index)
            mixture = draw_mixture(1, generator, "several" if index % 2 else "single", names, severity=(15, 80))
            damaged = degrade(clean, mixture)
            (truth,) = truths(clean, damaged, mixture, names)
            found.append(Case(name, clean, damaged, truth, mixture))
    return found


class Rows:
    """The rows of the table, and what is measured of each.

    Args:
        models: Folders by name.
        text: A reasoner that writes the text for one more row of the last model; None: no such row.
    """

    def __init__(self, models: Mapping[str, str], text: str | None = None) -> None:
        apart = load_reasoner(), load_bridge()
        self.models = {name: load(folder) for name, folder in models.items()}
        self.ways = {APART: Way(*apart)} | {name: Way(model, model) for name, model in self.models.items()}
        self.kinds: list[str] = apart[0].kinds
        if self.models:
            last, model = list(self.models.items())[-1]
            self.ways[f"{last}, hidden states off"] = Way(model, model, {"hidden": {}})
            if text:
                self.ways[f"{last}, text of {text}"] = Way(load_reasoner(text), model)
        self.scorer = load_clip()
        self.rows: list[Row] = []

    @property
    def hashes(self) -> dict[str, str]:
        return {f"{name} hash": model.identity["model_hash"] for name, model in self.models.items()}

    def tables(self, held: Sequence[Case], instructions: int, seed: int, report: Report) -> dict[str, Table]:
        """All tables."""
        self.measure(held, report)
        found = {"unified": self.table(held), "unified_rows": Table.of("By case", self.rows)}
        readers = {n: m for n, m in self.models.items() if any(t["stage"] == 2 for t in m.card.get("training", []))}
        if readers and instructions:
            rows = [followed(name, model, held, instructions, seed) for name, model in readers.items()]
            found["unified_instructions"] = Table.of("Instructions in held-out words", rows, FOLLOWED)
        if self.models and len(held) > 1:
            rows = [interchanged(name, model, held) for name, model in self.models.items()]
            found["unified_interchange"] = Table.of("Hidden states of another picture", rows, INTERCHANGED)
        return found

    def measure(self, held: Sequence[Case], report: Report) -> None:
        """Each way on each case."""
        for name, way in self.ways.items():
            for case in held:
                began = time.perf_counter()
                (record,) = way.diagnoser.diagnose([case.pixels])
                result = way.restorer.restore(case.pixels, record, **way.options)
                row: Row = {"way": name, "photograph": case.photograph, "seconds": time.perf_counter() - began}
                self.rows.append(row | self.figures(case, record, result.pixels_HWC3))
                report(len(self.rows))

    def figures(self, case: Case, record: DiagnosisRecord, pixels_HWC3: np.ndarray) -> Row:
        """PSNR, full-reference and predicted quality, and how the severities err; presence by kind."""
        made = rounded(torch.from_numpy(pixels_HWC3).permute(2, 0, 1)[None].clamp(0, 1))
        true = {name: finding.severity or 0 for name, finding in case.truth.findings.items()}
        said = {name: record.belief(name) for name in true}
        wrong = [abs(b.probability * b.severity_if_present - true[n]) for n, b in said.items() if b is not None]
        row: Row = {
            "PSNR": float(psnr(made, case.clean).clamp(max=60)),
            "true score": float(technical_quality(made, case.clean)),
            "predicted score": predicted(self.scorer, made),
            "severity error": average(wrong),
        }  # fmt: skip
        found = record.diagnosis.present if record.diagnosis else []
        return row | {name: f"{int(true[name] > 0)}{int(name in found)}" for name in true}

    def table(self, held: Sequence[Case]) -> Table:
        """Means, and the difference to the two apart with its interval."""
        base, rows = [row for row in self.rows if row["way"] == APART], []
        groups = [case.photograph for case in held]
        for name in self.ways:
            own = [row for row in self.rows if row["way"] == name]
            marks = [str(row[kind]) for row in own for kind in held[0].truth.findings]
            cells: Row = {"way": name}
            for figure in FIGURES:
                values = [float(row[figure]) for row in own]  # type: ignore[arg-type]
                cells[figure] = average(values)
                if name != APART:
                    apart = [value - float(row[figure]) for value, row in zip(values, base)]  # type: ignore[arg-type]
                    cells[f"{figure}, gain"] = "{:+.2f} ({:+.2f}..{:+.2f})".format(
                        average(apart), *interval(apart, groups)
                    )
            cells["F1"] = presence([m[0] == "1" for m in marks], [m[1] == "1" for m in marks]).f1
            cells["s"] = average([float(row["seconds"]) for row in own])  # type: ignore[arg-type]
            rows.append(cells)
        note = (
            f"n = {len(held)} damages of {len(set(groups))} photographs. Gain: mean difference to the two apart, 95%."
        )
        return Table.of("Unified pairs", rows, note)


FOLLOWED = (
    "right: all kinds and the unknown as meant. PSNR, dB, to the picture with all but one kind left in it, which the "
    "words ask for: with these words, and without any."
)


def followed(name: str, model: UnifiedModel, held: Sequence[Case], count: int, seed: int) -> Row:
    """How well a model reads instructions, and what its restorations make of them."""
    rng = random.Random(seed)
    asked = [phrasing(rng, model.kinds, held_out=True) for _ in range(count)]
    some = held[0]
    (record,) = model.diagnose([some.pixels])
    right = [model.read(words, some.pixels, record).same(wish) for words, wish in asked]
    gains: dict[str, list[float]] = {"with": [], "without": []}
    for case in (case for case in held if len(case.truth.present) > 1):
        kind = rng.choice(case.truth.present)
        words = next(w for w, wish in iter(lambda: phrasing(rng, model.kinds, True), None) if wish.remove == (kind,))
        keep = {k: torch.tensor([k != kind]) for k in {step.kind.name for step in case.mixture.steps}}
        target, (record,) = degrade(case.clean, case.mixture, keep), model.diagnose([case.pixels])
        for way, intent in (("with", Intent(instruction=words)), ("without", None)):
            made = model.restore(case.pixels, record, intent).pixels_HWC3
            gains[way].append(float(psnr(torch.from_numpy(made).permute(2, 0, 1)[None], target).clamp(max=60)))
    cells: Row = {"model": name, "read right %": percent(right), "n": count}
    return cells | {f"PSNR {way}": average(values) for way, values in gains.items()} | {"pictures": len(gains["with"])}


INTERCHANGED = (
    "Mean change of the restoration, 8-bit levels, by the hidden states of the next picture and by its diagnosis, and "
    "the correlation of both changes over pixels."
)


def interchanged(name: str, model: UnifiedModel, held: Sequence[Case]) -> Row:
    """Hidden states, or the whole diagnosis, of the next picture in the place of the own."""
    changes: list[tuple[float, float, float]] = []
    records = model.diagnose([case.pixels for case in held])
    wish = Wish(tuple(model.kinds))
    for i, case in enumerate(held):
        other = held[(i + 1) % len(held)]
        theirs = records[(i + 1) % len(held)]
        states, _ = model.hidden(other.pixels, theirs, wish)
        own = model.restore(case.pixels, records[i]).pixels_HWC3
        by_states = model.restore(case.pixels, records[i], hidden=states).pixels_HWC3 - own
        by_words = model.restore(case.pixels, theirs).pixels_HWC3 - own
        both = np.stack([by_states.ravel(), by_words.ravel()])
        alike = float(np.corrcoef(both)[0, 1]) if both.std(1).min() > 0 else float("nan")
        changes.append((255 * float(np.abs(by_states).mean()), 255 * float(np.abs(by_words).mean()), alike))
    columns = [[value for value in column if np.isfinite(value)] for column in zip(*changes)]
    found = dict(zip(("by states", "by diagnosis", "correlation"), map(average, columns)))
    return {"model": name, **found, "n": len(held)}
