"""Train UniRestore: `rnr train tasks` all its parts, `rnr train task NAME` one prompt and nothing else.

*All parts*: a damaged picture goes through encoder, CFRM, prior and decoder. Loss: L1 between the latents (repaired,
and after the prior) and the clean one, L1 of the pixels and of their gradients, and what the tasks add. Batches go by
turns to the tasks that are named, each with its own prompt. The autoencoder stays frozen.

*One prompt*: everything is frozen but the vector. It begins as that of perception, so that a task never begins worse.
PIXELS of the pixel loss stay in, or the restorer paints what the downstream network likes to see.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_crop, random_crops, read_folder, to_tensor
from rnr.degradation.synthesize import degrade, draw_mixture
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.autoencoder_train import gradients
from rnr.restorer.latent.codes import autoencoder_of
from rnr.restorer.latent.downstream import Downstream, Perception, TaskBatch, named, task_named
from rnr.restorer.latent.task_files import export, load_network, save_prompt
from rnr.restorer.latent.tasks import OWN, PERCEPTION, TaskNetwork, times
from rnr.restorer.tiling import pad_to_multiple
from rnr.training.card import card_of
from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report

BATCH = 4
SIDES = ((0.85, 64), (1.01, 128))  # until this share of the samples: crop side of perception in px; a choice
SEVERITY = (5.0, 100.0)  # of each kind; `rnr train codes` has the same
LATENT, PIXELS, TASK = 0.5, 1.0, 0.2  # weights of the losses of latents, pixels and task; a choice
ANCHOR = 0.3  # weight of the pixels while a prompt is trained; a choice
BRIDGE = 0.4  # share of the batches whose latent lies between the repaired and the clean one: steps; a choice
MEASURED = 32  # crops by which features are standardised
HELD = 12  # validation pictures, centres of 192 px


class TasksRun(Run):
    """Settings of the training of all parts."""

    rate: float = Field(default=3e-4, gt=0, description="learning rate at its highest")


class PromptRun(Run):
    """Settings of the training of one prompt: 64 numbers bear a high rate."""

    samples: int = Field(default=4_000, ge=1, description="length of the schedule, in crops of 64x64 px")
    rate: float = Field(default=2e-2, gt=0, description="learning rate at its highest")
    warm_up: int = Field(default=200, ge=1, description="samples until the highest rate")


class TaskObjective:
    """Pictures restored for tasks.

    Args:
        model: The network; what is not to be trained is frozen.
        autoencoder: Frozen.
        tasks: By the names of their prompts.
        photographs: Undamaged, uint8 HWC, by name.
        held_out: Others, for validation.
    """

    def __init__(
        self, model: TaskNetwork, autoencoder: Autoencoder, tasks: Mapping[str, Downstream],
        photographs: Mapping[str, np.ndarray], held_out: Sequence[np.ndarray] = (),
    ) -> None:  # fmt: skip
        self.model, self.autoencoder, self.tasks = model, autoencoder.requires_grad_(False), dict(tasks)
        self.photographs, self.held = named(photographs), []
        for number, picture in enumerate(held_out):
            clean = to_tensor(centre_crop(picture, 192))
            generator = torch.Generator().manual_seed(7_000 + number)
            mixture = draw_mixture(1, generator, "single" if number % 2 else "several")
            self.held.append((clean, degrade(clean, mixture)))

    def drawn(self, progress: float, seed: int) -> tuple[str, TaskBatch, torch.Tensor]:
        """A task, its clean pictures, and these damaged."""
        generator = torch.Generator().manual_seed(seed)
        name = list(self.tasks)[int(torch.randint(0, len(self.tasks), (1,), generator=generator))]
        task = self.tasks[name]
        if isinstance(task, Perception):
            task.side = next(side for until, side in SIDES if progress < until)
        side = getattr(task, "side", 64)
        clean = task.draw(self.photographs, max(1, BATCH * 64 // side), generator)
        count = len(clean.clean)
        return name, clean, degrade(clean.clean, draw_mixture(count, generator, severity=SEVERITY))

    def batch(self, progress: float, seed: int) -> tuple[tuple[str, TaskBatch, torch.Tensor], int]:
        """A batch and its number of crops in units of 64x64 px."""
        found = self.drawn(progress, seed)
        return found, max(1, found[2].shape[0] * found[2].shape[2] * found[2].shape[3] // 64**2)

    def loss(self, batch: tuple[str, TaskBatch, torch.Tensor], progress: float, seed: int) -> torch.Tensor:
        """Of all parts: latents, pixels, and the task's own."""
        name, known, damaged = batch
        generator = torch.Generator().manual_seed(seed)
        clean, damaged = fitted(self.model, self.autoencoder, known.clean, damaged)
        with torch.no_grad():
            target = self.autoencoder.encode(clean)[0]
        start, features = self.model.encode(self.autoencoder, damaged)
        found = self.estimate(start, target, generator)
        made = self.model.decode(self.autoencoder, found, features, name)
        latents = (start - target).abs().mean() + (found - target).abs().mean()
        made, clean = (x[..., : known.clean.shape[2], : known.clean.shape[3]] for x in (made, clean))
        return LATENT * latents + PIXELS * pixel_loss(made, clean) + TASK * self.served(name, made, known)

    def served(self, name: str, made_BCHW: torch.Tensor, known: TaskBatch) -> torch.Tensor:
        """The task's own loss, in float32: its network was trained so."""
        with torch.autocast(made_BCHW.device.type, enabled=False):
            return self.tasks[name].loss(made_BCHW.float().clamp(0, 1), known)

    def estimate(self, start: torch.Tensor, target: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The clean latent by the prior, of a latent on the bridge."""
        draw = torch.rand(2, generator=generator).tolist()
        if self.model.config["prior"] != OWN or draw[0] >= BRIDGE:
            return self.model.better(start, 1, generator)
        x = torch.lerp(target, start, draw[1])
        return x + draw[1] * self.model.said(x, start, times(x, draw[1]))

    def validate(self, model: Any) -> dict[str, float]:
        """Mean PSNR in dB of damaged pictures, before and for each prompt."""
        rows: dict[str, list[float]] = {}
        for clean, damaged in self.held:
            rows.setdefault("input", []).append(float(psnr(damaged, clean).clamp(max=50)))
            _, image = fitted(model, self.autoencoder, clean, damaged)
            for name in model.prompts:
                made = model.restored(self.autoencoder, image, name)[..., : clean.shape[2], : clean.shape[3]]
                rows.setdefault(name, []).append(float(psnr(made.cpu().clamp(0, 1), clean).clamp(max=50)))
        return {name: round(sum(values) / len(values), 3) for name, values in rows.items()}


class PromptObjective(TaskObjective):
    """One prompt; what comes before the decoder is computed without gradients."""

    def loss(self, batch: tuple[str, TaskBatch, torch.Tensor], progress: float, seed: int) -> torch.Tensor:
        """The task's own, and ANCHOR of the pixels'."""
        name, known, damaged = batch
        clean, damaged = fitted(self.model, self.autoencoder, known.clean, damaged)
        with torch.no_grad():
            start, features = self.model.encode(self.autoencoder, damaged)
            found = self.model.better(start, 1, torch.Generator().manual_seed(seed))
        made = self.model.decode(self.autoencoder, found, features, name)
        made, clean = (x[..., : known.clean.shape[2], : known.clean.shape[3]] for x in (made, clean))
        return ANCHOR * pixel_loss(made, clean) + self.served(name, made, known)


def pixel_loss(made_BCHW: torch.Tensor, clean_BCHW: torch.Tensor) -> torch.Tensor:
    """L1 of pixels and of gradients."""
    return (made_BCHW - clean_BCHW).abs().mean() + gradients(made_BCHW - clean_BCHW)


def fitted(
    model: TaskNetwork, autoencoder: Autoencoder, clean: torch.Tensor, damaged: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both where the autoencoder is, extended to the sizes that the network takes."""
    return tuple(pad_to_multiple(x.to(autoencoder.device), model.multiple) for x in (clean, damaged))  # type: ignore[return-value]


def train_tasks(
    images: str | Path,
    run: Run,
    tasks: Sequence[str] = (PERCEPTION,),
    autoencoder: str | Path = "built-in",
    val: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    reader: Path | None = None,
    report: Report = lambda row: None,
) -> Path:
    """Train all parts on a frozen autoencoder and write `run.out`/weights.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training; its samples are crops of 64x64 px.
        tasks: Names of those that are trained together; perception is always among them.
        autoencoder: `built-in`, a folder or a hub name.
        val: Folder of others, for validation.
        options: Of `TaskNetwork`: sizes, `prior`, ablations.
        reader: Folder of the recogniser's file, for `reading`.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from, an option that is unknown.
        OSError: For an autoencoder or a prior that cannot be loaded.
        MissingExtra: For a task whose packages are not installed.
    """
    torch.manual_seed(run.seed)
    torch.set_num_threads(run.threads)
    frozen = Autoencoder.from_pretrained(autoencoder).to(run.device)
    photographs, held_out = read_folder(images), list(read_folder(val, HELD).values()) if val else []
    chosen = {name: task_named(name, reader=reader) for name in dict.fromkeys((PERCEPTION, *tasks))}
    network = TaskNetwork.of(frozen, **(options or {}))
    start_of(network, frozen, photographs, list(chosen), run.seed)
    objective = TaskObjective(network, frozen, chosen, photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(network)
    words = " ".join(f"--task {name}" for name in chosen)
    card = card_of(engine, images, len(photographs), f"rnr train tasks --images DIR {words}", figures)
    return export(network.cpu(), autoencoder, run.out / "weights", card)


def start_of(
    network: TaskNetwork,
    autoencoder: Autoencoder,
    photographs: Mapping[str, np.ndarray],
    names: Sequence[str],
    seed: int,
) -> None:
    """Statistics of the features, and a prompt for each task, each drawn anew: they are to differ."""
    generator = torch.Generator().manual_seed(seed)
    crops = random_crops(list(photographs.values()), MEASURED, (128, 128), generator)
    clean, _ = fitted(network, autoencoder, crops, crops)
    torch.nn.Module.to(network, autoencoder.device)
    network.measure(autoencoder, clean)
    length = int(network.config["prompt"])
    for name in names:
        network.prompts[name] = torch.nn.Parameter(torch.randn(length, generator=generator).to(autoencoder.device))


def train_prompt(
    name: str,
    folder: str | Path,
    images: str | Path,
    run: Run,
    task: Downstream,
    val: str | Path | None = None,
    report: Report = lambda row: None,
) -> Path:
    """Train the prompt of one task, and write `run.out`/weights: the folder as it was, with one file more.

    Args:
        name: Of the task, and of the prompt's file.
        folder: A restorer of tasks.
        images: Folder of undamaged photographs.
        run: Settings of the training.
        task: What the restored pictures are for.
        val: Folder of others, for validation.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a name that cannot be a file's, a folder without photographs, nothing to resume from.
        OSError: For a folder that is no restorer of tasks.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"{name}: the name of a task is letters, digits, - and _")
    torch.manual_seed(run.seed)
    torch.set_num_threads(run.threads)
    network, _ = load_network(Path(folder))
    if not len(network.fusers):
        raise ValueError(f"{folder}: has no TFA (an ablation), so that a prompt changes nothing; name another folder")
    frozen = Autoencoder.from_pretrained(autoencoder_of(Path(folder))).to(run.device)
    photographs, held_out = read_folder(images), list(read_folder(val, HELD).values()) if val else []
    network.requires_grad_(False)
    network.add_prompt(name, run.seed).requires_grad_(True)
    objective = PromptObjective(network, frozen, {name: task}, photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(network)
    card = card_of(engine, images, len(photographs), f"rnr train task {name} --images DIR", figures)
    out = run.out / "weights"
    if out.resolve() != Path(folder).resolve():
        shutil.copytree(folder, out, dirs_exist_ok=True)
    save_prompt(network, name, out, card)
    return out
