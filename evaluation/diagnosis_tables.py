"""Cases of `rnr.evaluation.diagnosis_cases` as tables: findings, factors, words, scene, calibration, validity, cost.

A kind counts as there where its true severity is above 0; "weak" are severities 5 to 20, which are reported apart:
presence is scored on the pictures without the kind together with those of severity >= 20, or with the weak ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnr.degradation.diagnosis import Belief
from rnr.degradation.kind import Factor, kind_named
from rnr.evaluation.diagnosis_cases import Case, is_valid
from rnr.evaluation.metrics import (
    Bin,
    Presence,
    average,
    calibration_error,
    coverage,
    median,
    presence,
    reliability,
    spearman,
)
from rnr.evaluation.tables import Row, Table, mean

WEAK = 20.0
CIRCULAR = {("blur", "angle"): 180.0}  # factors that begin again
MEANT_FOR = {("blur", "angle"): ("type", "motion")}  # factors that say nothing under another choice


def kinds_of(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(kind for case in cases for kind in case.asked))


def findings_table(cases: Sequence[Case]) -> Table:
    """Presence and severity per kind, and their means."""
    rows = [_finding(cases, kind) for kind in kinds_of(cases)]
    if rows:
        names = [name for name in rows[0] if name not in ("kind", "n")]
        means: Row = {"kind": "mean", "n": len(cases)}
        rows.append(means | {name: mean(row[name] for row in rows) for name in names})
    note = (
        f"n: pictures with the kind. precision, recall, F1 at severities >= {WEAK:g}; weak: at 5-{WEAK:g}. "
        "MAE over pictures with the kind: expected severity if present | greedy, 0 where it says absent | greedy on "
        "single kinds; weak MAE: the first, at 5-20. rho: Spearman of expected against true severity, with the kind | "
        "over all pictures. ECE: calibration error of presence. 80%: share of true severities inside the 80% interval."
    )
    digits = {
        name: 3 for name in ("precision", "recall", "F1", "weak recall", "weak F1", "rho", "rho all", "ECE", "80%")
    }
    return Table.of("Findings", rows, note, digits)


def _finding(cases: Sequence[Case], kind: str) -> Row:
    asked = [case for case in cases if kind in case.asked]
    strong = [case for case in asked if case.severity[kind] == 0 or case.severity[kind] >= WEAK]
    weak = [case for case in asked if case.severity[kind] < WEAK]
    there = [case for case in asked if case.severity[kind] > 0]
    clear, faint = (_presence(group, kind) for group in (strong, weak))
    row: Row = {"kind": kind, "n": len(there), "precision": clear.precision, "recall": clear.recall, "F1": clear.f1}
    row |= {"weak recall": faint.recall, "weak F1": faint.f1}
    row |= _severity(there, kind)
    row["weak MAE"] = _severity([case for case in there if case.severity[kind] < WEAK], kind)["MAE"]
    row["rho"], row["rho all"] = (spearman(*_expected(group, kind)) for group in (there, asked))
    believed = [(case, belief) for case in asked if (belief := case.belief(kind))]
    row["ECE"] = calibration_error(
        [b.probability for _, b in believed], [case.severity[kind] > 0 for case, _ in believed]
    )
    row["80%"] = coverage(*_intervals(there, kind))
    return row


def _presence(cases: Sequence[Case], kind: str) -> Presence:
    return presence([case.severity[kind] > 0 for case in cases], [case.said_present(kind) for case in cases])


def _severity(there: Sequence[Case], kind: str) -> Row:
    """Mean absolute errors over the pictures with the kind."""
    expected = [abs(b.severity_if_present - case.severity[kind]) for case, b in _believed(there, kind)]
    greedy = [abs(case.said_severity(kind) - case.severity[kind]) for case in there]
    single = [abs(case.said_severity(kind) - case.severity[kind]) for case in there if case.count == 1]
    return {"MAE": average(expected), "MAE greedy": average(greedy), "MAE single": average(single)}


def _believed(cases: Sequence[Case], kind: str) -> list[tuple[Case, Belief]]:
    return [(case, belief) for case in cases if (belief := case.belief(kind))]


def _expected(cases: Sequence[Case], kind: str) -> tuple[list[float], list[float]]:
    pairs = [(belief.expected_severity, case.severity[kind]) for case, belief in _believed(cases, kind)]
    return [said for said, _ in pairs], [true for _, true in pairs]


def _intervals(there: Sequence[Case], kind: str) -> tuple[list[tuple[float, float]], list[float]]:
    """Widened by half a point: an interval of whole numbers stands for what rounds into it."""
    held = [(b.interval, case.severity[kind]) for case, b in _believed(there, kind) if b.interval]
    return [(low - 0.5, high + 0.5) for (low, high), _ in held], [true for _, true in held]


def either_table(cases: Sequence[Case]) -> Table:
    """Kinds that are taken for each other (`Kind.alike`), counted as one finding."""
    held = kinds_of(cases)
    pairs = [(kind, other) for kind in held for other in kind_named(kind).alike if other in held]
    note = (
        f"Severities >= {WEAK:g} or absent. either: one of the two is there and one is found. for the other: "
        "share of the pictures with one of them alone, in which the other alone is found."
    )
    digits = {"F1 of the first": 3, "F1 of the second": 3, "F1 either": 3, "for the other %": 1}
    return Table.of("Kinds that are alike", [_either(cases, *pair) for pair in pairs], note, digits)


def _either(cases: Sequence[Case], kind: str, other: str) -> Row:
    both = (kind, other)
    clear = [case for case in cases if all(case.severity[name] == 0 or case.severity[name] >= WEAK for name in both)]
    there = [{name for name in both if case.severity[name]} for case in clear]
    found = [{name for name in both if case.said_present(name)} for case in clear]
    alone = [(true, said) for true, said in zip(there, found) if len(true) == 1]
    row: Row = {"kinds": f"{kind}, {other}", "n": sum(map(bool, there))}
    row |= {"F1 of the first": _presence(clear, kind).f1, "F1 of the second": _presence(clear, other).f1}
    row["F1 either"] = presence([bool(true) for true in there], [bool(said) for said in found]).f1
    return row | {"for the other %": 100 * average([said == set(both) - true for true, said in alone])}


def points(cases: Sequence[Case], kind: str) -> list[tuple[float, float]]:
    """(true, expected) severity of every picture, for the plots."""
    said, true = _expected([case for case in cases if kind in case.asked], kind)
    return list(zip(true, said))


def factors_table(cases: Sequence[Case]) -> Table:
    """Errors of the factors where the kind is there (severity >= 20) and was found."""
    rows: list[Row] = []
    for kind in kinds_of(cases):
        for factor in kind_named(kind).factors:
            pairs = list(_factor_pairs(cases, kind, factor))
            if pairs:
                rows.append(_factor_errors(kind, factor, pairs))
    note = f"Where the kind is there with severity >= {WEAK:g} and was found. Medians; right: share of correct choices."
    return Table.of("Factors", rows, note, {"error": 3, "relative %": 1, "right %": 1})


def _factor_pairs(cases: Sequence[Case], kind: str, factor: Factor) -> Iterable[tuple[float, float]]:
    """(true, said) as numbers; a choice by its index."""
    condition = MEANT_FOR.get((kind, factor.name))
    for case in cases:
        if case.severity.get(kind, 0) < WEAK or not case.said_present(kind) or case.record.diagnosis is None:
            continue
        written = case.record.diagnosis.findings[kind].factors
        if condition and case.truth.findings[kind].factors.get(condition[0]) != condition[1]:
            continue
        if factor.name in written:
            yield case.factors[kind][factor.name], factor.value(written[factor.name])


def _factor_errors(kind: str, factor: Factor, pairs: Sequence[tuple[float, float]]) -> Row:
    row: Row = {"kind": kind, "factor": factor.name, "unit": factor.unit, "n": len(pairs)}
    if factor.choices:
        return row | {"right %": 100 * average([round(true) == said for true, said in pairs])}
    period = CIRCULAR.get((kind, factor.name))
    errors = [abs(true - said) for true, said in pairs]
    errors = [min(e % period, period - e % period) for e in errors] if period else errors
    relative = (
        [100 * e / abs(true) for e, (true, _) in zip(errors, pairs) if true] if factor.low >= 0 and not period else []
    )
    return row | {"error": median(errors), "relative %": median(relative) if relative else None}


def words_table(cases: Sequence[Case]) -> Table:
    """Evidence and scene: how often the word is the measured one."""
    scenes = [(case.record.diagnosis.scene, case.truth.scene) for case in cases if case.record.diagnosis]
    right: dict[str, list[bool]] = {}
    for said, true in scenes:
        for label in ("lighting", "texture", "layout"):
            right.setdefault(label, []).append(getattr(said, label) == getattr(true, label))
        right.setdefault("first colour", []).append((said.colours or [""])[0] == (true.colours or [""])[0])
        right.setdefault("both colours", []).append(set(said.colours or []) == set(true.colours or []))
    rows = [_evidence(cases, kind) for kind in kinds_of(cases)]
    for label, hits in right.items():
        rows.append({"field": f"scene {label}", "n": len(hits), "right %": 100 * average(hits)})
    return Table.of("Words", rows, "next: the right bin or one beside it.", {"right %": 1, "or next %": 1})


def _evidence(cases: Sequence[Case], kind: str) -> Row:
    texts = kind_named(kind).measurement.texts
    held = [case for case in cases if kind in case.asked]
    said = [case.record.diagnosis.findings[kind].evidence for case in held if case.record.diagnosis]
    true = [case.truth.findings[kind].evidence for case in held]
    off = [
        abs(texts.index(a) - texts.index(b)) if a in texts and b in texts else len(texts) for a, b in zip(said, true)
    ]
    row: Row = {"field": f"evidence of {kind}", "n": len(off), "right %": 100 * average([o == 0 for o in off])}
    return row | {"or next %": 100 * average([o <= 1 for o in off])}


def presence_pool(cases: Sequence[Case]) -> tuple[list[float], list[bool]]:
    """P(present) and truth of all findings together."""
    pool = [
        (b.probability, case.severity[kind] > 0) for case in cases for kind in case.asked if (b := case.belief(kind))
    ]
    return [p for p, _ in pool], [true for _, true in pool]


def summary_table(cases: Sequence[Case]) -> Table:
    """The figures that are quoted, and what they cost."""
    held = kinds_of(cases)
    findings = {str(row["kind"]): row for row in findings_table(cases).rows}
    clean = [case for case in cases if case.count == 0]
    alarms = [case.said_present(kind) for case in clean for kind in case.asked]
    pool = presence_pool(cases)
    intervals = [_intervals([c for c in cases if kind in c.asked and c.severity[kind] > 0], kind) for kind in held]
    rows: list[Row] = [
        {"figure": "pictures", "value": len(cases)},
        {"figure": "valid outputs, %", "value": 100 * average([is_valid(case.record) for case in cases])},
        {"figure": f"presence macro-F1, severities >= {WEAK:g}", "value": mean(findings[k]["F1"] for k in held)},
        {"figure": f"presence macro-F1, severities 5-{WEAK:g}", "value": mean(findings[k]["weak F1"] for k in held)},
        {"figure": "severity MAE over kinds present (mean of kinds)", "value": mean(findings[k]["MAE"] for k in held)},
        {
            "figure": "smallest Spearman of a kind",
            "value": min((float(str(findings[k]["rho"])) for k in held), default=None),
        },
        {"figure": "expected calibration error of presence", "value": calibration_error(*pool)},
        {
            "figure": "80% intervals that hold",
            "value": coverage(*(sum(part, []) for part in zip(*intervals))) if held else None,
        },
        {"figure": "false alarms on undamaged pictures, % of findings", "value": 100 * average(alarms)},
        {"figure": "seconds per picture", "value": average([case.record.seconds for case in cases])},
        {
            "figure": "forward passes per picture",
            "value": average([float(case.record.forward_passes) for case in cases]),
        },
    ]
    return Table.of("Diagnosis", rows, digits={"value": 3})


def alarms_matrix(cases: Sequence[Case]) -> list[list[float]]:
    """Rows: the kind that is there (>= 20). Columns: how often, in %, the kind is said to be there where it is not;
    on the diagonal, how often it is found."""
    held = kinds_of(cases)

    def share(there: str, said: str) -> float:
        group = [c for c in cases if c.severity.get(there, 0) >= WEAK and (there == said or c.severity.get(said) == 0)]
        return 100 * average([c.said_present(said) for c in group])

    return [[share(there, said) for said in held] for there in held]


def reliability_of(cases: Sequence[Case]) -> tuple[list[Bin], float]:
    """Bins and error of presence over all kinds, for the diagram."""
    pool = presence_pool(cases)
    return reliability(*pool), calibration_error(*pool)
