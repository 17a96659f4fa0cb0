"""The sampling loop of Qwen-Image-Edit (Plus), opened: one step for the deterministic and the stochastic sampler.

A rectified flow from noise (sigma = 1) to the edited picture (sigma = 0), conditioned on the picture's own latents and
on a prompt that the text encoder reads together with the picture. diffusers' pipeline runs this loop in one call and at
an area of 1024^2; rewards and trainings need each step, other areas and batches. The parts (encoders, packing,
scheduler) are the pipeline's own, and with `eta` = 0 the result is the pipeline's (a test holds the two together).

Shapes: latents_BLC are packed 2x2 blocks, C = 4 x the autoencoder's channels; image_BCHW is in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (
    CONDITION_IMAGE_SIZE,
    calculate_dimensions,
    calculate_shift,
)
from PIL import Image

from rnr.restorer.bridge import BridgeStep

Random = torch.Generator | list[torch.Generator] | None


@dataclass
class EditInput:
    """All that the transformer is conditioned on for one picture. `negative` is empty where there is no guidance."""

    size: tuple[int, int]  # width, height at which the pipeline works
    source_1LC: torch.Tensor  # latents of the degraded picture
    words: tuple[torch.Tensor, torch.Tensor | None]  # prompt embeddings (1, N, D), mask
    negative: tuple[torch.Tensor, torch.Tensor | None] | None = None


def working_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Multiples of 32 px of about this area, in the picture's proportions."""
    wide, high = calculate_dimensions(area, width / height)
    return max(32, int(wide)), max(32, int(high))


@torch.no_grad()
def look(pipe: Any, image: Image.Image, prompt: str, area: int, guided: bool = False) -> EditInput:
    """Encode a picture and its prompt, once for all steps and samples."""
    size = working_size(*image.size, area)
    small = pipe.image_processor.resize(image, *reversed(working_size(*image.size, CONDITION_IMAGE_SIZE)))
    words = pipe.encode_prompt(prompt, [small])
    negative = pipe.encode_prompt(" ", [small]) if guided else None
    return EditInput(size, latents_of(pipe, image, size, words[0].dtype), words, negative)


@torch.no_grad()
def latents_of(pipe: Any, image: Image.Image, size: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """(1, L, C): the mode of the autoencoder's distribution, normalised and packed."""
    width, height = size
    pixels = pipe.image_processor.preprocess(image, height, width).unsqueeze(2)
    encoded = pipe._encode_vae_image(pixels.to(pipe._execution_device, dtype), None)
    return pipe._pack_latents(encoded, 1, encoded.shape[1], *encoded.shape[3:])


def sigmas_of(pipe: Any, steps: int, tokens: int) -> torch.Tensor:
    """(steps + 1,) noise levels from 1 to 0, shifted for the number of latent tokens as the pipeline does."""
    if not 1 <= steps <= 1000:
        raise ValueError(f"num_inference_steps must lie in 1..1000, not {steps}")
    given = pipe.scheduler.config
    names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
    shift = calculate_shift(tokens, *(given.get(n, d) for n, d in zip(names, (256, 4096, 0.5, 1.15))))
    pipe.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=pipe._execution_device, mu=shift)
    return pipe.scheduler.sigmas


def velocity(
    pipe: Any, latents_BLC: torch.Tensor, sigma: torch.Tensor, given: EditInput, guidance: float
) -> torch.Tensor:
    """d latents / d sigma at these latents; `sigma` is a scalar or (B,). Guidance is renormalised as there."""
    conditional = _forward(pipe, latents_BLC, sigma, given, given.words)
    if given.negative is None or guidance <= 1:
        return conditional
    other = _forward(pipe, latents_BLC, sigma, given, given.negative)
    guided = other + guidance * (conditional - other)
    return guided * (conditional.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))


def _forward(pipe: Any, latents_BLC: torch.Tensor, sigma: torch.Tensor, given: EditInput, words: tuple) -> torch.Tensor:
    batch, scale = len(latents_BLC), 2 * pipe.vae_scale_factor
    embeddings, mask = words
    width, height = given.size
    grid = (1, height // scale, width // scale)
    output = pipe.transformer(
        hidden_states=torch.cat([latents_BLC, given.source_1LC.expand(batch, -1, -1)], 1).to(embeddings.dtype),
        timestep=sigma.expand(batch).to(latents_BLC.device, embeddings.dtype),
        encoder_hidden_states=embeddings.expand(batch, -1, -1),
        encoder_hidden_states_mask=None if mask is None else mask.expand(batch, -1),
        img_shapes=[[grid, grid]] * batch,
        return_dict=False,
    )[0]
    return output[:, : latents_BLC.shape[1]]


def flow_step(
    velocity_BLC: torch.Tensor,
    sample_BLC: torch.Tensor,
    sigmas: torch.Tensor,
    index: int,
    eta: float = 0.0,
    generator: Random = None,
    prev_sample: torch.Tensor | None = None,
) -> BridgeStep:
    """From sigmas[index] to sigmas[index + 1]: Euler, or with `eta` > 0 the SDE of the same marginals.

    Flow-GRPO (Liu et al. 2025), eq. 9: std = eta sqrt(sigma / (1 - sigma)). The last step has no variance. With
    `prev_sample` the step is not drawn but only scored; log_prob is the mean over dimensions, float32.
    """
    now, then = float(sigmas[index]), float(sigmas[index + 1])
    dt = then - now
    sample, speed = sample_BLC.float(), velocity_BLC.float()
    spread = eta * (now / (1 - (now if now < 1 else float(sigmas[1])))) ** 0.5 if then > 0 else 0.0
    drift = spread**2 / (2 * now)
    mean = sample * (1 + drift * dt) + speed * (1 + drift * (1 - now)) * dt
    std = spread * (-dt) ** 0.5
    if std == 0:
        return BridgeStep(prev_sample=mean, mean=mean, std=0.0, log_prob=None)
    if prev_sample is None:
        prev_sample = mean + std * gaussian(mean.shape, generator, mean.device)
    log_prob = torch.distributions.Normal(mean, std).log_prob(prev_sample).mean(dim=(1, 2))
    return BridgeStep(prev_sample=prev_sample, mean=mean, std=std, log_prob=log_prob)


def gaussian(shape: Any, generator: Random, device: torch.device) -> torch.Tensor:
    """Drawn on the generator's own device, so that a seed means the same everywhere; of several, each draws a row."""
    if isinstance(generator, list):
        return torch.cat([gaussian((1, *shape[1:]), one, device) for one in generator])
    return torch.randn(shape, generator=generator, device=generator.device if generator else device).to(device)


def start(pipe: Any, given: EditInput, count: int, generator: Random) -> torch.Tensor:
    """(count, L, C) noise in the order in which the pipeline draws it."""
    width, height = (side // pipe.vae_scale_factor for side in given.size)
    channels = pipe.transformer.config.in_channels // 4
    noise = gaussian((count, 1, channels, height, width), generator, pipe._execution_device)
    return pipe._pack_latents(noise.to(given.source_1LC.dtype), count, channels, height, width)


@torch.no_grad()
def image_of(pipe: Any, latents_BLC: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """image_BCHW in [0, 1] at the working size (width, height)."""
    width, height = size
    latents = pipe._unpack_latents(latents_BLC, height, width, pipe.vae_scale_factor).to(pipe.vae.dtype)
    mean, std = (
        torch.tensor(values, dtype=latents.dtype, device=latents.device).view(1, -1, 1, 1, 1)
        for values in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
    )
    return (pipe.vae.decode(latents * std + mean, return_dict=False)[0][:, :, 0].float() / 2 + 0.5).clamp(0, 1)
