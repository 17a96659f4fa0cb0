"""A tiny restorer of tasks with random weights, and tiny components of Stable Diffusion's class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from rnr.restorer.latent import Autoencoder, TaskNetwork
from rnr.restorer.latent.autoencoder import small
from rnr.restorer.latent.task_files import export

SHAPE: dict[str, Any] = {"widths": (8, 16), "width": 8, "groups": 2, "blocks": 1, "gates": 8, "prompt": 6}


def tiny(seed: int = 0, **options: Any) -> tuple[Autoencoder, TaskNetwork]:
    """An autoencoder of the built-in shape, and a network on it whose last layers are not zero any more."""
    torch.manual_seed(seed)
    autoencoder = Autoencoder(small(4, (16,))).eval().requires_grad_(False)
    network = TaskNetwork.of(autoencoder, **(SHAPE | options))
    for name in ("perception", "reading"):
        network.prompts[name] = torch.nn.Parameter(torch.randn(6))
    return autoencoder, awake(network).eval()


@torch.no_grad()
def awake(network: TaskNetwork) -> TaskNetwork:
    """As after a training: what began at zero is small."""
    for name, weight in network.named_parameters():
        if not name.startswith("prompts") and not weight.any():
            weight.normal_(std=0.05)
    return network


def written(folder: Path, **options: Any) -> Path:
    """The folder of a tiny restorer of tasks, as `rnr train tasks` leaves it."""
    autoencoder, network = tiny(**options)
    autoencoder.save_pretrained(folder / "given")
    return export(network, folder / "given", folder / "weights", {})


def stable_diffusion(folder: Path) -> Path:
    """unet/ and vae/ of the class of SD-turbo, random and tiny."""
    torch.manual_seed(0)
    kinds = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    unet: Any = UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=2, norm_num_groups=4,
        cross_attention_dim=12, attention_head_dim=(2, 4), use_linear_projection=True, **kinds,
    )  # fmt: skip
    vae: Any = AutoencoderKL(
        block_out_channels=(8, 16, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        scaling_factor=0.18215,
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    return folder
