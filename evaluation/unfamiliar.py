"""First do no harm: what a pair does to images that are not damaged, beside what it still finds in damaged ones.

Undamaged images come in groups: folders of photographs, graphics drawn from a seed (`degradation.drawings`), folders of
anything else. Each image is diagnosed and restored as `rnr restore` does it. An image counts as kept if it comes back
as it was, or within `NEAR` dB of it. A pair that finds nothing keeps everything: so mixtures of the same photographs
are diagnosed in the same run, and a damage counts as found only if a restoration would act on it.

Whether an image is a photograph at all (`scene.medium`) is a belief, too, and its calibration is measured on all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.drawings import drawing
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.evaluation.journal import Journal
from rnr.evaluation.metrics import average, calibration_error, percent
from rnr.evaluation.robustness import Shown, diagnosed
from rnr.evaluation.tables import Row, Table, as_number

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser, Restorer
else:
    np = LazyModule("numpy")

NEAR = 45.0  # dB; nobody sees the difference any more: a choice
STRONG = 20  # severity from which a damage is to be found
SIZES = ((160, 160), (240, 320), (320, 240), (384, 512), (64, 64))  # height and width of drawn graphics, px: a choice
COLUMNS = ["group", "image", "found", "left alone", "psnr", "graphic"]
DRAWN = "drawn graphics"  # the group of `graphics`
Report = Callable[[int], None]


def graphics(count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` undamaged graphics, uint8 HWC, by the seed each is drawn from."""
    return {str(seed + i): drawing(seed + i, SIZES[i % len(SIZES)]) for i in range(count)}


def journal(out: Path, settings: dict[str, Any], resume: bool) -> Journal:
    return Journal(out / "unfamiliar_images.csv", COLUMNS, ["group", "image"], settings | {"columns": COLUMNS}, resume)


def measure(
    reasoner: Diagnoser,
    restorer: Restorer,
    groups: Mapping[str, Mapping[str, np.ndarray]],
    held: Journal,
    report: Report,
) -> None:
    """A row of the journal for each image of each group."""
    images = [(group, name, image) for group, named in groups.items() for name, image in named.items()]
    for done, (group, name, image) in enumerate(images, 1):
        if not held.done(group=group, image=name):
            held.write([{"group": group, "image": name, **_seen(reasoner, restorer, image)}])
        report(done)


def _seen(reasoner: Diagnoser, restorer: Restorer, image_HWC: np.ndarray) -> Row:
    """What is found in one image, what of it is left alone, PSNR of the result (None: as it was), P(graphic)."""
    from rnr.reasoner.views import as_uint8
    from rnr.restorer.condition import left_alone

    record = diagnosed(reasoner, image_HWC)
    result = restorer.restore(np.asarray(image_HWC, np.float32) / np.float32(255), record)
    level = float(psnr(to_tensor(as_uint8(result.pixels_HWC3)), to_tensor(image_HWC)))
    found = {"found": " ".join(present(record)), "left alone": " ".join(left_alone(record))}
    return found | {"psnr": level if math.isfinite(level) else None, "graphic": graphic(record)}


def present(record: DiagnosisRecord) -> list[str]:
    """The kinds that a record holds present."""
    return record.diagnosis.present if record.diagnosis else []


def graphic(record: DiagnosisRecord) -> float | None:
    """P(no photograph), 0..1, from the two legal words of `scene.medium`; None where it was not asked or not scored."""
    said = next((entry for entry in record.trace if entry.field == "scene.medium"), None)
    if said is None or not said.logprobs or record.diagnosis is None:
        return None
    return said.confidence if record.diagnosis.scene.is_graphic else 1 - said.confidence


def harm_table(rows: Sequence[Row]) -> Table:
    """By group: how many images come back as they were, and the worst that happened to one."""
    made: list[Row] = []
    for group in dict.fromkeys(str(row["group"]) for row in rows):
        mine = [row for row in rows if row["group"] == group]
        levels = [float(row["psnr"]) for row in mine if row["psnr"] is not None]
        acted = [set(str(row["found"] or "").split()) - set(str(row["left alone"] or "").split()) for row in mine]
        made.append(
            {
                "group": group, "n": len(mine), "findings %": percent([bool(row["found"]) for row in mine]),
                "as it was %": percent([row["psnr"] is None for row in mine]),
                "kept %": percent([row["psnr"] is None or float(row["psnr"]) >= NEAR for row in mine]),
                "worst dB": min(levels, default=None), "acted on": _counted(acted),
            }
        )  # fmt: skip
    note = f"findings: in how many any; kept: as it was or within {NEAR:g} dB of it; acted on: findings undone."
    return Table.of("Undamaged images", made, note, {"findings %": 1, "as it was %": 1, "kept %": 1})


def _counted(sets: Iterable[Collection[str]]) -> str:
    kinds = [kind for found in sets for kind in found]
    return ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k)))


def recall_table(shown: Sequence[Shown], kinds: Sequence[str]) -> Table:
    """By kind: the share of true damages that are found, and that a restoration would act on."""
    from rnr.restorer.condition import wanted

    seen: dict[tuple[str, bool], list[tuple[bool, bool]]] = {}
    for _, truth, record in shown:
        acted = wanted(record)
        for kind in truth.present:
            strong = (truth.findings[kind].severity or 0) >= STRONG
            seen.setdefault((kind, strong), []).append((kind in present(record), kind in acted))
    rows = [_recalled(kind, strong, seen) for strong in (True, False) for kind in ("all", *kinds)]
    note = "acted on: found, and a restoration would undo it without being forced."
    return Table.of("Damage of the same photographs", rows, note, {"found %": 1, "acted on %": 1})


def medium_table(rows: Sequence[Row], photographs: Collection[str], damaged: Sequence[float | None]) -> Table:
    """Calibration of the belief "no photograph" over photographs and drawn graphics; other groups have no label.

    Args:
        rows: Of the journal.
        photographs: Groups that are photographs.
        damaged: P(graphic) of damaged regions of these.
    """

    def of(groups: Collection[str]) -> list[float]:
        return [as_number(row, "graphic") for row in rows if row["group"] in groups and row["graphic"] is not None]

    said = {"undamaged photographs": of(photographs), "damaged photographs": [p for p in damaged if p is not None]}
    parts = [(name, p, [False] * len(p)) for name, p in said.items()]
    parts += [(DRAWN, drawn := of([DRAWN]), [True] * len(drawn))]
    everything = ("all", [p for _, part, _ in parts for p in part], [true for *_, part in parts for true in part])
    note = "P: mean P(graphic); ECE: expected calibration error, 10 bins; Brier: mean squared error of P(graphic)."
    made = [_calibrated(*part) for part in (*parts, everything)]
    return Table.of('The belief "no photograph"', made, note, {"graphic %": 1, "P": 3, "ECE": 3, "Brier": 3})


def _calibrated(name: str, probability: Sequence[float], truth: Sequence[bool]) -> Row:
    row: Row = {"images": name, "n": len(truth), "graphic %": percent([p >= 0.5 for p in probability])}
    row |= {"P": average(probability), "ECE": calibration_error(probability, truth)}
    return row | {"Brier": average([(p - true) ** 2 for p, true in zip(probability, truth, strict=True)])}


def _recalled(kind: str, strong: bool, seen: Mapping[tuple[str, bool], Sequence[tuple[bool, bool]]]) -> Row:
    pairs = [pair for (name, part), held in seen.items() if kind in (name, "all") and part == strong for pair in held]
    row: Row = {"severity": f">= {STRONG}" if strong else f"< {STRONG}", "kind": kind, "n": len(pairs)}
    found, acted = ([pair[side] for pair in pairs] for side in (0, 1))
    return row | {"found %": percent(found), "acted on %": percent(acted)}
