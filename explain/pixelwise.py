"""Tests of the diagnosis as the cause of the pixels: mediation, dose, ladder, erasure, and what our own code derives.

The meter is neither of the two models: the share of a case's known damage that a restoration removed, by projection of
the change r - x on the damage x' - x (`rnr.evaluation.steering.share`), or PSNR against the clean crop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding, Quality, Scene, quality_words
from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.evaluation.metrics import spearman
from rnr.evaluation.steering import share
from rnr.explain.cases import Case, case_of
from rnr.explain.figures import Figure
from rnr.explain.pixels import batch_of
from rnr.explain.statistics import Estimate, bootstrap, mean_of
from rnr.restorer.condition import wanted

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

DOSES = 5  # steps of a sweep over a kind's range, without 0
STRENGTH = 50.0  # true severity under a dose sweep
Source = Diagnosis | DiagnosisRecord | None
Report = Callable[[int], None]


def quiet(done: int) -> None:
    """No report."""


def restored(restorer: Any, image: torch.Tensor, source: Source, seed: int = 0) -> torch.Tensor:
    """(1, 3, H, W) of an image (1, 3, H, W) by a diagnosis."""
    pixels = image[0].permute(1, 2, 0).contiguous().numpy()
    result = restorer.restore(pixels, source, seed=seed)
    return batch_of(result.pixels_HWC3)


def removed(case: Case, image: torch.Tensor, result: torch.Tensor) -> float:
    """m: the share of the case's damage that a restoration of `image` undid; 1 = all, 0 = nothing."""
    return share(case.damaged + (result - image), case.damaged, [case.spared])[0]


def mediation(
    restorer: Any, cases: Sequence[Case], say: Callable[[np.ndarray], Source], report: Report = quiet
) -> tuple[list[Figure], list[float]]:
    """Test 8, over minimal pairs (x, x'), R the restorer, d the diagnosis.

    TE = m(R(x', d(x'))) - m(R(x, d(x))), NIE = m(R(x, d(x'))) - m(R(x, d(x))): what the damage changes about the
    restoration at all, and what of it goes through the diagnosis (Pearl 2001). The control gives d(x) again.

    Args:
        restorer: R.
        cases: Minimal pairs.
        say: d, of uint8 (H, W, 3).
        report: Called with the number of cases done.
    """
    rows = []
    for done, case in enumerate(cases, 1):
        here, there = say(case.picture), say(case.pair)
        own = removed(case, case.damaged, restored(restorer, case.damaged, here))
        total = removed(case, case.spared, restored(restorer, case.spared, there)) - own
        indirect = removed(case, case.damaged, restored(restorer, case.damaged, there)) - own
        rows.append((total, indirect))
        report(done)
    name, proportion = "mediation", [i / t if abs(t) > 0.05 else float("nan") for t, i in rows]
    figures = [
        Figure(name, "total effect of the damage", mean_of([t for t, _ in rows]), unit="share removed"),
        Figure(name, "effect through the diagnosis", mean_of([i for _, i in rows]), unit="share removed"),
        Figure(name, "proportion through the diagnosis", bootstrap(rows, ratio), mean_of([0.0] * len(rows))),
    ]
    return figures, [0.0 if p != p else p for p in proportion]


def ratio(rows: Sequence[tuple[float, float]]) -> float:
    """Sum of the second over sum of the first; NaN where nothing happened."""
    total, part = (sum(column) for column in zip(*rows))
    return part / total if abs(total) > 1e-6 else float("nan")


def dose(
    restorer: Any, clean: Sequence[torch.Tensor], names: Sequence[str], seed: int = 0, report: Report = quiet
) -> list[Figure]:
    """Test 9, first half. One severity swept up to the true one, on crops damaged at 50: Spearman of the dose with the
    share removed. The control shuffles the doses."""
    figures, done = [], 0
    for name in [name for name in names if name in restorer.kinds]:
        top = min(STRENGTH, kinds()[name].top)
        doses = [round(top * step / DOSES) for step in range(DOSES + 1)]
        sweeps = []
        for number, image in enumerate(clean):
            case = case_of(image, {name: int(top)}, name, names, seed + number)
            sources = [case.truth.edit(name, severity=value) for value in doses]
            sweeps.append([removed(case, case.damaged, restored(restorer, case.damaged, s)) for s in sources])
            done += 1
            report(done)
        figures += answered(name, doses, sweeps, seed)
    return figures


def answered(name: str, doses: Sequence[int], sweeps: Sequence[Sequence[float]], seed: int) -> list[Figure]:
    """The figures of one kind: a row of `sweeps` is a crop, a column a dose."""
    rng = np.random.default_rng(seed)

    def correlation(rows: Sequence[Sequence[float]]) -> float:
        return mean_of([spearman(doses, row) for row in rows]).value

    dealt = [[row[i] for i in rng.permutation(len(doses))] for row in sweeps]
    found, control = bootstrap(sweeps, correlation), bootstrap(dealt, correlation)
    shares = " ".join(f"{100 * float(np.mean(column)):.0f}" for column in zip(*sweeps))
    last = mean_of([row[-1] for row in sweeps])
    return [
        Figure("dose", f"Spearman, {name}", found, control, ">= 0.95"),
        Figure("dose", f"removed at the true severity, {name} (by dose: {shares} %)", last, unit="share"),
    ]


def cross_talk(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Test 9, second half. Of `evaluation.steering` rows: the share taken of the other kind over that of the named."""
    figures = []
    for name in dict.fromkeys(row["named"] for row in rows):
        pairs = [((100 - row["stays"]) / 100, row["gone"] / 100) for row in rows if row["named"] == name]
        figures.append(
            Figure("cross-talk", f"off-diagonal over diagonal, {name}", bootstrap(pairs, off), None, "<= 0.2")
        )
    return figures


def off(pairs: Sequence[tuple[float, float]]) -> float:
    """Mean |other taken| over mean |named taken|."""
    other, named = (float(np.mean(np.abs(column))) for column in zip(*pairs))
    return other / named if named > 0.01 else float("nan")


def ladder(
    restorer: Any, cases: Sequence[Case], records: Sequence[DiagnosisRecord], seed: int = 0, report: Report = quiet
) -> list[Figure]:
    """Test 10, first half. PSNR by the true diagnosis, the reasoner's own record, its words without beliefs, the true
    one with severities permuted within the picture, another picture's record, all absent, and none (of restorers
    that can)."""
    rungs: dict[str, list[float]] = {}
    for number, case in enumerate(cases):
        truth, own, other = case.truth, records[number], records[number - 1]
        sources: dict[str, Source] = {
            "gold": truth, "own record": own, "own words": own.diagnosis, "shuffled severities": shuffled(truth, seed),
            "swapped record": other, "all absent": truth.only(),
        }  # fmt: skip
        if not getattr(restorer, "needs_diagnosis", False):
            sources["no diagnosis"] = None
        for name, source in sources.items():
            value = float(psnr(restored(restorer, case.damaged, source), case.clean))
            rungs.setdefault(name, []).append(value)
        rungs.setdefault("input", []).append(float(psnr(case.damaged, case.clean)))
        report(number + 1)
    figures = [Figure("ladder", name, mean_of(values), unit="dB") for name, values in rungs.items()]
    gains = list(zip(rungs["own record"], rungs["gold"], rungs["input"]))
    figures.append(Figure("ladder", "gain of own / gain of gold", bootstrap(gains, gained), None, ">= 0.9"))
    for name, goal in (("swapped record", ">= 2"), ("shuffled severities", ">= 0")):
        below = mean_of([a - b for a, b in zip(rungs["own record"], rungs[name])])
        figures.append(Figure("ladder", f"own above {name}", below, None, goal, "dB"))
    return figures


def gained(rows: Sequence[tuple[float, float, float]]) -> float:
    """(own - input) / (gold - input) of mean PSNRs."""
    own, gold, before = (float(np.mean(column)) for column in zip(*rows))
    return (own - before) / (gold - before) if gold != before else float("nan")


def shuffled(diagnosis: Diagnosis, seed: int) -> Diagnosis:
    """Severities dealt anew among all findings of the picture, each cut at its kind's top."""
    names = list(diagnosis.findings)
    dealt = np.random.default_rng(seed).permutation([diagnosis.findings[name].severity or 0 for name in names])
    for name, value in zip(names, dealt.tolist()):
        diagnosis = diagnosis.edit(name, severity=int(min(value, kinds()[name].top)))
    return diagnosis


def erased(diagnosis: Diagnosis, field: str) -> Diagnosis:
    """Without one part: "factors", "severities" (each 40), "scene and quality", or "findings" (none)."""
    if field == "findings":
        return diagnosis.only()
    changed = diagnosis.model_copy(deep=True)
    if field == "scene and quality":
        changed.scene, changed.quality = Scene(), Quality()
        return changed
    for name in changed.present:
        old = changed.findings[name]
        factors = {} if field == "factors" else old.factors
        severity = 40 if field == "severities" else old.severity
        changed.findings[name] = Finding(evidence=old.evidence, present=True, severity=severity, factors=factors)
    return changed


FIELDS = ("findings", "severities", "factors", "scene and quality")


def erasure(restorer: Any, cases: Sequence[Case], report: Report = quiet) -> list[Figure]:
    """Test 10, second half (ERASER, DeYoung et al. 2020), on the true diagnosis. Comprehensiveness: dB lost without a
    field. Sufficiency: dB lost where only presence and this field are kept. The control erases nothing."""
    lost: dict[str, list[float]] = {}
    for done, case in enumerate(cases, 1):
        truth = case.truth

        def score(source: Diagnosis, case: Case = case) -> float:
            return float(psnr(restored(restorer, case.damaged, source), case.clean))

        full = score(truth)
        for field in FIELDS:
            lost.setdefault(f"comprehensiveness of {field}", []).append(full - score(erased(truth, field)))
        for kept in FIELDS[1:]:
            only = truth
            for field in FIELDS[1:]:
                only = only if field == kept else erased(only, field)
            lost.setdefault(f"sufficiency of {kept}", []).append(full - score(only))
        report(done)
    none = Estimate(0.0, 0.0, 0.0, len(cases))
    return [Figure("erasure", name, mean_of(values), none, unit="dB") for name, values in lost.items()]


def derived(restorer: Any, cases: Sequence[Case], records: Sequence[DiagnosisRecord], reasoner: Any) -> list[Figure]:
    """Test 2 where the derivation is code of ours: presence -> plan, leg and pixels; technical quality -> its words.

    The unedited structure is followed (F_ID) and the edited one is (F_OOD); the control asks whether the answer to the
    edit is that of the unedited structure. A finding of which the reasoner is not sure has no leg by our rule
    (`rnr.restorer.condition.wanted`): then the pixels must not differ.
    """
    plan, stale, legs, pixels = [], [], [], []
    for case, record in zip(cases, records):
        assert record.diagnosis is not None
        flipped = record.edit(case.kind, severity=0 if case.kind in record.diagnosis.present else int(case.severity))
        assert flipped.diagnosis is not None
        plan.append(all(set(d.plan) == set(d.present) for d in (record.diagnosis, flipped.diagnosis)))
        stale.append(set(flipped.diagnosis.plan) == set(record.diagnosis.present))
        if case.kind in restorer.kinds:
            ran = [_legs(restorer, case, source) for source in (record, flipped)]
            wants = [case.kind in wanted(source) for source in (record, flipped)]
            legs.append([case.kind in names for names, _ in ran] == wants)
            pixels.append(bool(np.abs(ran[0][1] - ran[1][1]).max() > 0) == (wants[0] != wants[1]))
    name, control = "consistency and intervention", mean_of(stale)
    return [
        Figure(name, "F_strong, presence -> plan", mean_of(plan), control, ">= 0.95"),
        Figure(name, "F_strong, technical -> quality words", mean_of(worded(reasoner, cases)), None, ">= 0.95"),
        Figure(name, "F_strong, presence -> its leg runs", mean_of(legs), None, ">= 0.95"),
        Figure(name, "F_strong, presence -> the pixels differ", mean_of(pixels), None, ">= 0.95"),
    ]


def _legs(restorer: Any, case: Case, source: DiagnosisRecord) -> tuple[set[str], np.ndarray]:
    result = restorer.restore(case.damaged[0].permute(1, 2, 0).contiguous().numpy(), source)
    return {name for leg in result.legs for name in leg.kinds}, result.pixels_HWC3


def worded(reasoner: Any, cases: Sequence[Case]) -> list[bool]:
    """Whether the words of the quality follow a forced number, for a low and a high one."""
    found = []
    for case in cases[:4]:  # code of ours: it either follows or not
        for technical in (10, 90):
            record = reasoner.diagnose([case.picture], forced={"quality.technical": technical})[0]
            words = record.diagnosis.quality.words if record.diagnosis else None
            found.append(words == quality_words(technical))
    return found
