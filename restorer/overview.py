"""A network that looks at the whole picture: veils and darkness are nearly all global.

From a thumbnail it predicts the quantities of one formula, I -> ((I - A) / t + A)^p, and the formula does the rest at
full resolution: the inverse of Koschmieder's equation (transmission t, airlight A) and of a short exposure with a
camera's response (t the exposure, A = 0, p = 1 / gamma). t comes from a bilateral grid that is sliced by the picture's
own luma, so that it follows the edges of things (Chen, Paris & Durand, SIGGRAPH 2007; Gharbi et al., "Deep bilateral
learning", SIGGRAPH 2017); A and p are one number a channel. An overview that takes physics' inverse sees both pictures
and corrects the inverse: what the diagnosis reads of a scene and what the overview expects of one are then both used.

Shapes: image_BCHW in [0, 1], whole pictures of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from rnr.degradation.kind import luma

SIDE = 64  # px of the thumbnail; a choice (docs/lab-log.md)
GRID, BINS = 16, 6  # cells of the bilateral grid along the picture, and along its luma; a choice
WIDTH = 64  # channels; a choice
PATCH = 5  # px of the thumbnail over which its dark and bright channels are taken
LOWEST = 0.03  # of t: below it 8 bits hold nothing more
BAND = 1024  # rows at a time: bounded memory


@dataclass(frozen=True)
class Tones:
    """What a picture's overview says.

    Attributes:
        light_BDHW: -log t on the bilateral grid (B, BINS, GRID, GRID).
        veil_B3: A of red, green and blue, 0..1.
        power_B3: p of red, green and blue.
    """

    light_BDHW: torch.Tensor
    veil_B3: torch.Tensor
    power_B3: torch.Tensor


class Overview(nn.Module):
    """Thumbnail -> `Tones`; begins as the identity.

    Args:
        physics: Whether it takes the picture as physics would undo it, too, and corrects that.
        hidden: Width of what scales and shifts the look at the whole (`rnr.unified`); 0: nothing does.
    """

    def __init__(self, physics: bool = False, hidden: int = 0) -> None:
        super().__init__()
        self.physics = physics
        self.look = nn.Sequential(
            nn.Conv2d(16 if physics else 8, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, WIDTH, 3, 2, 1), nn.ReLU(),
            *(Block() for _ in range(2)),
        )  # fmt: skip
        self.whole = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(WIDTH * 16, 256), nn.ReLU(),
        )  # fmt: skip
        self.spread = nn.Linear(256, WIDTH)
        self.grid = nn.Sequential(Block(), nn.Conv2d(WIDTH, BINS, 1))
        self.numbers = nn.Linear(256, 7)
        self.film = nn.Linear(hidden, 512, bias=False) if hidden else None
        for layer in (self.grid[-1], self.numbers, *([self.film] if self.film else [])):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        image_BCHW: torch.Tensor,
        inverse_BCHW: torch.Tensor | None = None,
        hidden_BD: torch.Tensor | None = None,
    ) -> Tones:
        """The tones of whole pictures, or of their inverses by physics (the pictures themselves where not known)."""
        seen = [image_BCHW]
        if self.physics:
            seen.append(image_BCHW if inverse_BCHW is None else inverse_BCHW)
        shown = torch.cat([features(each) for each in seen], 1)
        local = self.look(shown.to(self.numbers.weight.dtype))
        whole = self.whole(local)
        if self.film is not None and hidden_BD is not None:
            scale, shift = self.film(hidden_BD.to(whole)).chunk(2, 1)
            whole = whole * (1 + scale) + shift
        grid = self.grid(local + self.spread(whole)[:, :, None, None])
        numbers = self.numbers(whole).float()
        base = numbers[:, :1, None, None]
        light, power = grid.float() + base, numbers[:, 4:]
        if self.physics:  # an inverse can be overdone, too: both ways
            light, power = 2 * light, 2 * power
        else:  # begins at t = 0.98
            light, power = functional.softplus(4 * light - 3) / 2, functional.softplus(4 * power - 3)
        return Tones(light, torch.sigmoid(4 * numbers[:, 1:4]), torch.exp(-power))

    def undo(
        self,
        image_BCHW: torch.Tensor,
        inverse_BCHW: torch.Tensor | None = None,
        hidden_BD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The pictures, or their inverses by physics, through the formula: in [0, 1] or a little beyond, a band of rows
        at a time."""
        tones = self(image_BCHW, inverse_BCHW, hidden_BD)
        begin = image_BCHW if inverse_BCHW is None else inverse_BCHW
        height = begin.shape[-2]
        rows = [(top, min(height, top + BAND)) for top in range(0, height, BAND)]
        parts = [toned(begin[..., a:b, :], tones, (a, b, height)) for a, b in rows]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


def features(image_BCHW: torch.Tensor) -> torch.Tensor:
    """What a thumbnail shows (B, 8, SIDE, SIDE): colours, dark and bright channel, colours on a logarithmic scale."""
    small = functional.interpolate(image_BCHW, (SIDE, SIDE), mode="bilinear", antialias=True)
    pool, half = functional.max_pool2d, PATCH // 2
    dark, bright = -pool(-small.amin(1, True), PATCH, 1, half), pool(small.amax(1, True), PATCH, 1, half)
    logarithm = torch.log2(1 + 255 * small.clamp(min=0)) / 8  # a dark picture's differences
    return torch.cat([small - 0.5, dark - 0.5, bright - 0.5, logarithm - 0.5], 1)


class Block(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + self.second(functional.relu(self.first(functional.relu(x_BCHW))))


def toned(image_BCHW: torch.Tensor, tones: Tones, rows: tuple[int, int, int]) -> torch.Tensor:
    """((I - A) / t + A)^p of some rows (from, to, of all) of pictures."""
    t = torch.exp(-sliced(tones.light_BDHW, image_BCHW, rows)).clamp(min=LOWEST)
    veil, power = tones.veil_B3[:, :, None, None], tones.power_B3[:, :, None, None]
    linear = (image_BCHW - veil) / t + veil
    # Below zero and above one a straight line of slope 1: gradients go on.
    inside = linear.clamp(1e-3, 1)
    return (inside**power + (linear - inside)).clamp(-0.5, 1.5)


def sliced(grid_BDHW: torch.Tensor, image_BCHW: torch.Tensor, rows: tuple[int, int, int]) -> torch.Tensor:
    """The grid at each pixel's place and luma, trilinear: (B, 1, h, W)."""
    begin, end, height = rows
    batch, _, _, width = image_BCHW.shape
    device = image_BCHW.device
    dtype = image_BCHW.dtype  # not the host's default
    down = (2 * torch.arange(begin, end, device=device, dtype=dtype) + 1) / height - 1
    across = (2 * torch.arange(width, device=device, dtype=dtype) + 1) / width - 1
    guide = 2 * luma(image_BCHW).clamp(0, 1)[:, 0] - 1
    place = torch.stack(
        [across.expand(batch, end - begin, -1), down[None, :, None].expand(batch, -1, width), guide], -1
    )
    found = functional.grid_sample(grid_BDHW[:, None], place[:, None], padding_mode="border", align_corners=False)
    return found[:, :, 0]
