"""Restoration for people and for machines, measured: `rnr bench tasks`.

Ground truth of classification is what the classifier says of the clean picture: its first class, and its distribution
(overlap: the sum of the lesser probabilities, 1 - total variation distance). Ground truth of reading is the text that
was drawn. Intervals are bootstraps over pictures (95%): damages of one picture go together.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from rnr.degradation.lettering import Lettered, lettered
from rnr.degradation.measure import psnr, ssim
from rnr.degradation.photographs import centre_crop, rounded
from rnr.evaluation.cases import Case, cases, interval, numbers, predicted
from rnr.evaluation.metrics import character_error
from rnr.evaluation.tables import Row, Table
from rnr.restorer.latent.downstream import IGNORED, SHORT, VIEW, Model, shrunk
from rnr.restorer.latent.tasks import PERCEPTION

if TYPE_CHECKING:
    from rnr.degradation.protocols import Diagnoser, Restorer
    from rnr.quality.model import QualityModel
    from rnr.restorer.latent import TaskRestorer

PAGE = 256  # side of a page in px; a choice
OWN = {"classification": "overlap", "reading": "CER"}  # each task's own measure
EXPERTS, BOTH = "pixel experts", ("PSNR", "SSIM", "score")
Report = Callable[[int], None]
Way = Callable[[torch.Tensor], torch.Tensor]  # (1, 3, H, W) in [0, 1] -> the same


class Reads(Protocol):
    """Something that reads lines, such as `rnr.restorer.latent.reader.Reader`."""

    def read(self, image_1CHW: torch.Tensor, corners_42: np.ndarray) -> str: ...


@dataclass
class Served:
    """What a machine makes of a case: its measures, by name."""

    measures: Callable[[torch.Tensor, Case], dict[str, float]]
    held: list[Case]


def photograph_cases(photographs: dict[str, np.ndarray], mixtures: int, seed: int) -> list[Case]:
    """Photographs as the classifier sees them, damaged: shorter side SHORT, the centre of VIEW px."""
    views = {name: centre_crop(shrunk(picture, SHORT), VIEW) for name, picture in photographs.items()}
    return cases(views, 0, mixtures, seed)


def page_cases(pages: int, mixtures: int, seed: int) -> tuple[dict[str, Lettered], list[Case]]:
    """Pages and signs, damaged."""
    made = {f"page {n}": lettered(seed * 1_000_003 + n, (PAGE, PAGE)) for n in range(pages)}
    return made, cases({name: page.picture_HWC for name, page in made.items()}, 0, mixtures, seed)


@torch.no_grad()
def classified(classifier: Model, image_1CHW: torch.Tensor, case: Case) -> dict[str, float]:
    """Whether the first class is that of the clean picture (0 or 100), and the overlap of both distributions (0..1)."""
    said, wanted = (classifier(image).softmax(1)[0] for image in (image_1CHW, case.clean))
    same = float(said.argmax() == wanted.argmax())
    return {"top-1": 100 * same, "overlap": float(torch.minimum(said, wanted).sum())}


def read(reader: Reads, pages: dict[str, Lettered], image_1CHW: torch.Tensor, case: Case) -> dict[str, float]:
    """Character error rate of all lines of the page; NaN for a page without any."""
    lines = pages[case.photograph].lines
    said = [reader.read(image_1CHW, line.corners_42) for line in lines]
    return {"CER": character_error(said, [line.text for line in lines]) if lines else float("nan")}


def ways(
    restorer: TaskRestorer, task: str, experts: Restorer | None, reasoner: Diagnoser | None,
    rivals: dict[str, TaskRestorer],
) -> dict[str, Way]:  # fmt: skip
    """What is compared, but for the degraded picture and the clean one."""

    def by(model: TaskRestorer, name: str) -> Way:
        return lambda image: model.shown(image, task=name)

    def diagnosed(image: torch.Tensor) -> torch.Tensor:
        assert experts is not None and reasoner is not None
        pixels = image[0].permute(1, 2, 0).numpy()
        record = reasoner.diagnose([pixels])[0]
        made = experts.restore(pixels, record).pixels_HWC3 if record.diagnosis else pixels
        return torch.from_numpy(np.ascontiguousarray(made)).permute(2, 0, 1)[None]

    found: dict[str, Way] = {EXPERTS: diagnosed} if experts is not None else {}
    for label, model in {"latent": restorer, **rivals}.items():
        names = dict.fromkeys((PERCEPTION, task))
        found |= {f"{label}, {name}": by(model, name) for name in names if name in model.tasks}
    return found


def measured(
    found: dict[str, Way], served: Served, scorer: QualityModel, report: Report = lambda done: None
) -> list[Row]:
    """A row for each case and way, the degraded and the clean picture among them."""
    rows: list[Row] = []
    for number, case in enumerate(served.held):
        shown: dict[str, Way] = {"degraded": lambda image: image, **found, "clean": always(case.clean)}
        for name, way in shown.items():
            began = time.perf_counter()
            made = rounded(way(case.damaged))
            seconds = (time.perf_counter() - began) / case.clean[0, 0].numel() * 1e6
            cells: Row = {"picture": case.photograph, "case": number, "way": name}
            cells |= served.measures(made, case)
            cells |= {"PSNR": float(psnr(made, case.clean).clamp(max=60)), "SSIM": float(ssim(made, case.clean))}
            rows.append(cells | {"score": predicted(scorer, made), "s/MP": seconds})
        report(number + 1)
    return rows


def always(image_1CHW: torch.Tensor) -> Way:
    """The same picture, whatever comes in."""
    return lambda _: image_1CHW


def summary(task: str, rows: Sequence[Row]) -> Table:
    """Means by way, the task's own measure with its interval, and what the task's prompt gains and costs."""
    own, table = OWN[task], []
    for way in dict.fromkeys(str(row["way"]) for row in rows):
        chosen = [row for row in rows if row["way"] == way]
        cells: Row = {"way": way}
        for name in [name for name in rows[0] if name not in ("picture", "case", "way")]:
            cells[name] = float(np.nanmean(numbers(chosen, name)))
            if name == own:
                cells[f"{own} 95%"] = words(interval(numbers(chosen, own), groups(chosen)), 3)
        table.append(cells)
    cases_, pictures = len({row["case"] for row in rows}), len(set(groups(rows)))
    note = f"{cases_} damages of {pictures} pictures. {gain(task, rows)}"
    return Table.of(f"For {task}", table, note.strip(), {"SSIM": 3, own: 3})


def gain(task: str, rows: Sequence[Row]) -> str:
    """The task's prompt against that of perception on the same damages: its own measure, and PSNR."""
    pairs = [[row for row in rows if row["way"] == f"latent, {name}"] for name in (task, PERCEPTION)]
    if not all(pairs):
        return ""
    found = []
    for name, digits in ((OWN[task], 3), ("PSNR", 2)):
        change = [a - b for a, b in zip(*(numbers(each, name) for each in pairs))]
        low_high = words(interval(change, groups(pairs[0])), digits)
        found.append(f"{name} {np.nanmean(change):+.{digits}f} ({low_high})")
    return f"The prompt of {task} against that of perception: {', '.join(found)}."


def groups(rows: Sequence[Row]) -> list[str]:
    return [str(row["picture"]) for row in rows]


def words(ends: tuple[float, float], digits: int) -> str:
    return f"{ends[0]:.{digits}f}..{ends[1]:.{digits}f}"


def about(restorer: TaskRestorer) -> dict[str, Any]:
    """Parameters in millions, tasks, and the process' largest memory so far in MB."""
    parts = {"autoencoder": restorer.autoencoder, "network": restorer.network}
    found: dict[str, Any] = {f"{n} M": round(sum(p.numel() for p in m.parameters()) / 1e6, 2) for n, m in parts.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    return found | {"tasks": restorer.tasks, "peak memory MB": round(peak)}


def confusion(said_BHW: torch.Tensor, labels_BHW: torch.Tensor, classes: int) -> torch.Tensor:
    """How often each class (row) was called which (column), of the pixels that count."""
    counted = labels_BHW != IGNORED
    pairs = labels_BHW[counted] * classes + said_BHW[counted]
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_intersection(confusion_KK: torch.Tensor) -> float:
    """Mean intersection over union of the classes that occur, 0..1.

    Example:
        >>> mean_intersection(torch.tensor([[2, 0], [2, 4]]))  # 2 / 4 and 4 / 6
        0.5833333730697632
    """
    hits = confusion_KK.diagonal().float()
    union = confusion_KK.sum(0) + confusion_KK.sum(1) - hits
    return float((hits / union)[union > 0].mean())
