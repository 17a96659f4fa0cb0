"""Pages and signs whose text is known, as a camera would see them: for what reads, and for what is trained to be read.

`lettered(seed)` draws lines of words flat, lays the sheet into the picture by a random perspective, and lights it by a
gradient. Each line comes with its text and the four corners where it ended up. All letters are those of the one font
that Pillow brings, so that nothing has to be fetched; the words belong to no language, so that no reader can guess.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.drawings import Colour, any_colour, canvas, font, ink, paper, words

if TYPE_CHECKING:
    import cv2
    import numpy as np
    from PIL import ImageDraw
else:
    cv2, np = LazyModule("cv2"), LazyModule("numpy")

SORTS = ("page", "sign")
TILT = 0.06  # most that a corner moves, of the sides; a choice
DARKEST = 0.5  # least light on a sheet; a choice
SHEET = {"page": (11.0, 22.0), "sign": (26.0, 60.0)}  # letters' height in px; a choice


@dataclass
class Line:
    """A line of text: what it says, and its corners (4, 2) in px as (x, y), from the upper left, clockwise."""

    text: str
    corners_42: np.ndarray


@dataclass
class Lettered:
    """A picture (uint8 HWC) and the lines that lie in it whole."""

    picture_HWC: np.ndarray
    lines: list[Line]


def lettered(seed: int, size: tuple[int, int] = (256, 256), sort: str | None = None) -> Lettered:
    """A photographed page or sign.

    Args:
        seed: Everything random comes from it.
        size: Height and width in px.
        sort: `page` or `sign`; drawn if None.

    Raises:
        ValueError: For another sort.

    Example:
        >>> made = lettered(3, (128, 192))
        >>> made.picture_HWC.shape, len(made.lines) > 0
        ((128, 192, 3), True)
    """
    rng = random.Random(seed)
    chosen = sort or rng.choice(SORTS)
    if chosen not in SHEET:
        raise ValueError(f"lettering is one of {', '.join(SORTS)}, not {sort!r}")
    ground = paper(rng) if chosen == "page" or rng.random() < 0.3 else any_colour(rng)
    image, draw = canvas(rng, size, ground)
    lines = written(draw, rng, size, ink(rng, ground), rng.uniform(*SHEET[chosen]), chosen == "sign")
    seen, warp = photographed(np.asarray(image), rng)
    placed = [Line(line.text, cv2.perspectiveTransform(line.corners_42[None], warp)[0]) for line in lines]
    return Lettered(seen, [line for line in placed if inside(line, size)])


def written(
    draw: ImageDraw.ImageDraw, rng: random.Random, size: tuple[int, int], colour: Colour, letters: float, sparse: bool
) -> list[Line]:
    """Lines of words from the top to the bottom, `sparse` with more room between; flat."""
    (height, width), face, found = size, font(letters), []
    left, y = rng.uniform(0.06, 0.12) * width, rng.uniform(0.06, 0.15) * height
    while y + letters < 0.95 * height:
        text = words(rng, rng.randrange(1, 3 if sparse else 9))
        while text and draw.textlength(text, face) > 0.9 * width - left:
            text = text[:-1].rstrip()
        if text:
            draw.text((left, y), text, colour, face)
            box = draw.textbbox((left, y), text, face)
            found.append(Line(text, corners_of(box, 0.15 * letters)))
        y += letters * rng.uniform(1.35, 2.2 if sparse else 1.7)
    return found


def corners_of(box: tuple[float, float, float, float], margin: float) -> np.ndarray:
    """The corners of a box (left, top, right, bottom), with a margin."""
    left, top, right, bottom = box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def photographed(sheet_HWC: np.ndarray, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """The sheet in perspective and under uneven light, and the homography (3, 3) that moved its pixels."""
    height, width = sheet_HWC.shape[:2]
    start = corners_of((0, 0, width, height), 0)
    moved = start + np.array([[rng.uniform(-TILT, TILT) * side for side in (width, height)] for _ in range(4)])
    warp = cv2.getPerspectiveTransform(start, moved.astype(np.float32))
    seen = cv2.warpPerspective(sheet_HWC, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    corner = np.array([[rng.uniform(DARKEST, 1) for _ in range(2)] for _ in range(2)], np.float32)
    light = cv2.resize(corner, (width, height), interpolation=cv2.INTER_LINEAR)
    tint = np.array([rng.uniform(0.93, 1) for _ in range(3)])
    return (seen * light[..., None] * tint).round().clip(0, 255).astype(np.uint8), warp


def inside(line: Line, size: tuple[int, int]) -> bool:
    """Whether all of the line is in the picture."""
    low, high = line.corners_42.min(0), line.corners_42.max(0)
    return bool((low >= 0).all() and high[0] < size[1] and high[1] < size[0])
