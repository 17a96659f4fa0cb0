"""IQPIR's predictor: a Transformer that reads a degraded picture and predicts both code sets of a better one.

How good that one is to be comes in as a score 0..100: a continuous embedding of it, sines through a perceptron, is
added to the features before each block, by projections that begin at zero. There are no bins: 100 is as good a number
as 99.9. Attention goes over windows, every second one shifted by half, so that its cost is linear in the pixels;
3x3 convolutions between carry information from window to window. Nothing is averaged over the picture.

The logits begin as those of the codes that are nearest to the picture's own latent, moved by a predicted offset:
logit_k = s (2 m c_k - |c_k|^2) + free_k, m = z + offset, with a sharpness s that depends on the place: where the damage
is heavy nothing is certain. HQ+ is read in the same way from m - z1, so that it refines the common part that is shown,
in training as in use.

What codes cannot say of a good picture its own latent can. So the two are fused, as CodeFormer (Zhou et al., NeurIPS
2022) fuses the encoder's features by its w: z + w g (own - z), with a share g of each channel and place that the
Transformer predicts, and the dial w, `fidelity`: 0 shows the codes alone.

Shapes: latent_BDHW and features_BCHW of the autoencoder, score_B 0..100, logits_BGKHW.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from rnr.restorer.expert import channels_last, zero
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.codebook import Codes, DualCodebook
from rnr.restorer.network_file import read_network, write_network

CODES, INDEX = "codes.safetensors", "model_index.json"  # the files of a latent restorer
SURE = (4.0, 0.5)  # sharpness of the first logits of both codebooks, times the codes' variance. Loss of the first batch
# with ten times these, with these, with a tenth: 16.5, 7.4, 7.9
MOST = 6.0  # logarithm of the greatest sharpness: logits stay finite
KEPT = 2.0  # logit of the share g at the start, 0.88: an untrained restorer is nearly the autoencoder; a choice
WINDOW = 8  # places of a latent along a window's side
LEAST = 0.01  # of a channel's deviation: what never varies is not blown up; a choice
SCORE_WIDTH = 32  # sines and cosines of the score


class QualityEmbedding(nn.Module):
    """A score 0..100 as a vector: sines of 16 wavelengths from 400 to 4 points, then a perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SCORE_WIDTH, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, score_B: torch.Tensor) -> torch.Tensor:
        half = SCORE_WIDTH // 2
        wave = 2 * math.pi / (400 * 0.01 ** (torch.arange(half, device=score_B.device) / (half - 1)))
        angle = score_B[:, None] * wave
        return self.layers(torch.cat([angle.sin(), angle.cos()], 1))


class Standard(nn.Module):
    """Features to zero mean and unit deviation of each channel.

    Args:
        channels: Their number.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))

    @torch.no_grad()
    def measure(self, x_BCHW: torch.Tensor) -> None:
        """Take the statistics of these features."""
        deviation, mean = torch.std_mean(x_BCHW.float(), (0, 2, 3))
        self.mean.copy_(mean[:, None, None])
        self.deviation.copy_(deviation.clamp(min=LEAST)[:, None, None])

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return (x_BCHW - self.mean) / self.deviation


class WindowAttention(nn.Module):
    """Attention within windows of WINDOW x WINDOW places, with a learned bias between places.

    Args:
        width: Channels.
        heads: They divide the channels.
        shifted: Windows begin half a window earlier; what lies outside is mirrored.
    """

    def __init__(self, width: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.shift = heads, WINDOW // 2 if shifted else 0
        self.entry, self.exit = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, WINDOW**2, WINDOW**2))
        zero(self.exit)

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        height, width = x_BHWC.shape[1:3]
        shift = self.shift
        qkv = functional.pad(self.entry(x_BHWC).movedim(-1, 1), [shift] * 4, mode="reflect").movedim(1, -1)
        query, key, value = windows(qkv, self.heads).chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.bias.to(query))
        whole = unwindowed(mixed, qkv.shape[1], qkv.shape[2])
        return self.exit(whole[:, shift : shift + height, shift : shift + width])


def windows(x_BHWC: torch.Tensor, heads: int) -> torch.Tensor:
    """(B windows, heads, WINDOW^2, C / heads)."""
    batch, height, width, channels = x_BHWC.shape
    x = x_BHWC.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, heads, channels // heads)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, heads, WINDOW**2, channels // heads)


def unwindowed(x_NhPC: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of `windows`: (B, H, W, C)."""
    rows, columns = height // WINDOW, width // WINDOW
    x = x_NhPC.view(-1, rows, columns, x_NhPC.shape[1], WINDOW, WINDOW, x_NhPC.shape[-1])
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, height, width, x_NhPC.shape[1] * x_NhPC.shape[-1])


class Block(nn.Module):
    """Quality, attention, and a perceptron whose first layer is a 3x3 convolution; each adds nothing at first."""

    def __init__(self, width: int, heads: int, shifted: bool, quality: bool) -> None:
        super().__init__()
        self.quality = nn.Linear(width // 2, width) if quality else None
        self.before, self.attention = nn.LayerNorm(width), WindowAttention(width, heads, shifted)
        self.between, self.wide = nn.LayerNorm(width), nn.Conv2d(width, width, 3, padding=1)
        self.narrow = nn.Linear(width, width)
        zero(self.narrow)
        if self.quality is not None:
            zero(self.quality)

    def forward(self, x_BHWC: torch.Tensor, quality_BD: torch.Tensor | None) -> torch.Tensor:
        if self.quality is not None and quality_BD is not None:
            x_BHWC = x_BHWC + self.quality(quality_BD)[:, None, None]
        x_BHWC = x_BHWC + self.attention(self.before(x_BHWC))
        h = self.wide(self.between(x_BHWC).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x_BHWC + self.narrow(functional.gelu(h))


@dataclass
class Prediction:
    """What the Transformer says of a batch: the offset latent m, and the logits of both codebooks.

    Attributes:
        z1_BDHW: What the common codes say, which HQ+ refines.
        own_BDHW: The degraded picture's own latent.
        kept_BDHW: Share 0..1 of it that is fused into the codes' latent; None without fusion.
    """

    moved_BDHW: torch.Tensor
    common: torch.Tensor
    hq: torch.Tensor
    z1_BDHW: torch.Tensor
    own_BDHW: torch.Tensor
    kept_BDHW: torch.Tensor | None


class CodePredictor(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Both code sets from a degraded picture and a score.

    Args:
        channels: Of a latent.
        features: Channels of the autoencoder's coarsest features.
        factor: Of the autoencoder, f: the picture comes in pixel-unshuffled by it.
        size: Codes of a group.
        groups: Of the channels.
        width: Of the Transformer.
        blocks: Their number.
        heads: Of attention.
        quality: Whether it takes a score; without, it predicts codes of the training's mean quality (ablation).
        fusion: Whether the picture's own latent is fused into that of the codes.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 16,
        features: int = 112,
        factor: int = 4,
        size: int = 64,
        groups: int = 8,
        width: int = 128,
        blocks: int = 6,
        heads: int = 4,
        quality: bool = True,
        fusion: bool = False,
    ) -> None:
        super().__init__()
        self.book = DualCodebook(channels, size, groups)
        self.embedding = QualityEmbedding(width // 2) if quality else None
        self.standard = Standard(channels + features + 3 * factor**2)  # some of the built-in autoencoder's are 20
        self.entry = nn.Conv2d(len(self.standard.mean), width, 3, padding=1)
        self.layers = nn.ModuleList(Block(width, heads, bool(i % 2), quality) for i in range(blocks))
        self.last = nn.LayerNorm(width)
        self.offset = nn.Linear(width, channels)
        self.free = nn.Linear(width, 2 * groups * size)
        self.sharpness = nn.Parameter(torch.zeros(2, groups))  # logarithms
        self.confidence = nn.Linear(width, 2 * groups)  # what is added to them at a place
        for layer in (self.offset, self.free, self.confidence):
            zero(layer)
        self.kept = nn.Linear(width, channels) if fusion else None
        if self.kept is not None:
            zero(self.kept)
            nn.init.constant_(self.kept.bias, KEPT)

    @torch.no_grad()
    def sharpen(self) -> CodePredictor:
        """Begin with logits that are as sure as can be hoped for, by the variance of each group's codes; returns
        itself."""
        for row, book, sure in zip(self.sharpness, (self.book.common, self.book.hq), SURE):
            row.copy_((sure / book.codes_GKD.var((1, 2)).clamp(min=1e-6)).log())
        return self

    def seen(self, autoencoder: Autoencoder, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The picture's own latent, and all that the Transformer reads of it."""
        latent, features = autoencoder.encode(image_BCHW)
        pixels = functional.pixel_unshuffle(image_BCHW - 0.5, self.config["factor"])
        return latent, torch.cat([latent, features[-1].float(), pixels], 1)

    def forward(
        self, latent_BDHW: torch.Tensor, seen_BCHW: torch.Tensor, score_B: torch.Tensor,
        likeliest: bool = False,
    ) -> Prediction:  # fmt: skip
        """Logits of both codebooks.

        Args:
            latent_BDHW: Of the degraded picture; height and width are multiples of WINDOW.
            seen_BCHW: Of `seen`.
            score_B: How good the result is to be, 0..100.
            likeliest: Whether HQ+ refines the likeliest common codes, for `codes`; else what all of them expect.
        """
        quality = self.embedding(score_B) if self.embedding is not None else None
        h = self.entry(channels_last(self.standard(seen_BCHW).to(self.entry.weight.dtype))).permute(0, 2, 3, 1)
        for block in self.layers:
            h = block(h, quality)
        h = self.last(h)
        moved = latent_BDHW + self.offset(h).permute(0, 3, 1, 2).float()
        free = self.free(h).permute(0, 3, 1, 2).float().unflatten(1, (2, self.book.common.groups, -1))
        sure = self.confidence(h).permute(0, 3, 1, 2).float().unflatten(1, (2, -1, 1))
        sharp = (self.sharpness[..., None, None, None] + sure).clamp(max=MOST).exp()  # (B, 2, G, 1, H, W)
        common = sharp[:, 0] * self.book.common.similarity(moved) + free[:, 0]
        z1 = self.book.common.lookup(common.argmax(2)) if likeliest else self.book.common.expected(common)
        hq = sharp[:, 1] * self.book.hq.similarity(moved - z1) + free[:, 1]
        kept = None if self.kept is None else self.kept(h).permute(0, 3, 1, 2).float().sigmoid()
        return Prediction(moved, common, hq, z1, latent_BDHW, kept)

    def expected(self, prediction: Prediction, on_B: torch.Tensor) -> torch.Tensor:
        """The latents that the logits expect; HQ+ where it is on."""
        return self.book.mixed(prediction.z1_BDHW, self.book.hq.expected(prediction.hq), on_B)

    def fused(self, prediction: Prediction, on_B: torch.Tensor, fidelity: float = 1.0) -> torch.Tensor:
        """`expected`, and the picture's own latent where the Transformer keeps that; fidelity 0..1 times its share."""
        z = self.expected(prediction, on_B)
        return z if prediction.kept_BDHW is None else z + fidelity * prediction.kept_BDHW * (prediction.own_BDHW - z)

    def codes(self, prediction: Prediction, score_B: torch.Tensor) -> Codes:
        """The likeliest codes, of a prediction that was asked for these; HQ+ by each picture's own score."""
        return Codes(prediction.common.argmax(2), prediction.hq.argmax(2), self.book.on(score_B))


def save_predictor(model: CodePredictor, path: Path, card: dict[str, Any]) -> None:
    """Predictor and codebooks in half precision in one file, whole or not at all."""
    names = ("channels", "features", "factor", "size", "groups", "width", "blocks", "heads", "quality", "fusion")
    write_network(model.state_dict(), path, {name: model.config[name] for name in names}, card)


def load_predictor(path: Path) -> tuple[CodePredictor, dict[str, Any]]:
    """A predictor in float32, and its card. OSError names a file that is missing, broken, or something else."""
    try:
        config, card, tensors = read_network(path)
        model: CodePredictor = CodePredictor(**config)
        earlier = {f"standard.{name}": value for name, value in model.standard.state_dict().items()}  # had none
        model.load_state_dict(earlier | tensors)
    except Exception as error:
        remedy = "train it with `rnr train codes`, or copy the file again"
        raise OSError(f"{path}: no code predictor's weights ({error}); {remedy}") from error
    return model.eval(), card


@torch.no_grad()
def restored(
    model: CodePredictor, autoencoder: Autoencoder, image_BCHW: torch.Tensor, score: float | torch.Tensor,
    fidelity: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """Pictures at this quality, in [0, 1]; height and width are multiples of 8 f. Fidelity 0..1: see `fused`.

    The decoder is given the latent that the logits expect: the likeliest codes cost 0.1 to 2.7 dB (docs/lab-log.md).
    """
    score_B = torch.as_tensor(score, dtype=torch.float32, device=image_BCHW.device).expand(len(image_BCHW))
    latent, seen = model.seen(autoencoder, image_BCHW)
    found = model(latent, seen, score_B)
    return autoencoder.decode(model.fused(found, model.book.on(score_B), fidelity)).clamp(0, 1)


def autoencoder_of(folder: Path) -> str | Path:
    """What model_index.json names: a folder inside, `built-in`, or a hub name. OSError where it cannot be read."""
    path = folder / INDEX
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["autoencoder"]
    except (OSError, ValueError, KeyError) as error:
        raise OSError(f"{path}: names no autoencoder ({error}); the training writes it") from error
    return folder / name if (folder / name).is_dir() else name


def write_index(folder: Path, autoencoder: str | Path, kind: str = "LatentRestorer") -> None:
    """model_index.json: the restorer's class, and the autoencoder that its weights are for."""
    about = {"_class_name": kind, "autoencoder": str(autoencoder)}
    (folder / INDEX).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
