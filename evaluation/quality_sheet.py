"""Real pictures beside what our restorer makes of them, for eyes: `rnr bench quality-sheet`.

Nobody knows the clean original of a real picture, so no measure says whether it became better. The sheet shows each
picture before and after with both scores; the table beside it has a column `eye`, empty, for better, equal or worse.
Filled in, `--judged TABLE` counts how often the scores agree with the eye.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from rnr.degradation.photographs import to_uint8
from rnr.evaluation.metrics import interval
from rnr.evaluation.tables import Row, Table, read_csv

if TYPE_CHECKING:
    from rnr.degradation.protocols import Diagnoser, Restorer, Scorer

SIDE = 360  # px of a picture on the sheet, at most
MOST = 512  # px of the longer side that is restored: larger pictures are reduced; a choice, it bounds the time
LINE, GAP = 20, 8  # px of a line of text, between pictures
EYE = ("better", "equal", "worse")


@dataclass(frozen=True)
class Pair:
    """A picture and what became of it, uint8 HWC, with the technical scores of both."""

    name: str
    before: np.ndarray
    after: np.ndarray
    scores: tuple[float, float]
    removed: str

    @property
    def gain(self) -> float:
        return self.scores[1] - self.scores[0]

    def row(self) -> Row:
        first, second = self.scores
        return {"picture": self.name, "removed": self.removed, "before": first, "after": second, "gain": self.gain,
                "eye": None}  # fmt: skip


def pairs(
    photographs: Mapping[str, np.ndarray], reasoner: Diagnoser, restorer: Restorer, scorer: Scorer,
    report: Callable[[int], None] = lambda done: None,
) -> list[Pair]:  # fmt: skip
    """Each picture diagnosed, restored and scored. ValueError for a scorer without a technical score."""
    found = []
    for number, (name, picture) in enumerate(photographs.items(), 1):
        before = reduced(picture)
        record = reasoner.diagnose([before])[0]
        pixels = restorer.restore(before.astype(np.float32) / 255, record).pixels_HWC3
        after = to_uint8(torch.from_numpy(np.array(pixels)).permute(2, 0, 1))
        first, second = (score.technical for score in scorer.score([before, after]))
        if first is None or second is None:
            raise ValueError(f"{scorer.identity['model']}: gives no technical score; name another --scorer")
        present = record.diagnosis.present if record.diagnosis else []
        found.append(Pair(name, before, after, (first, second), ", ".join(present) or "-"))
        report(number)
    return found


def reduced(picture_HWC: np.ndarray) -> np.ndarray:
    """At most `MOST` px long."""
    image = Image.fromarray(picture_HWC)
    image.thumbnail((MOST, MOST), Image.Resampling.LANCZOS)
    return np.asarray(image)


def sheet(found: Sequence[Pair], path: Path) -> None:
    """One picture: a row each, before and after, the scores above; the largest gain first."""
    cells = [_cell(pair) for pair in sorted(found, key=lambda pair: -pair.gain)]
    whole = Image.new("RGB", (2 * SIDE + 3 * GAP, sum(cell.height for cell in cells) + GAP), "white")
    top = GAP
    for cell in cells:
        whole.paste(cell, (GAP, top))
        top += cell.height
    whole.save(path, quality=90)


def _cell(pair: Pair) -> Image.Image:
    shown = [Image.fromarray(pixels) for pixels in (pair.before, pair.after)]
    for image in shown:
        image.thumbnail((SIDE, SIDE))
    cell = Image.new("RGB", (2 * SIDE + GAP, LINE + shown[0].height + GAP), "white")
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(13)
    texts = (f"{pair.name}: {pair.scores[0]:.0f}", f"{pair.scores[1]:.0f} ({pair.gain:+.0f}), removed: {pair.removed}")
    for place, (image, text) in enumerate(zip(shown, texts)):
        draw.text((place * (SIDE + GAP), 2), text, "black", font)
        cell.paste(image, (place * (SIDE + GAP), LINE))
    return cell


def table(found: Sequence[Pair]) -> Table:
    note = f"technical score of 100; eye: to be filled in with {', '.join(EYE)}"
    return Table.of("Real pictures before and after", [pair.row() for pair in found], note, {"gain": 1})


def agreement_table(path: Path) -> Table:
    """How often a filled table's scores rise where the eye sees better and fall where it sees worse.

    Raises:
        ValueError: For a table that nobody filled in, or with other words.
    """
    rows = [row for row in read_csv(path, words=["picture", "removed"]).rows if row.get("eye")]
    if not rows or any(row["eye"] not in EYE for row in rows):
        raise ValueError(f"{path}: fill in its column eye with {', '.join(EYE)}")
    ranked = [row for row in rows if row["eye"] != "equal"]
    hits = np.array([(float(row["gain"] or 0) > 0) == (row["eye"] == "better") for row in ranked], float)
    counts: Row = {name: sum(row["eye"] == name for row in rows) for name in EYE}
    low, high = interval(len(hits), lambda drawn: 100 * float(hits[drawn].mean())) if ranked else (None, None)
    share = 100 * float(hits.mean()) if ranked else None
    return Table.of("Scores and the eye", [counts | {"agree %": share, "low": low, "high": high}])
