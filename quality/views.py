"""What a quality model sees of a picture: crops at native resolution on a grid, and one overview of the whole.

Noise, blur and blocks of compression live at native resolution, haze and darkness in the whole: a model that sees a
resized thumbnail alone cannot judge the former. Crops begin at multiples of 8 px, where the grid of a JPEG file lies.
The built-in model sees measurements of cells of 16 px that blind quality measures are made of (`measured`) in place of
pixels. From pixels, with ten such maps at full resolution beside them, it learned nothing in its first 4,000 pictures
(docs/lab-log.md).

Shapes: picture_3HW in [0, 1]; views (V, C, S, S), or (V, CHANNELS, S/16, S/16) of measurements; the overview last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

GRID = 8  # px, of the blocks of a JPEG file
CELL = 16  # px, of which a token of the built-in model holds the measurements
CHANNELS = 93
FAR = 6.0  # spreads from the mean at which a channel is cut off: pictures of another kind stay in range
FLOOR = 1e-6  # of an energy: below it lies the rounding to 8 bits


@dataclass(frozen=True)
class Views:
    """How pictures are cut up for a model.

    Attributes:
        side: Of a view, px.
        rows, columns: Most crops along the short and the long side.
        measures: Measurements of cells instead of pixels (the built-in model).
        mean, spread: Of each channel over photographs, to standardise it: what a checkpoint was trained with.
    """

    side: int = 96
    rows: int = 3
    columns: int = 4
    measures: bool = True
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    def of(self, picture_3HW: torch.Tensor) -> torch.Tensor:
        """All views of a picture of any size."""
        x = large_enough(picture_3HW, self.side)
        return self.cut(x, self.places(x.shape[-2], x.shape[-1]))

    def some(self, picture_3HW: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` crops at random places of the grid, and the overview: for training."""
        x = large_enough(picture_3HW, self.side)
        room = torch.tensor([(side - self.side) // GRID + 1 for side in x.shape[-2:]])
        drawn = (torch.rand(count, 2, generator=generator) * room).long() * GRID
        return self.cut(x, [(int(top), int(left)) for top, left in drawn])

    def places(self, height: int, width: int) -> list[tuple[int, int]]:
        """Top left corners of the crops, evenly over the picture."""
        rows, columns = (self.rows, self.columns) if height <= width else (self.columns, self.rows)
        return [(top, left) for top in spaced(height, self.side, rows) for left in spaced(width, self.side, columns)]

    def cut(self, x_3HW: torch.Tensor, places: list[tuple[int, int]]) -> torch.Tensor:
        """The crops at these places and the overview, as the model takes them."""
        crops = torch.stack([x_3HW[:, t : t + self.side, l : l + self.side] for t, l in places])  # noqa: E741
        whole = overview(x_3HW, self.side)[None]
        shrunk = math.log2(max(1.0, math.sqrt(x_3HW.shape[-1] * x_3HW.shape[-2]) / self.side))
        pixels = torch.cat([crops, whole])
        scale = torch.tensor([0.0] * len(crops) + [shrunk / 4], device=x_3HW.device)
        return self.standardised(measured(pixels, scale) if self.measures else pixels)

    def standardised(self, x_VCGG: torch.Tensor) -> torch.Tensor:
        if not self.mean:
            return x_VCGG
        mean, spread = (x_VCGG.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.spread))
        return ((x_VCGG - mean) / spread).clamp(-FAR, FAR)

    def fitted(self, pictures: Sequence[torch.Tensor]) -> Views:
        """With mean and spread of the channels over these pictures."""
        x = torch.cat([self.of(picture) for picture in pictures])
        mean, spread = x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp(min=0.05)
        return replace(self, mean=tuple(mean.tolist()), spread=tuple(spread.tolist()))


def spaced(length: int, side: int, most: int) -> list[int]:
    """Beginnings of at most `most` pieces over a length, on the grid."""
    count = min(most, max(1, -(-length // side)))
    step = (length - side) / max(1, count - 1)
    return sorted({int(i * step) // GRID * GRID for i in range(count)})


def large_enough(x_3HW: torch.Tensor, side: int) -> torch.Tensor:
    """The picture, mirrored at its lower and right edge as often as it needs to be as large as a view."""
    while missing := [max(0, side - length) for length in x_3HW.shape[-2:]]:
        if not any(missing):
            break
        for axis, short in zip((-2, -1), missing):
            mirrored = x_3HW.flip(axis).narrow(axis, 0, min(short, x_3HW.shape[axis]))
            x_3HW = torch.cat([x_3HW, mirrored], axis)
    return x_3HW


def overview(x_3HW: torch.Tensor, side: int) -> torch.Tensor:
    """The whole picture on a square: means over areas, so that no detail turns into false patterns."""
    return torch.nn.functional.adaptive_avg_pool2d(x_3HW[None], (side, side))[0]


def measured(pixels_V3SS: torch.Tensor, scale_V: torch.Tensor) -> torch.Tensor:
    """Measurements of each cell of 16 px: (V, CHANNELS, S / 16, S / 16), not standardised.

    64 energies of luma's DCT in blocks of 8 px and 8 of chroma's by frequency (noise, blur, compression: each bends
    this spectrum in its own way); moments of luma normalised by its surroundings and of neighbours' products (MSCN:
    Mittal, Moorthy, Bovik, BRISQUE, TIP 2012); tones; steps across the grid of 8 px against others; shares of flat and
    of clipped pixels; the scale of the view. Energies are logarithms.
    """
    y = luma(pixels_V3SS)
    chroma = pixels_V3SS[:, ::2] - y
    spectrum = [frequencies(y), by_frequency(frequencies(chroma[:, :1]) + frequencies(chroma[:, 1:]))]
    parts = [*((x + FLOOR).log10() for x in spectrum), *normal_moments(y), *tones(pixels_V3SS, y), *grid_steps(y)]
    flag = scale_V.view(-1, 1, 1, 1).expand_as(parts[-1])
    return torch.cat([*parts, flag], 1)


def frequencies(x_V1SS: torch.Tensor) -> torch.Tensor:
    """Mean energy (V, 64, S/16, S/16) of each coefficient of the orthonormal DCT of blocks of 8 px."""
    cosine = basis().to(x_V1SS)
    blocks = x_V1SS[:, 0].unfold(1, GRID, GRID).unfold(2, GRID, GRID)  # (V, rows, columns, 8, 8)
    energy = (cosine @ blocks @ cosine.T).square().flatten(3).permute(0, 3, 1, 2)
    return torch.nn.functional.avg_pool2d(energy, CELL // GRID)


@lru_cache(1)
def basis() -> torch.Tensor:
    """The DCT-II of 8 samples, orthonormal (8, 8)."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    matrix = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def by_frequency(energy_V64GG: torch.Tensor) -> torch.Tensor:
    """Means over coefficients (u, v) of one max(u, v): (V, 8, G, G)."""
    u, v = torch.arange(64) // 8, torch.arange(64) % 8
    ring = torch.nn.functional.one_hot(torch.maximum(u, v), 8).to(energy_V64GG)
    return torch.einsum("vcij,cr->vrij", energy_V64GG, ring / ring.sum(0))


def normal_moments(y_V1SS: torch.Tensor) -> list[torch.Tensor]:
    """Of luma minus its local mean over its local deviation: |m|, log m^2, log m^4, products with three neighbours."""
    mean = smooth(y_V1SS, 7)
    deviation = (smooth(y_V1SS * y_V1SS, 7) - mean * mean).clamp(min=0).sqrt()
    m = ((y_V1SS - mean) / (deviation + 1 / 255)).clamp(-4, 4)
    products = [m * m.roll(shift, axes) for shift, axes in ((1, -1), (1, -2), ((1, 1), (-1, -2)))]
    moments = [m.abs(), m.square(), m.square().square(), *products, deviation]
    pooled = [pool(x) for x in moments]
    return [pooled[0], *((x + 1e-3).log() for x in pooled[1:3]), *pooled[3:6], (pooled[6] + 1e-3).log()]


def tones(pixels_V3SS: torch.Tensor, y_V1SS: torch.Tensor) -> list[torch.Tensor]:
    """Mean colours, the darkest and the brightest value, log shares of clipped and of flat pixels."""
    darkest = -torch.nn.functional.max_pool2d(-pixels_V3SS.amin(1, keepdim=True), CELL)
    brightest = torch.nn.functional.max_pool2d(pixels_V3SS.amax(1, keepdim=True), CELL)
    edge = 1.5 / 255
    shares = [pixels_V3SS.amax(1, keepdim=True) > 1 - edge, pixels_V3SS.amin(1, keepdim=True) < edge]
    shares += [torch.nn.functional.pad(y_V1SS.diff(dim=axis).abs() < 0.4 / 255, pad) for axis, pad in
               ((-1, [0, 1]), (-2, [0, 0, 0, 1]))]  # fmt: skip
    return [pool(pixels_V3SS), darkest, brightest, *((pool(x.float()) + 0.01).log() for x in shares)]


def grid_steps(y_V1SS: torch.Tensor) -> list[torch.Tensor]:
    """Log of the mean step over the borders of blocks of 8 px against that inside, along rows and along columns."""
    found = []
    for axis in (-1, -2):
        step = y_V1SS.diff(dim=axis, append=y_V1SS.narrow(axis, -1, 1)).abs()
        place = torch.arange(y_V1SS.shape[axis], device=y_V1SS.device) % GRID == GRID - 1
        border = place.to(step).view([-1, 1] if axis == -2 else [1, -1]).expand_as(step)
        over, inside = pool(step * border) * GRID, pool(step * (1 - border)) * GRID / (GRID - 1)
        found += [((over + 1e-3) / (inside + 1e-3)).log(), (inside + 1e-3).log()]
    return found


def pool(x: torch.Tensor) -> torch.Tensor:
    """Mean over each cell."""
    return torch.nn.functional.avg_pool2d(x, CELL)


def smooth(x: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over a square of `size` px, mirrored at the borders.

    As sums of shifted copies, one axis at a time: eight times faster here than avg_pool2d.
    """
    padded = torch.nn.functional.pad(x, [size // 2] * 4, mode="reflect")
    for axis, length in ((-2, x.shape[-2]), (-1, x.shape[-1])):
        total = padded.narrow(axis, 0, length).clone()
        for shift in range(1, size):
            total += padded.narrow(axis, shift, length)
        padded = total
    return padded / size**2
