"""LoRA for Qwen-Image-Edit on pictures damaged as training goes: the flow-matching loss, the true diagnosis as prompt.

    rnr train restorer --model Qwen/Qwen-Image-Edit-2509 --recipe recipes/qwen_image_edit_lora.toml --images DIR -o OUT
    accelerate launch -m rnr train restorer ...        # several GPUs; FSDP and DeepSpeed by accelerate's own config

The clean picture's latents and noise are mixed at a random sigma; the transformer, shown the damaged picture's latents,
learns the velocity noise - clean (Lipman et al. 2023; Liu et al. 2023). Sample number n is the same whatever the number
of processes, and a resumed training goes on at its place in the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.photographs import random_crops, read_folder, to_uint8
from rnr.degradation.synthesize import synthesize
from rnr.restorer.edit_flow import gaussian, latents_of, look, velocity
from rnr.restorer.qwen_edit import LORA_FILE, QwenEditRestorer, edit_prompt
from rnr.training import checkpoint
from rnr.training.checkpoint import CHECKPOINT
from rnr.training.config import Settings
from rnr.training.journal import Journal, Report

LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]


class EditRun(Settings):
    """Of the recipe."""

    max_steps: int = Field(default=2000, ge=1, description="updates of the adapter")
    batch: int = Field(default=8, ge=1, description="samples of an update, for all processes together")
    rate: float = Field(default=1e-4, gt=0, description="learning rate, constant")
    rank: int = Field(default=16, ge=1, description="of the LoRA adapter")
    size: int = Field(default=512, ge=32, description="side of the crops, px")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    save_every: int = Field(default=100, ge=1, description="updates between two checkpoints")


def train(
    restorer: QwenEditRestorer,
    images: Path,
    out: Path,
    settings: EditRun,
    resume: bool,
    report: Report,
) -> Path:
    """Train and write the adapter; returns its folder. Raises ValueError for photographs that are not there."""
    from accelerate import Accelerator

    accelerator = Accelerator()
    photographs = list(read_folder(images).values())
    pipe, transformer = restorer.pipe, add_lora(restorer, settings)
    trained = list(trained_of(transformer).values())
    optimizer = torch.optim.AdamW(trained, lr=settings.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    out.mkdir(parents=True, exist_ok=True)
    first = checkpoint.load(out / CHECKPOINT, trained_of(transformer), optimizer)["step"] if resume else 0
    journal = Journal(out, first * settings.batch, report, resume) if accelerator.is_main_process else None
    pipe.transformer, optimizer = accelerator.prepare(transformer, optimizer)
    for step in range(first, settings.max_steps):
        mine = list(samples(photographs, settings, step, accelerator.process_index, accelerator.num_processes))
        for number, (clean, degraded, diagnosis) in mine:
            loss = flow_loss(restorer, clean, degraded, diagnosis, settings.seed * 1_000_003 + number)
            accelerator.backward(loss / len(mine))
        accelerator.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        shown = float(accelerator.reduce(loss.detach(), "mean"))
        if journal:
            journal.write({"step": step + 1, "samples": (step + 1) * settings.batch, "loss": shown})
            if (step + 1) % settings.save_every == 0:
                layers = trained_of(accelerator.unwrap_model(pipe.transformer))
                inner = getattr(optimizer, "optimizer", optimizer)
                checkpoint.save(out / CHECKPOINT, layers, inner, {"step": step + 1})
    pipe.transformer = accelerator.unwrap_model(pipe.transformer)
    return write_adapter(pipe, out / "weights", settings) if accelerator.is_main_process else out / "weights"


def add_lora(restorer: QwenEditRestorer, settings: EditRun) -> torch.nn.Module:
    """Freeze everything but a fresh adapter on the transformer's attention (float32, as optimisers need)."""
    from peft import LoraConfig

    pipe = restorer.pipe
    for part in (pipe.vae, pipe.text_encoder, pipe.transformer):
        part.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        pipe.transformer.add_adapter(LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=LAYERS))
    for p in pipe.transformer.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return pipe.transformer


def trained_of(transformer: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters of the adapter, by name."""
    return {name: p for name, p in transformer.named_parameters() if p.requires_grad}


def samples(
    photographs: Sequence[np.ndarray], settings: EditRun, step: int, rank: int, world: int
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray, Diagnosis]]]:
    """This process's share of the batch of a step: (number, (clean, degraded, truth)), uint8 HWC."""
    if settings.batch % world:
        raise ValueError(f"a batch of {settings.batch} cannot be shared by {world} processes")
    for number in range(step * settings.batch + rank, (step + 1) * settings.batch, world):
        seed = (settings.seed * 1_000_003 + number) % 2**31
        crop = random_crops(list(photographs), 1, (settings.size, settings.size), torch.Generator().manual_seed(seed))
        degraded, diagnoses, _ = synthesize(crop, seed)
        yield number, (to_uint8(crop), to_uint8(degraded), diagnoses[0])


def flow_loss(
    restorer: QwenEditRestorer, clean: np.ndarray, degraded: np.ndarray, diagnosis: Diagnosis, seed: int
) -> torch.Tensor:
    """Mean squared error of the velocity at one sigma, drawn logit-normal (Esser et al. 2024)."""
    pipe, generator = restorer.pipe, torch.Generator().manual_seed(seed)
    given = look(pipe, Image.fromarray(degraded), edit_prompt(diagnosis), min(restorer.area, degraded[..., 0].size))
    target = latents_of(pipe, Image.fromarray(clean), given.size, given.source_1LC.dtype).float()
    noise = gaussian(target.shape, generator, target.device)
    sigma = torch.sigmoid(gaussian((1,), generator, target.device))
    mixed = ((1 - sigma) * target + sigma * noise).to(given.source_1LC.dtype)
    guess = velocity(pipe, mixed, sigma, given, guidance=1.0).float()
    return ((guess - (noise - target)) ** 2).mean()


def write_adapter(pipe: Any, folder: Path, settings: EditRun) -> Path:
    """The adapter in diffusers' format, and the recipe beside it."""
    from peft import get_peft_model_state_dict

    layers = get_peft_model_state_dict(pipe.transformer)
    pipe.save_lora_weights(folder, transformer_lora_layers=layers, weight_name=LORA_FILE)
    (folder / "recipe.json").write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder
