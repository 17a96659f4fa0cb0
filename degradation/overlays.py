"""What is laid over photographs and is no damage: grids, hatching, dots, captions, watermarks, frames, scribbles.

A photograph under it is as damaged as before. Who learns from bare photographs alone takes a grid over a hazy picture
for a picture without haze, which a reward would pay for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.drawings import any_colour, font, lines, words

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw
else:
    np = LazyModule("numpy")
    Image, ImageDraw = LazyModule("PIL.Image"), LazyModule("PIL.ImageDraw")

Size = tuple[int, int]  # height and width in px
Draw = Callable[[random.Random, Size, "ImageDraw.ImageDraw"], None]
OPACITY = (0.15, 1.0)  # of what is drawn; a choice


def overlaid(image_HWC: np.ndarray, seed: int, sort: str | None = None) -> np.ndarray:
    """The picture with something drawn over it, uint8 HWC.

    Args:
        image_HWC: uint8.
        seed: Everything random comes from it.
        sort: One of `SORTS`; drawn if None.

    Example:
        >>> import numpy as np
        >>> picture = np.full((64, 96, 3), 90, np.uint8)
        >>> bool((overlaid(picture, 1, "grid") != picture).any())
        True
    """
    rng = random.Random(seed)
    mask = SORTS[sort or rng.choice(list(SORTS))](rng, image_HWC.shape[:2])
    colour = rng.choice([(255, 255, 255), (255, 255, 255), (0, 0, 0), any_colour(rng)])
    share = rng.uniform(*OPACITY) * mask[..., None] / 255
    return (image_HWC + (np.array(colour) - image_HWC) * share).round().astype(np.uint8)


def pitch_and_width(rng: random.Random) -> tuple[int, int]:
    """Distance and width of lines, px."""
    pitch = rng.randrange(4, 49)
    return pitch, rng.randrange(1, max(2, min(5, pitch // 3 + 1)))


def grid(rng: random.Random, size: Size) -> np.ndarray:
    """Lines down and across, as of a ruled viewfinder."""
    pitch, width = pitch_and_width(rng)
    down, across = ((np.arange(side) + rng.randrange(pitch)) % pitch < width for side in size)
    return 255 * (down[:, None] | across[None]).astype(np.uint8)


def hatching(rng: random.Random, size: Size) -> np.ndarray:
    """Parallel lines at any angle."""
    pitch, width = pitch_and_width(rng)
    angle = rng.uniform(0, math.pi)
    y, x = np.mgrid[: size[0], : size[1]]
    return 255 * ((x * math.cos(angle) + y * math.sin(angle)) % pitch < width).astype(np.uint8)


def dots(rng: random.Random, size: Size) -> np.ndarray:
    """A raster of discs."""
    pitch, width = pitch_and_width(rng)
    y, x = ((np.arange(side) % pitch - pitch / 2) ** 2 for side in size)
    return 255 * (y[:, None] + x[None] < (0.5 + width) ** 2).astype(np.uint8)


def drawn(rng: random.Random, size: Size, draw: Draw) -> np.ndarray:
    mask = Image.new("L", (size[1], size[0]))
    draw(rng, size, ImageDraw.Draw(mask))
    return np.asarray(mask)


def caption(rng: random.Random, size: Size, draw: ImageDraw.ImageDraw) -> None:
    """A line or some lines of words, as a subtitle, a date or a label."""
    height, width = size
    text, left, top = rng.uniform(8, max(10, min(size) / 7)), rng.uniform(0, 0.5) * width, rng.uniform(0, 0.9) * height
    lines(draw, rng, (round(left), round(top), width, round(top + rng.uniform(1.5, 5) * text)), text, 255)


def watermark(rng: random.Random, size: Size, draw: ImageDraw.ImageDraw) -> None:
    """A few words again and again over the whole picture."""
    text, mark = rng.uniform(8, 24), words(rng, rng.randrange(1, 4))
    right, below = draw.textlength(mark, font(text)) + rng.uniform(0.5, 4) * text, rng.uniform(1.5, 6) * text
    for row in range(math.ceil(size[0] / below)):
        for column in range(-1, math.ceil(size[1] / right)):
            draw.text(((column + row % 2 / 2) * right, row * below), mark, 255, font(text))


def frame(rng: random.Random, size: Size, draw: ImageDraw.ImageDraw) -> None:
    """A border along the edges, or a bar along one of them."""
    wide = round(rng.uniform(0.02, 0.2) * min(size))
    if rng.random() < 0.5:
        draw.rectangle((0, 0, size[1] - 1, size[0] - 1), None, 255, wide)
    else:
        draw.rectangle(rng.choice([(0, 0, size[1], wide), (0, size[0] - wide, size[1], size[0])]), 255)


def scribble(rng: random.Random, size: Size, draw: ImageDraw.ImageDraw) -> None:
    """Straight strokes, boxes and rings, as somebody marks a picture."""
    for _ in range(rng.randrange(1, 30)):
        ends = [(rng.random() * size[1], rng.random() * size[0]) for _ in range(2)]
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(*ends))
        sort, width = rng.randrange(3), rng.randrange(1, 5)
        if sort == 0:
            draw.line(ends, 255, width)
        else:
            (draw.rectangle if sort == 1 else draw.ellipse)((left, top, right, bottom), None, 255, width)


SORTS: dict[str, Callable[[random.Random, Size], np.ndarray]] = {"grid": grid, "hatching": hatching, "dots": dots}
SORTS |= {
    sort.__name__: lambda rng, size, sort=sort: drawn(rng, size, sort)  # type: ignore[misc]
    for sort in (caption, watermark, frame, scribble)
}
