"""The built-in restorer: a U-Net of NAF blocks (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022),
steered by condition tokens through feature-wise scale and shift.

Differences from the paper: per-pixel layer norm and no channel attention, so that a tile gives what the whole picture
gives; what is global comes from one set of tokens (findings, scene, quality, task, time, a 64 px thumbnail of the whole
picture and its quantiles), shared by all tiles. A third input is the picture as physics would undo it (`inversion`).
The output is (x + m (inverted - x) + r) exp(g) + o with m, r, g, o from the head: relighting or dehazing is a gain and
an offset, as in the physics. A new network gives `inverted` (m = 1, the rest 0) and learns where that is wrong.
Before the inversion it takes a second look (`reconsidered`): severities that are given with doubt are corrected by what
the whole picture shows, in proportion to the doubt; a certain diagnosis is obeyed.

Shapes: image_BCHW in [0, 1]; t is (B,); tokens_BTD.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from rnr.degradation.kind import kinds
from rnr.restorer.condition import QUALITY_WIDTH, SCENE_WIDTH, TASKS, Condition, Layout
from rnr.restorer.expert import zero
from rnr.restorer.inversion import invert

THUMBNAIL = 64
REACH = 3.0  # a severity is corrected by at most so many times its spread
QUANTILES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0)  # of each channel of the thumbnail


def thumbnail(image_BCHW: torch.Tensor) -> torch.Tensor:
    """The whole picture at 64x64."""
    return functional.interpolate(image_BCHW, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True)


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def levels(thumbnail_BCHW: torch.Tensor) -> torch.Tensor:
    """Quantiles of each channel and their logarithms, (B, 54): what relighting needs to know."""
    at = torch.tensor(QUANTILES, device=thumbnail_BCHW.device, dtype=torch.float32)
    values = thumbnail_BCHW.float().flatten(2).quantile(at, dim=2).permute(1, 2, 0).flatten(1)
    return torch.cat([values, torch.log(values.clamp(min=0) + 0.01) / 4], 1)


class Pointwise(nn.Conv2d):
    """1x1 convolution as the matrix product that it is on channels-last pictures (10-15% of a CPU training)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        pixels = functional.linear(x_BCHW.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return pixels.permute(0, 3, 1, 2)


class Block(nn.Module):
    """NAF block: gated depthwise convolution, gated pointwise network, both with scale and shift from the condition."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm1 = PixelNorm(width, elementwise_affine=False)
        self.norm2 = PixelNorm(width, elementwise_affine=False)
        self.steer = nn.Linear(condition, 4 * width)
        self.expand = Pointwise(width, 2 * width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.project = Pointwise(width, width)
        self.expand2 = Pointwise(width, 2 * width)
        self.project2 = Pointwise(width, width)
        for layer in (self.steer, self.project, self.project2):
            zero(layer)

    def forward(self, x_BCHW: torch.Tensor, condition_BD: torch.Tensor) -> torch.Tensor:
        scale1, shift1, scale2, shift2 = self.steer(condition_BD)[:, :, None, None].chunk(4, 1)
        a, b = self.depthwise(self.expand(self.norm1(x_BCHW) * (1 + scale1) + shift1)).chunk(2, 1)
        x_BCHW = x_BCHW + self.project(a * b)
        a, b = self.expand2(self.norm2(x_BCHW) * (1 + scale2) + shift2).chunk(2, 1)
        return x_BCHW + self.project2(a * b)


class ConditionEncoder(nn.Module):
    """Condition tokens and thumbnail to one vector (B, D), by a small transformer read out at the time token."""

    def __init__(self, layout: Layout, dim: int) -> None:
        super().__init__()
        self.findings = nn.ModuleDict({name: nn.Linear(layout.width(name), dim) for name in layout.factors})
        self.scene = nn.Linear(SCENE_WIDTH, dim)
        self.quality = nn.Linear(QUALITY_WIDTH, dim)
        self.task = nn.Embedding(len(TASKS), dim)
        self.time = nn.Sequential(nn.Linear(1, dim), nn.GELU(), nn.Linear(dim, dim))
        self.levels = nn.Sequential(nn.Linear(6 * len(QUANTILES), dim), nn.GELU(), nn.Linear(dim, dim))
        zero(self.levels[-1])
        self.look = nn.Sequential(
            nn.Conv2d(3, 32, 4, 4), nn.GELU(), nn.Conv2d(32, 64, 2, 2), nn.GELU(), nn.Conv2d(64, dim, 2, 2)
        )
        self.place = nn.Parameter(torch.randn(1, 16, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
        self.mix = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())

    def tokens(self, condition: Condition, t: torch.Tensor, thumbnail_BCHW: torch.Tensor):
        """tokens_BTD and the mask (B, T) of those that are not there."""
        rows = [self.time(t[:, None]), self.task(condition.task), self.scene(condition.scene)]
        rows.append(self.quality(condition.quality))
        rows[0] = rows[0] + self.levels(levels(thumbnail_BCHW.float()).to(thumbnail_BCHW.dtype))
        absent = [torch.zeros_like(condition.task, dtype=torch.bool)] * 4
        for name, embed in self.findings.items():
            rows.append(embed(condition.findings[name]))
            absent.append(~condition.asked[name])
        look = self.look(thumbnail_BCHW - 0.5).flatten(2).transpose(1, 2) + self.place
        mask = torch.stack(absent, 1)
        return torch.cat([torch.stack(rows, 1), look], 1), functional.pad(mask, (0, look.shape[1]))

    def forward(self, condition: Condition, t: torch.Tensor, thumbnail_BCHW: torch.Tensor) -> torch.Tensor:
        tokens_BTD, absent = self.tokens(condition, t, thumbnail_BCHW)
        return self.out(self.mix(tokens_BTD, src_key_padding_mask=absent)[:, 0])


def run(blocks: nn.Module, x_BCHW: torch.Tensor, condition_BD: torch.Tensor) -> torch.Tensor:
    for block in blocks.children():
        x_BCHW = block(x_BCHW, condition_BD)
    return x_BCHW


class RestorerNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Estimate of the clean picture from the bridge's state x_t, the degraded picture and the condition.

    Args:
        layout: Factors by kind, as a `Layout` has them; None: those of the kinds of this installation.
        curves: Of severity, by kind, that come with a layout.
        widths: Channels at 1/2, 1/4, ... of the resolution.
        blocks: NAF blocks of each, on the way down and up.
        condition: Width of the condition vector.

    Example:
        >>> network = RestorerNetwork(widths=(8, 16), blocks=(1, 1), condition=32)
        >>> network.multiple  # height and width must be multiples of it
        4
    """

    @register_to_config
    def __init__(
        self,
        layout: dict | None = None,
        curves: dict | None = None,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (2, 2, 2, 4),
        condition: int = 128,
    ) -> None:
        super().__init__()
        self.layout = Layout(layout, curves or {}) if layout else Layout.of(kinds())
        self.register_to_config(layout=self.layout.factors, curves=self.layout.curves)
        self.condition_encoder = ConditionEncoder(self.layout, condition)

        def stage(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, condition) for _ in range(count))

        pairs = list(zip(widths, widths[1:]))
        self.intro = nn.Conv2d(36, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stage(w, n) for w, n in zip(widths[:-1], blocks))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairs)
        self.middle = stage(widths[-1], blocks[-1])
        self.grow = nn.ModuleList(nn.Sequential(Pointwise(b, 4 * a), nn.PixelShuffle(2)) for a, b in pairs)
        self.up = nn.ModuleList(stage(w, n) for w, n in zip(widths[:-1], blocks))
        self.head = nn.Conv2d(widths[0], 48, 3, padding=1)
        self.mix = nn.Linear(condition, 3)
        self.second_look = nn.Linear(condition, len(self.layout.factors))
        zero(self.second_look)
        zero(self.head)
        zero(self.mix)
        nn.init.ones_(self.mix.bias)

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** (len(self.shrink) + 1)

    def steer(self, condition: Condition, t: torch.Tensor, thumbnail_BCHW: torch.Tensor) -> torch.Tensor:
        """The condition vector (B, D): computed once per picture and step, shared by its tiles."""
        return self.condition_encoder(condition, t, thumbnail_BCHW)

    def one_step(self, degraded_BCHW: torch.Tensor, condition: Condition) -> torch.Tensor:
        """The estimate from the degraded pictures alone (t = 1), not yet limited to [0, 1]."""
        steer = self.steer(condition, degraded_BCHW.new_ones(len(degraded_BCHW)), thumbnail(degraded_BCHW))
        return self(degraded_BCHW, degraded_BCHW, self.inverted(degraded_BCHW, condition, steer), steer)

    def reconsidered(self, condition: Condition, *steers_BD: torch.Tensor) -> Condition:
        """The condition with the network's own severities, within `REACH` spreads of those that were given; their mean
        where the network looked at several views of the picture."""
        findings = {}
        moves = torch.stack([torch.tanh(self.second_look(s).float()) for s in steers_BD]).mean(0).unbind(1)
        for name, move in zip(self.layout.factors, moves):
            belief, severity, expected, spread, *factors = condition.findings[name].unbind(1)
            severity = (severity + REACH * spread * move).clamp(0, 1)
            findings[name] = torch.stack([belief, severity, expected, spread, *factors], 1)
        return replace(condition, findings=findings)

    @torch.no_grad()
    def inverted(self, image_BCHW: torch.Tensor, condition: Condition, *steers_BD: torch.Tensor) -> torch.Tensor:
        """The picture as physics would undo it. No gradient: the second look is learned from true severities."""
        return invert(image_BCHW, self.reconsidered(condition, *steers_BD), self.layout)

    def forward(
        self, x_BCHW: torch.Tensor, degraded_BCHW: torch.Tensor, inverted_BCHW: torch.Tensor, steer_BD: torch.Tensor
    ) -> torch.Tensor:
        inputs = functional.pixel_unshuffle(torch.cat([x_BCHW, degraded_BCHW, inverted_BCHW], 1) - 0.5, 2)
        h = self.intro(inputs.to(self.head.weight.dtype).contiguous(memory_format=torch.channels_last))
        skips = []
        for blocks, shrink in zip(self.down, self.shrink):
            h = run(blocks, h, steer_BD)
            skips.append(h)
            h = shrink(h)
        h = run(self.middle, h, steer_BD)
        for blocks, grow in reversed(list(zip(self.up, self.grow))):
            h = run(blocks, skips.pop() + grow(h), steer_BD)  # in this order of terms channels-last stays
        residual, gain, offset, mix = functional.pixel_shuffle(self.head(h), 2).float().chunk(4, 1)
        # How far to trust physics is first of all a question of the diagnosis.
        mix = mix + self.mix(steer_BD).float()[:, :, None, None]
        return (x_BCHW + mix * (inverted_BCHW - x_BCHW) + residual) * torch.exp(3 * torch.tanh(gain / 3)) + offset
