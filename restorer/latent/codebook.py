"""The dual codebook: a latent as z = z1 + z2, z1 from a common codebook, z2 from one of high quality (HQ+).

IQPIR learns the common codes from pictures of all qualities and the others from good ones alone, so that a decoder is
given fine detail only where the picture is to be good. Here HQ+ is a residual codebook on z - z1, learned from the top
third of the pictures by score. Whether a picture has it follows from its own score: never from another of its batch.

Both are product quantisers (Jegou, Douze, Schmid, TPAMI 2011): the channels in groups, after a rotation that
decorrelates them, each group with its own codes; with one code for all channels a round trip loses too much
(docs/latent.md). Learned by k-means; a code that nothing is near begins anew at a point that is far from its own
(dead-code revival).

Shapes: z_BDHW latents, codes_BGHW whole numbers below K, logits_BGKHW.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import torch
from torch import nn

ROUNDS = 20  # of k-means; a choice: the error is flat by then
DEAD = 0.05  # share of an even load below which a code counts as dead; a choice
CHUNK = 1 << 16  # points whose distances are held at once


def exact(method: Callable[[Codebook, torch.Tensor], torch.Tensor]) -> Callable[[Codebook, torch.Tensor], torch.Tensor]:
    """In float32 also where a training computes in bf16: there 6 to 8% of the common codes and 27 to 35% of the HQ+
    codes that are nearest to a latent are others (three draws of 8 crops), and the training would learn those."""

    @wraps(method)
    def without_autocast(book: Codebook, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return method(book, x.float() if x.is_floating_point() else x)

    return without_autocast


class Codebook(nn.Module):
    """A product quantiser.

    Args:
        channels: Of a latent, D.
        size: Codes of a group, K.
        groups: G; they divide the channels.

    Example:
        >>> book = Codebook(channels=4, size=16, groups=2)
        >>> codes = book.nearest(torch.zeros(1, 4, 2, 2))
        >>> codes.shape, book.lookup(codes).shape
        (torch.Size([1, 2, 2, 2]), torch.Size([1, 4, 2, 2]))
    """

    codes_GKD: torch.Tensor
    rotation_DD: torch.Tensor

    def __init__(self, channels: int, size: int, groups: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels cannot be split into {groups} groups")
        self.register_buffer("codes_GKD", torch.zeros(groups, size, channels // groups))
        self.register_buffer("rotation_DD", torch.eye(channels))

    @property
    def groups(self) -> int:
        return self.codes_GKD.shape[0]

    @property
    def size(self) -> int:
        return self.codes_GKD.shape[1]

    @exact
    def split(self, z_BDHW: torch.Tensor) -> torch.Tensor:
        """Rotated and in groups: (B, G, D / G, H, W)."""
        turned = torch.einsum("bdhw,de->behw", z_BDHW, self.rotation_DD)
        return turned.unflatten(1, (self.groups, -1))

    @exact
    def joined(self, parts_BGDHW: torch.Tensor) -> torch.Tensor:
        """The inverse of `split`."""
        return torch.einsum("behw,de->bdhw", parts_BGDHW.flatten(1, 2), self.rotation_DD)

    @exact
    def similarity(self, z_BDHW: torch.Tensor) -> torch.Tensor:
        """2 z c - |c|^2 (B, G, K, H, W): the negative squared distance to each code, but for |z|^2."""
        product = torch.einsum("bgdhw,gkd->bgkhw", self.split(z_BDHW), self.codes_GKD)
        return 2 * product - self.codes_GKD.square().sum(-1)[None, :, :, None, None]

    def nearest(self, z_BDHW: torch.Tensor) -> torch.Tensor:
        """The code of each group and place."""
        return self.similarity(z_BDHW).argmax(2)

    @exact
    def lookup(self, codes_BGHW: torch.Tensor) -> torch.Tensor:
        """The latents of codes."""
        group = torch.arange(self.groups, device=codes_BGHW.device).view(1, -1, 1, 1)
        return self.joined(self.codes_GKD[group, codes_BGHW].movedim(-1, 2))

    @exact
    def expected(self, logits_BGKHW: torch.Tensor) -> torch.Tensor:
        """The soft lookup: latents expected under the codes' probabilities."""
        return self.joined(torch.einsum("bgkhw,gkd->bgdhw", logits_BGKHW.softmax(2), self.codes_GKD))

    @torch.no_grad()
    def fit(self, points_ND: torch.Tensor, seed: int = 0) -> Codebook:
        """Learn rotation and codes from latents as points; returns itself. The seed decides all that is drawn."""
        generator = torch.Generator().manual_seed(seed)
        self.rotation_DD.copy_(balanced(points_ND, self.groups))
        parts = (points_ND @ self.rotation_DD).unflatten(1, (self.groups, -1))
        for group in range(self.groups):
            self.codes_GKD[group] = k_means(parts[:, group].contiguous(), self.size, generator)
        return self


def balanced(points_ND: torch.Tensor, groups: int) -> torch.Tensor:
    """A rotation (D, D) to principal axes, dealt out so that each group has about the same share of log variance
    (Ge, He, Ke, Sun, "Optimized product quantization", TPAMI 2014, the parametric solution)."""
    spread, axes = torch.linalg.eigh(torch.cov(points_ND.T))
    dealt: list[list[int]] = [[] for _ in range(groups)]
    load = [0.0] * groups
    for axis in reversed(range(len(spread))):
        free = [g for g in range(groups) if len(dealt[g]) < len(spread) // groups]
        chosen = min(free, key=lambda g: load[g])
        dealt[chosen].append(axis)
        load[chosen] += float(spread[axis].clamp(min=1e-12).log() - spread.min().clamp(min=1e-12).log() + 1)
    return axes[:, [axis for group in dealt for axis in group]]


def k_means(points_ND: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Centres (size, D). Begins at random points; dead centres begin anew at points far from their own."""
    centres = points_ND[torch.randperm(len(points_ND), generator=generator)[:size]].clone()
    centres = torch.cat([centres, centres[:1].expand(size - len(centres), -1)])  # fewer points than codes
    for _ in range(ROUNDS):
        owner, far = owners(points_ND, centres)
        count = torch.bincount(owner, minlength=size)
        total = torch.zeros_like(centres).index_add_(0, owner, points_ND)
        centres = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], centres)
        dead = (count < DEAD * len(points_ND) / size).nonzero()[:, 0]
        drawn = torch.multinomial(far + 1e-12, len(dead), replacement=True, generator=generator) if len(dead) else dead
        centres[dead] = points_ND[drawn]
    return centres


def owners(points_ND: torch.Tensor, centres_KD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest centre of each point, and the squared distance to it."""
    found = [torch.cdist(part, centres_KD).min(1) for part in points_ND.split(CHUNK)]
    return torch.cat([each.indices for each in found]), torch.cat([each.values for each in found]).square()


@dataclass
class Codes:
    """Both code sets of a batch (B, G, H, W), and which pictures have HQ+ (B,)."""

    common: torch.Tensor
    hq: torch.Tensor
    on_B: torch.Tensor


class DualCodebook(nn.Module):
    """z = z1 + z2, with z2 only for pictures whose score reaches the threshold.

    Args:
        channels: Of a latent.
        size: Codes of a group of each codebook.
        groups: Of the channels.
    """

    threshold: torch.Tensor

    def __init__(self, channels: int, size: int, groups: int) -> None:
        super().__init__()
        self.common, self.hq = Codebook(channels, size, groups), Codebook(channels, size, groups)
        self.register_buffer("threshold", torch.tensor(50.0))  # score 0..100; `fit` sets it

    def on(self, score_B: torch.Tensor) -> torch.Tensor:
        """Which pictures have HQ+, each by its own score."""
        return score_B >= self.threshold

    def nearest(self, z_BDHW: torch.Tensor, score_B: torch.Tensor) -> Codes:
        """The codes of latents."""
        common = self.common.nearest(z_BDHW)
        return Codes(common, self.hq.nearest(self.residual(z_BDHW, common)), self.on(score_B))

    def residual(self, z_BDHW: torch.Tensor, common_BGHW: torch.Tensor) -> torch.Tensor:
        """What HQ+ is to say: z - z1."""
        return z_BDHW - self.common.lookup(common_BGHW)

    def lookup(self, codes: Codes) -> torch.Tensor:
        """The latents of codes."""
        return self.mixed(self.common.lookup(codes.common), self.hq.lookup(codes.hq), codes.on_B)

    def mixed(self, z1_BDHW: torch.Tensor, z2_BDHW: torch.Tensor, on_B: torch.Tensor) -> torch.Tensor:
        """z1 + z2 where HQ+ is on."""
        return z1_BDHW + on_B.to(z1_BDHW).view(-1, 1, 1, 1) * z2_BDHW

    def fit(self, latents: list[torch.Tensor], score_N: torch.Tensor, seed: int = 0) -> DualCodebook:
        """Learn both codebooks from pictures' latents (D, H, W) and their scores; HQ+ from the top third alone."""
        points = [z.flatten(1).T for z in latents]
        self.common.fit(torch.cat(points), seed)
        self.threshold.fill_(float(torch.quantile(score_N, 2 / 3)))
        good = [z[None] for z, chosen in zip(latents, self.on(score_N).tolist()) if chosen]
        residues = [self.residual(z, self.common.nearest(z))[0].flatten(1).T for z in good]
        self.hq.fit(torch.cat(residues), seed + 1)
        return self
