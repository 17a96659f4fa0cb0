"""Pictures that are no photographs, and undamaged: pages, screens, slides, charts, line art, sprites, star fields.

Who learns only from photographs takes white ground for haze, lettering for rain and a black sky for darkness. These are
drawn from a seed: `drawing(seed)` chooses a sort and everything in it at random. Nothing in them is damage, however
dark, flat or pale they are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont
else:
    np = LazyModule("numpy")
    Image, ImageDraw, ImageFont = (LazyModule(f"PIL.{name}") for name in ("Image", "ImageDraw", "ImageFont"))

Colour = tuple[int, int, int]
LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
FOLLOW = (0.2, 0.16, 0.12, 0.1, 0.1, 0.08, 0.08, 0.06, 0.04, 0.03, 0.03)  # of word lengths 2..12; a choice


def drawing(seed: int, size: tuple[int, int] = (256, 256), sort: str | None = None) -> np.ndarray:
    """One picture, uint8 HWC.

    Args:
        seed: Everything random comes from it.
        size: Height and width in px.
        sort: One of `SORTS`; drawn if None.

    Example:
        >>> drawing(3, (96, 128), "page").shape
        (96, 128, 3)
    """
    rng = random.Random(seed)
    chosen = sort or rng.choices(list(SORTS), [weight for weight, _ in SORTS.values()])[0]
    picture = SORTS[chosen][1](rng, size)
    return np.ascontiguousarray(picture)


def canvas(rng: random.Random, size: tuple[int, int], ground: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (size[1], size[0]), ground)
    return image, ImageDraw.Draw(image)


def word(rng: random.Random) -> str:
    """A word without a language; sometimes a number, a capital, a bracket."""
    kind = rng.random()
    if kind < 0.08:
        return str(rng.randrange(10 ** rng.randrange(1, 6)))
    length = rng.choices(range(2, 13), FOLLOW)[0]
    text = "".join(rng.choices(LETTERS, [1 / (i + 1) for i in range(26)], k=length))
    text = text.capitalize() if kind < 0.25 else text.upper() if kind < 0.28 else text
    return text + (rng.choice(".,;:?)") if kind > 0.88 else "")


def words(rng: random.Random, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6, round(size)))


def paper(rng: random.Random) -> Colour:
    """White, nearly white or a pale tint."""
    pale = rng.choice([255, 255, 255, rng.randrange(235, 256)])
    return tuple(pale - (rng.randrange(18) if pale < 255 else 0) for _ in range(3))  # type: ignore[return-value]


def ink(rng: random.Random, ground: Colour) -> Colour:
    """A colour that can be read on this ground."""
    dark = sum(ground) > 384
    if rng.random() < 0.6:
        level = rng.randrange(0, 70) if dark else rng.randrange(185, 256)
        return (level, level, level)
    while True:
        colour = any_colour(rng)
        if abs(sum(colour) - sum(ground)) > 250:
            return colour


def any_colour(rng: random.Random) -> Colour:
    return (rng.randrange(256), rng.randrange(256), rng.randrange(256))


def theme(rng: random.Random) -> Colour:
    """The ground of a screen: dark, light or a colour."""
    kind = rng.random()
    if kind < 0.45:
        level = rng.randrange(0, 50)
        return (level, level + rng.randrange(6), level + rng.randrange(16))
    return paper(rng) if kind < 0.85 else any_colour(rng)


def shade(colour: Colour, amount: int) -> Colour:
    return tuple(max(0, min(255, channel + amount)) for channel in colour)  # type: ignore[return-value]


def lines(draw: ImageDraw.ImageDraw, rng: random.Random, box: tuple[int, int, int, int], height: float,
          colour: Colour | int, ragged: float = 0.2) -> None:  # fmt: skip
    """Lines of words that fill a box (left, top, right, bottom)."""
    face, (left, _, right, bottom), y = font(height), box, float(box[1])
    spacing = height * rng.uniform(1.25, 1.8)
    while y + height < bottom:
        if rng.random() > 0.08:
            length = (right - left) * (1 - ragged * rng.random() ** 3) / (0.5 * height)
            text = words(rng, max(1, round(length / 5.5)))
            while text and draw.textlength(text, face) > right - left:
                text = text[:-2]
            draw.text((left, y), text, colour, face)
        y += spacing


def page(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """A page of text: black on white mostly, one or two columns, a heading, now and then a box or a rule."""
    ground = paper(rng) if rng.random() < 0.9 else theme(rng)
    image, draw = canvas(rng, size, ground)
    height, width = size
    colour, text = ink(rng, ground), rng.uniform(7, max(9, min(size) / 9))
    margin, columns = round(rng.uniform(0.02, 0.14) * width), rng.choice([1, 1, 1, 2])
    top = round(rng.uniform(-0.05, 0.12) * height)
    if rng.random() < 0.4:
        draw.text((margin, top), words(rng, 4), colour, font(text * rng.uniform(1.3, 2.6)))
        top += round(3 * text)
    span = (width - 2 * margin) // columns
    for column in range(columns):
        left = margin + column * span
        lines(draw, rng, (left, top, left + span - round(text), height + round(text)), text, colour)
    if rng.random() < 0.3:
        y = rng.randrange(height)
        draw.line((margin, y, width - margin, y), colour, rng.randrange(1, 3))
    return np.asarray(image)


def screen(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """A program's window: bars, panels, buttons, rows, labels, in a dark or a light theme."""
    ground = theme(rng)
    image, draw = canvas(rng, size, ground)
    height, width = size
    direction = 1 if sum(ground) < 384 else -1
    text, accent = rng.uniform(7, 14), any_colour(rng)
    bar = round(rng.uniform(0.05, 0.16) * height)
    draw.rectangle((0, 0, width, bar), shade(ground, direction * rng.randrange(6, 40)))
    draw.text((6, (bar - text) / 2), words(rng, 3), ink(rng, ground), font(text))
    side = round(rng.choice([0, rng.uniform(0.15, 0.4)]) * width)
    draw.rectangle((0, bar, side, height), shade(ground, direction * rng.randrange(3, 24)))
    lines(draw, rng, (4, bar + 4, max(8, side - 4), height), text, ink(rng, ground), 0.8)
    for _ in range(rng.randrange(1, 9)):
        x, y = rng.randrange(side, width), rng.randrange(bar, height)
        w, h = round(rng.uniform(0.08, 0.6) * width), round(rng.uniform(0.03, 0.3) * height)
        fill = accent if rng.random() < 0.25 else shade(ground, direction * rng.randrange(4, 60))
        draw.rounded_rectangle((x, y, x + w, y + h), rng.randrange(0, 9), fill)
        if rng.random() < 0.8:
            lines(draw, rng, (x + 4, y + 3, x + w - 4, y + h), text, ink(rng, fill), 0.5)
    return np.asarray(image)


def terminal(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Code or a log: short coloured words, indented, on dark or light ground."""
    ground = theme(rng)
    image, draw = canvas(rng, size, ground)
    text = rng.uniform(7, 15)
    colours, face, y = [ink(rng, ground) for _ in range(4)], font(text), rng.uniform(-6, 6)
    while y < size[0]:
        x = 4 + text * rng.choice([0, 0, 1, 2, 3, 4])
        for _ in range(rng.randrange(0, 9)):
            piece = word(rng)
            draw.text((x, y), piece, rng.choice(colours), face)
            x += draw.textlength(piece + " ", face)
        y += text * 1.35
    return np.asarray(image)


def slide(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Large lettering, a few bullets, flat shapes, sometimes on a gradient."""
    if rng.random() < 0.3:
        image = Image.fromarray(gradient(rng, size))
        draw, ground = ImageDraw.Draw(image), (128, 128, 128)
    else:
        ground = rng.choice([paper(rng), theme(rng), any_colour(rng)])
        image, draw = canvas(rng, size, ground)
    height, width = size
    colour = ink(rng, ground)
    for _ in range(rng.randrange(0, 4)):
        shape(draw, rng, size, any_colour(rng))
    big = rng.uniform(0.08, 0.2) * height
    draw.text(
        (rng.uniform(0, 0.2) * width, rng.uniform(0, 0.25) * height), words(rng, rng.randrange(1, 5)), colour, font(big)
    )
    for row in range(rng.randrange(0, 6)):
        y = height * (0.35 + 0.11 * row)
        draw.ellipse((0.07 * width, y + big * 0.15, 0.07 * width + big * 0.2, y + big * 0.35), colour)
        draw.text((0.12 * width, y), words(rng, rng.randrange(2, 7)), colour, font(big * 0.5))
    return np.asarray(image)


def shape(draw: ImageDraw.ImageDraw, rng: random.Random, size: tuple[int, int], colour: Colour) -> None:
    height, width = size
    x, y = rng.uniform(-0.2, 1) * width, rng.uniform(-0.2, 1) * height
    w, h = rng.uniform(0.05, 0.6) * width, rng.uniform(0.05, 0.6) * height
    outline = ink(rng, colour) if rng.random() < 0.3 else None
    kind = rng.randrange(4)
    if kind == 0:
        draw.rectangle((x, y, x + w, y + h), colour, outline)
    elif kind == 1:
        draw.ellipse((x, y, x + w, y + h), colour, outline)
    elif kind == 2:
        points = [(x + rng.random() * w, y + rng.random() * h) for _ in range(rng.randrange(3, 7))]
        draw.polygon(points, colour, outline)
    else:
        draw.line((x, y, x + w, y + h), colour, rng.randrange(1, 8))


def chart(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Bars, lines, points or a pie, with axes, a grid and labels."""
    ground = paper(rng) if rng.random() < 0.75 else theme(rng)
    image, draw = canvas(rng, size, ground)
    height, width = size
    left, bottom, colour = round(0.12 * width), round(0.86 * height), ink(rng, ground)
    right, top = round(0.95 * width), round(0.1 * height)
    text = rng.uniform(7, 12)
    draw.text((left, 2), words(rng, 3), colour, font(text * 1.3))
    grid = shade(ground, -40 if sum(ground) > 384 else 40)
    for i in range(rng.randrange(0, 7)):
        y = top + i * (bottom - top) // 6
        draw.line((left, y, right, y), grid, 1)
        draw.text((2, y - text / 2), str(rng.randrange(1000)), colour, font(text))
    count, kind = rng.randrange(3, 24), rng.randrange(4)
    for _ in range(rng.randrange(1, 4)):
        fill, level, step = any_colour(rng), rng.random(), (right - left) / count
        levels = []
        for _ in range(count):
            level = min(1.0, max(0.0, level + rng.uniform(-0.3, 0.3)))
            levels.append(bottom - level * (bottom - top))
        middles = [(left + (i + 0.5) * step, tall) for i, tall in enumerate(levels)]
        if kind == 0:
            for across, tall in middles:
                draw.rectangle((across - 0.35 * step, tall, across + 0.35 * step, bottom), fill)
        elif kind == 1:
            draw.line(middles, fill, rng.randrange(1, 4))
        elif kind == 2:
            r = rng.randrange(1, 4)
            for across, tall in middles:
                draw.ellipse((across - r, tall - r, across + r, tall + r), fill)
        else:
            angle = rng.uniform(0, 360)
            box = (0.25 * width, 0.2 * height, 0.25 * width + 0.6 * min(size), 0.2 * height + 0.6 * min(size))
            draw.pieslice(box, angle, angle + rng.uniform(20, 200), fill, ground)
    draw.line((left, top, left, bottom, right, bottom), colour, rng.randrange(1, 3))
    return np.asarray(image)


def table(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Cells with numbers and words."""
    ground = paper(rng) if rng.random() < 0.7 else theme(rng)
    image, draw = canvas(rng, size, ground)
    height, width = size
    text, colour = rng.uniform(7, 13), ink(rng, ground)
    row, column = text * rng.uniform(1.4, 2.2), width / rng.randrange(2, 8)
    tint, rule = shade(ground, -16 if sum(ground) > 384 else 16), shade(ground, -70 if sum(ground) > 384 else 70)
    for i in range(math.ceil(height / row)):
        if i % 2 and rng.random() < 0.9:
            draw.rectangle((0, i * row, width, (i + 1) * row), tint)
        for j in range(math.ceil(width / column)):
            draw.text((j * column + 3, i * row + 2), word(rng), colour, font(text))
        draw.line((0, i * row, width, i * row), rule, 1)
    return np.asarray(image)


def line_art(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Strokes and outlines, filled flatly here and there: a drawing, a comic, a map."""
    ground = paper(rng) if rng.random() < 0.8 else theme(rng)
    image, draw = canvas(rng, size, ground)
    height, width = size
    colour, thick = ink(rng, ground), rng.randrange(1, 5)
    for _ in range(rng.randrange(4, 40)):
        if rng.random() < 0.25:
            shape(draw, rng, size, any_colour(rng) if rng.random() < 0.6 else ground)
            continue
        x, y, angle, bend = rng.random() * width, rng.random() * height, rng.uniform(0, 6.3), rng.uniform(-0.3, 0.3)
        points = []
        for _ in range(rng.randrange(3, 40)):
            points.append((x, y))
            x, y, angle = x + 6 * math.cos(angle), y + 6 * math.sin(angle), angle + bend + rng.uniform(-0.2, 0.2)
        draw.line(points, colour, thick, joint="curve")
    return np.asarray(image)


def sprite(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Pixel art: a small mirrored figure or tiles of a few colours, enlarged without smoothing."""
    cells = rng.choice([8, 12, 16, 24, 32])
    palette = np.array([any_colour(rng) for _ in range(rng.randrange(2, 7))] + [theme(rng)], np.uint8)
    noise = np.random.default_rng(rng.randrange(2**31))
    grid = noise.integers(0, len(palette), (cells, cells))
    if rng.random() < 0.6:  # a figure on the ground
        grid[noise.random((cells, cells)) < 0.4] = len(palette) - 1
        grid[:, cells // 2 :] = grid[:, : cells - cells // 2][:, ::-1]
    elif rng.random() < 0.5:  # tiles
        grid = np.tile(grid[: cells // 4, : cells // 4], (4, 4))
    factor = max(1, -(-max(size) // len(grid)))
    return palette[np.kron(grid, np.ones((factor, factor), int))][: size[0], : size[1]]


def stars(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """Points and small discs of light on black, perhaps a moon or a faint band."""
    noise = np.random.default_rng(rng.randrange(2**31))
    height, width = size
    sky = np.zeros((height, width, 3)) + np.array(rng.choice([(0, 0, 0), (2, 3, 8), (8, 10, 24)]))
    if rng.random() < 0.3:
        across = np.abs(np.linspace(-1, 1, height)[:, None] + rng.uniform(-1, 1) * np.linspace(-1, 1, width)[None])
        sky += 40 * rng.random() * np.exp(-((across / 0.3) ** 2))[..., None] * np.array([0.9, 0.9, 1.0])
    for _ in range(round(height * width * 10 ** rng.uniform(-3.8, -2))):
        place = noise.integers(height), noise.integers(width)
        sky[place] = 255 * noise.random() ** 0.5 * np.array([1, noise.uniform(0.85, 1), noise.uniform(0.8, 1)])
    image = Image.fromarray(sky.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.choice([0, 3, 12])):
        x, y, r = rng.random() * width, rng.random() * height, rng.uniform(0.6, 2.5)
        draw.ellipse((x - r, y - r, x + r, y + r), shade((255, 255, 255), -rng.randrange(60)))
    if rng.random() < 0.25:
        x, y, r = rng.random() * width, rng.random() * height, rng.uniform(0.03, 0.2) * width
        draw.ellipse((x - r, y - r, x + r, y + r), shade((240, 236, 220), -rng.randrange(80)))
    return np.asarray(image)


def gradient(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """From one colour to another, straight or round."""
    a, b = np.array(any_colour(rng), float), np.array(any_colour(rng), float)
    y, x = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None]
    angle = rng.uniform(0, 6.3)
    along = np.cos(angle) * x + np.sin(angle) * y if rng.random() < 0.7 else np.hypot(x - rng.uniform(-1, 1), y)
    share = ((along - along.min()) / np.ptp(along))[..., None]
    return (a + (b - a) * share).round().astype(np.uint8)


def flat(rng: random.Random, size: tuple[int, int]) -> np.ndarray:
    """One colour: black, white, grey or any; sometimes two."""
    level = rng.choice([0, 255, rng.randrange(256)])
    colour = (level, level, level) if rng.random() < 0.7 else any_colour(rng)
    image, draw = canvas(rng, size, colour)
    if rng.random() < 0.4:
        shape(draw, rng, size, any_colour(rng))
    return np.asarray(image)


SORTS: dict[str, tuple[float, Callable[[random.Random, tuple[int, int]], np.ndarray]]] = {
    "page": (3, page), "screen": (3, screen), "terminal": (2, terminal), "slide": (2, slide), "chart": (2, chart),
    "table": (1, table), "line art": (2, line_art), "sprite": (1.5, sprite), "stars": (1.5, stars),
    "gradient": (0.7, gradient), "flat": (0.8, flat),
}  # fmt: skip
