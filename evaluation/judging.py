"""The judge measured: which images pass as the same content, and where along doses its best point lies.

A sweep undoes haze or low light with its own inverse at doses 0-100 on true pairs (`judge.doses`). The judge's best
dose (`Change.gain`) is compared with the best dose by PSNR; a plateau counts as its whole interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import kind_named
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_crop, to_tensor, to_uint8
from rnr.evaluation.journal import Journal
from rnr.evaluation.tables import Row, Table
from rnr.judge.change import Change, Seen, change
from rnr.judge.content import PASS, same
from rnr.judge.doses import DOSES, Sweep, sweep
from rnr.judge.impostors import SIDE, cases
from rnr.judge.reading import severities

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Diagnoser
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

KINDS = ("haze", "low_light")  # kinds whose inverse can be overdone
LEVEL = {"PSNR": 0.1, "judge": 1.0}  # dB and points within which doses count as equally good (graph's MARGIN is 1)
APART = 15.0  # points of dose by which the two best may lie apart
WAYS = ("judge", "without over-correction", "severity alone")
COLUMNS = ["picture", "kind", "severity", "found", "PSNR from", "PSNR to"] + [
    f"{way} {end}" for way in WAYS for end in ("from", "to", "apart")
]
Report = Callable[[int], None]


def content_table(photographs: Sequence[np.ndarray], count: int, seed: int, report: Report) -> Table:
    """Of `count` mixtures: the share of clean images that pass, and of each impostor that is refused."""
    passed: dict[str, list[tuple[bool, bool]]] = {}
    for number, case in enumerate(cases(photographs, count, seed)):
        for name, image in {"the clean image": case.clean, **case.impostors}.items():
            pair = (same(case.degraded, image) >= PASS, same(case.clean, image) >= PASS)
            passed.setdefault(name, []).append(pair)
        report(number + 1)
    rows = [_content_row(name, pairs) for name, pairs in passed.items()]
    note = f"% of {count} mixtures of 0-3 kinds; before: the damaged image, or the clean one"
    return Table.of("Same content", rows, note, {"damaged before": 1, "clean before": 1})


def _content_row(name: str, pairs: Sequence[tuple[bool, bool]]) -> Row:
    wanted = name == "the clean image"
    shares = [100 * sum(pair[side] == wanted for pair in pairs) / len(pairs) for side in (0, 1)]
    return {"after": name, "must": "pass" if wanted else "be refused", "damaged before": shares[0],
            "clean before": shares[1]}  # fmt: skip


def journal(out: Path, settings: dict[str, Any], resume: bool) -> Journal:
    return Journal(out / "judge_sweeps.csv", COLUMNS, ["picture", "kind"], settings, resume)


def measure_sweeps(
    reasoner: Diagnoser, photographs: Mapping[str, np.ndarray], seed: int, held: Journal, report: Report
) -> None:
    """A row of the journal for each photograph and kind."""
    for number, (name, photograph) in enumerate(photographs.items()):
        for kind in KINDS:
            if not held.done(picture=name, kind=kind):
                made = sweep(kind_named(kind), to_tensor(centre_crop(photograph, SIDE))[0], Path(name).name, seed)
                records = _diagnosed(reasoner, [to_uint8(image) for image in made.undone])
                present = records[0].diagnosis.present if records[0].diagnosis else []
                held.write([assessed(name, made, [severities(record) for record in records], present)])
        report(number + 1)


def _diagnosed(reasoner: Diagnoser, pictures: Sequence[np.ndarray]) -> list[Any]:
    """A record of each, equal pictures once."""
    records = {picture.tobytes(): picture for picture in pictures}
    known = dict(zip(records, reasoner.diagnose(list(records.values()))))
    return [known[picture.tobytes()] for picture in pictures]


def assessed(name: str, made: Sweep, read: Sequence[Mapping[str, float]], present: Sequence[str]) -> Row:
    """The row of one sweep: intervals of the best doses, and how far the judge's lies from PSNR's.

    Args:
        name: Of the photograph.
        made: The sweep.
        read: The severities of `made.undone`, in order.
        present: The kinds found in the degraded image; the kind that is undone counts as one of them.
    """
    held = list(dict.fromkeys([made.kind, *present]))
    before = Seen(to_uint8(made.degraded_CHW), read[0], held)
    found = [change(before, Seen(to_uint8(image), seen, held)) for image, seen in zip(made.undone, read)]
    levels = psnr(torch.stack(made.undone), made.clean_CHW[None]).tolist()
    truth = best(levels, LEVEL["PSNR"])
    row: Row = {"picture": name, "kind": made.kind, "severity": made.severity, "found": made.kind in present}
    row |= {"PSNR from": truth[0], "PSNR to": truth[1]}
    for way, values in _ways(found).items():
        low, high = best(values, LEVEL["judge"])
        apart = max(0.0, low - truth[1], truth[0] - high)
        row |= {f"{way} from": low, f"{way} to": high, f"{way} apart": apart}
    return row


def _ways(found: Sequence[Change]) -> dict[str, list[float]]:
    scores = [(c.gain, c.removed - c.new, c.removed) for c in found]
    return dict(zip(WAYS, map(list, zip(*scores))))


def best(values: Sequence[float], level: float) -> tuple[float, float]:
    """The doses around the highest value that lie within `level` of it without a gap: (first, last)."""
    first = last = max(range(len(values)), key=lambda place: values[place])
    least = values[first] - level
    while first > 0 and values[first - 1] >= least:
        first -= 1
    while last < len(values) - 1 and values[last + 1] >= least:
        last += 1
    return float(DOSES[first]), float(DOSES[last])


def sweep_table(rows: Sequence[Row]) -> Table:
    """By kind: the share of images in which each way has its best dose where PSNR has it."""
    made: list[Row] = []
    for kind in (*KINDS, "both"):
        mine = [row for row in rows if kind in (row["kind"], "both")]
        if mine:
            shares = {
                way: 100 * sum(float(row[f"{way} apart"] or 0) <= APART for row in mine) / len(mine) for way in WAYS
            }
            width = sum(float(row["judge to"] or 0) - float(row["judge from"] or 0) for row in mine) / len(mine)
            seen = 100 * sum(bool(row["found"]) for row in mine) / len(mine)
            made.append({"undone": kind, "images": len(mine), "kind found %": seen, **shares, "judge's plateau": width})
    note = f"% of the images in which the best dose lies within {APART:.0f} points of PSNR's; plateau in points of dose"
    return Table.of("Best dose", made, note, {name: 0 for name in ("kind found %", *WAYS, "judge's plateau")})
