"""First do no harm: what a pair does to images that are not damaged, beside what it still finds in damaged ones.

Undamaged images come in groups: folders of photographs, graphics drawn from a seed (`degradation.drawings`), folders of
anything else. Each image is diagnosed and restored as `rnr restore` does it. An image counts as kept if it comes back
as it was, or within `NEAR` dB of it. A pair that finds nothing keeps everything: so mixtures of the same photographs
are diagnosed in the same run, and a damage counts as found only if a restoration would act on it.
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
from rnr.evaluation.metrics import percent
from rnr.evaluation.robustness import diagnosed
from rnr.evaluation.samples import Batch
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser, Restorer
else:
    np = LazyModule("numpy")

NEAR = 45.0  # dB; nobody sees the difference any more: a choice
STRONG = 20  # severity from which a damage is to be found
SIZES = ((160, 160), (240, 320), (320, 240), (384, 512), (64, 64))  # height and width of drawn graphics, px: a choice
COLUMNS = ["group", "image", "found", "left alone", "psnr"]
Report = Callable[[int], None]


def graphics(count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` undamaged graphics, uint8 HWC, by the seed each is drawn from."""
    return {str(seed + i): drawing(seed + i, SIZES[i % len(SIZES)]) for i in range(count)}


def journal(out: Path, settings: dict[str, Any], resume: bool) -> Journal:
    return Journal(out / "unfamiliar_images.csv", COLUMNS, ["group", "image"], settings, resume)


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
    """What is found in one image, what of it is left alone, and PSNR of the restored image (None: as it was)."""
    from rnr.reasoner.views import as_uint8
    from rnr.restorer.condition import left_alone

    record = diagnosed(reasoner, image_HWC)
    result = restorer.restore(np.asarray(image_HWC, np.float32) / np.float32(255), record)
    level = float(psnr(to_tensor(as_uint8(result.pixels_HWC3)), to_tensor(image_HWC)))
    found = {"found": " ".join(present(record)), "left alone": " ".join(left_alone(record))}
    return found | {"psnr": level if math.isfinite(level) else None}


def present(record: DiagnosisRecord) -> list[str]:
    """The kinds that a record holds present."""
    return record.diagnosis.present if record.diagnosis else []


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


def recall_table(reasoner: Diagnoser, batches: Iterable[Batch], report: Report) -> Table:
    """By kind: the share of true damages that are found, and that a restoration would act on."""
    from rnr.restorer.condition import wanted

    seen: dict[tuple[str, bool], list[tuple[bool, bool]]] = {}
    done = 0
    for batch in batches:
        for image, truth in zip(batch.pictures(), batch.truths()):
            record = diagnosed(reasoner, image)
            acted = wanted(record)
            for kind in truth.present:
                strong = (truth.findings[kind].severity or 0) >= STRONG
                seen.setdefault((kind, strong), []).append((kind in present(record), kind in acted))
            done += 1
            report(done)
    rows = [_recalled(kind, strong, seen) for strong in (True, False) for kind in ("all", *reasoner.kinds)]
    note = "acted on: found, and a restoration would undo it without being forced."
    return Table.of("Damage of the same photographs", rows, note, {"found %": 1, "acted on %": 1})


def _recalled(kind: str, strong: bool, seen: Mapping[tuple[str, bool], Sequence[tuple[bool, bool]]]) -> Row:
    pairs = [pair for (name, part), held in seen.items() if kind in (name, "all") and part == strong for pair in held]
    row: Row = {"severity": f">= {STRONG}" if strong else f"< {STRONG}", "kind": kind, "n": len(pairs)}
    found, acted = ([pair[side] for pair in pairs] for side in (0, 1))
    return row | {"found %": percent(found), "acted on %": percent(acted)}
