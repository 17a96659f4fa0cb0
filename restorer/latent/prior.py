"""The diffusion prior: a `UNet2DConditionModel` of diffusers, unmodified, whose skips a controller steers.

SC-Tuner (SCEdit, Jiang et al., CVPR 2024): skip x_j of the U-Net becomes x_j + tuner_j(x_j + c_j), a bottleneck whose
last layer begins at zero. The controller makes c_j of the repaired latent, one for each resolution. The U-Net's own
forward is written out here, because the residual of a skip depends on that skip.

Two ways from what the U-Net says to a clean latent:
- *velocity*, of our own one: a bridge from the repaired latent (t = 1) to the clean one, x_0 = x_t + t v (InDI,
  Delbracio & Milanfar 2023), as in `rnr.restorer.expert`; one step or several.
- *epsilon*, of Stable Diffusion's: noise of timestep T on the repaired latent, taken away again in one step,
  x_0 = (x_T - sqrt(1 - a_T) e) / sqrt(a_T). That U-Net is frozen; controller, tuners, and the tokens that stand for the
  empty prompt are trained. No text encoder is needed.

Shapes: latents_BDHW; H and W are multiples of 2 ** (levels - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn import functional

from rnr.restorer.expert import zero

WIDTHS = (64, 96, 128)  # of our own U-Net; a choice
TOKENS = 4  # that stand for a text; a choice
TIMES = 1000  # timesteps of Stable Diffusion; the bridge's t in 0..1 is counted in them
TURBO = 249  # T of the epsilon form: the last of the four timesteps that SD-turbo was distilled for
SQUEEZE = 4  # a tuner's bottleneck has a quarter of the channels, as in SCEdit
PLAIN = ("class_embed_type", "addition_embed_type", "encoder_hid_dim_type", "num_class_embeds")  # None in SD's U-Nets

Steer = Callable[[int, torch.Tensor], torch.Tensor]  # number of a skip, the skip -> the skip


class Skip(NamedTuple):
    """A skip of a U-Net: how often its resolution was halved, and its channels."""

    level: int
    channels: int


def small_prior(latent: int, widths: Sequence[int] = WIDTHS) -> Any:
    """Our own U-Net with random weights; says 0 at first. Attention is in the middle alone: it costs little there."""
    unet: Any = UNet2DConditionModel(
        in_channels=latent, out_channels=latent, block_out_channels=tuple(widths), layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(widths), up_block_types=("UpBlock2D",) * len(widths),
        norm_num_groups=8, cross_attention_dim=32, attention_head_dim=8,
    )  # fmt: skip
    zero(unet.conv_out)
    return unet


def named_prior(name: str) -> Any:
    """The U-Net of a folder or hub name (`stabilityai/sd-turbo`), frozen; safetensors alone.

    Raises:
        OSError: For what is missing or broken.
        ValueError: For a U-Net that is conditioned on more than time and tokens.
    """
    try:
        unet: Any = UNet2DConditionModel.from_pretrained(name, subfolder="unet", use_safetensors=True)
    except Exception as error:
        problem = f"{name}: cannot load a UNet2DConditionModel ({str(error).splitlines()[0]})"
        raise OSError(f"{problem}; it needs unet/config.json and unet/diffusion_pytorch_model.safetensors") from error
    return plain(unet, name).requires_grad_(False).eval()


def plain(unet: Any, name: str = "this U-Net") -> Any:
    """Itself. ValueError for one that is conditioned on more than time and tokens."""
    if more := [key for key in PLAIN if unet.config.get(key) is not None]:
        raise ValueError(f"{name}: has {', '.join(more)}; name a U-Net of the class of SD 1.5, 2.1 or SD-turbo")
    return unet


def skips_of(unet: Any) -> list[Skip]:
    """The skips in the order in which they arise."""
    widths = unet.config["block_out_channels"]
    layers = unet.config["layers_per_block"]
    counts = [layers] * len(widths) if isinstance(layers, int) else list(layers)
    found = [Skip(0, widths[0])]
    for level, (width, count) in enumerate(zip(widths, counts)):
        found += [Skip(level, width)] * count
        found += [Skip(level + 1, width)] if level + 1 < len(widths) else []
    return found


def run(unet: Any, x_BDHW: torch.Tensor, time_B: torch.Tensor, tokens_BLC: torch.Tensor, steer: Steer) -> torch.Tensor:
    """What the U-Net says, its skips steered; with `steer` the identity it is `unet(...)`, to the bit.

    Args:
        unet: A `UNet2DConditionModel`.
        x_BDHW: Latents.
        time_B: Timesteps, 0..999.
        tokens_BLC: In the place of a text's embedding.
        steer: Gets each skip's number and the skip.
    """
    emb = unet.time_embedding(unet.get_time_embed(sample=x_BDHW, timestep=time_B))
    words = {"encoder_hidden_states": tokens_BLC}
    h = unet.conv_in(x_BDHW)
    skips = [h]
    for block in unet.down_blocks:
        h, made = block(hidden_states=h, temb=emb, **(words if takes_words(block) else {}))
        skips += made
    steered = [steer(number, skip) for number, skip in enumerate(skips)]
    h = unet.mid_block(h, emb, **(words if takes_words(unet.mid_block) else {}))
    for block in unet.up_blocks:
        count = len(block.resnets)
        own, steered = tuple(steered[-count:]), steered[:-count]
        h = block(
            hidden_states=h, temb=emb, res_hidden_states_tuple=own, **(words if takes_words(block) else {})
        )  # fmt: skip
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))


def takes_words(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


class Controller(nn.Module):
    """The repaired latent as features of each of the U-Net's resolutions, and of each skip's channels.

    Args:
        latent: Channels of a latent.
        skips: Of the U-Net.
        width: Of the controller.
    """

    def __init__(self, latent: int, skips: Sequence[Skip], width: int) -> None:
        super().__init__()
        self.levels = [skip.level for skip in skips]
        self.entry = nn.Conv2d(latent, width, 3, padding=1)
        self.steps = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(max(self.levels)))
        self.exits = nn.ModuleList(nn.Conv2d(width, skip.channels, 1) for skip in skips)

    def forward(self, latent_BDHW: torch.Tensor) -> list[torch.Tensor]:
        maps = [functional.silu(self.entry(latent_BDHW))]
        for step in self.steps:
            maps.append(functional.silu(step(maps[-1])))
        return [layer(maps[level]) for layer, level in zip(self.exits, self.levels)]


class SkipTuner(nn.Module):
    """SC-Tuner of one skip: x + up(gelu(down(x + c))).

    Args:
        channels: Of the skip.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // SQUEEZE, 1)
        self.up = nn.Conv2d(channels // SQUEEZE, channels, 1)
        zero(self.up)

    def forward(self, x_BCHW: torch.Tensor, control_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + self.up(functional.gelu(self.down(x_BCHW + control_BCHW)))


def kept_of_signal() -> float:
    """a_T of Stable Diffusion's schedule at TURBO, 0..1."""
    schedule: Any = DDPMScheduler(TIMES, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return float(schedule.alphas_cumprod[TURBO])
