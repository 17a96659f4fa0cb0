"""`TaskRestorer`: UniRestore as a restorer, for people or for a machine's task.

    restorer = rnr.restorer.load("runs/tasks/weights")
    result = restorer.restore(pixels_HWC3, record, Intent(task="reading"))

Whatever was diagnosed is undone at once; what decides is the task that the result is for. Where the diagnosis finds
nothing, the same array comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rnr.degradation.errors import SetupError
from rnr.degradation.files import hash_of
from rnr.degradation.intent import RESTORE, Intent, refuse_quality
from rnr.restorer.latent.autoencoder import MARGIN, TILE, Autoencoder
from rnr.restorer.latent.codes import autoencoder_of
from rnr.restorer.latent.restorer import AtOnce
from rnr.restorer.latent.task_files import load_network
from rnr.restorer.latent.tasks import OWN, PERCEPTION, TaskNetwork
from rnr.restorer.tiling import tiled


class TaskRestorer(AtOnce):
    """`restore` for a task.

    Args:
        autoencoder: Pictures to latents and back.
        network: CFRM, prior, adapters and prompts.
        identity: `model` and `model_hash`.
    """

    def __init__(
        self, autoencoder: Autoencoder, network: TaskNetwork, identity: Mapping[str, Any] | None = None
    ) -> None:
        if network.config["latent"] != autoencoder.channels or network.config["factor"] != autoencoder.factor:
            raise ValueError(
                f"weights for {network.config['latent']} channels at 1/{network.config['factor']} do not fit an "
                f"autoencoder of {autoencoder.channels} at 1/{autoencoder.factor}; train them on it (rnr train tasks)"
            )
        self.autoencoder, self.network = autoencoder.eval(), network.eval()
        self.identity = dict(identity or {"model": "tasks", "model_hash": ""})

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> TaskRestorer:
        """A folder that holds tasks.safetensors, prompts/ and model_index.json, which names the autoencoder.

        Raises:
            OSError: For what is missing or broken; it names the file and the remedy.
        """
        folder = Path(name)
        network, _ = load_network(folder)
        autoencoder = Autoencoder.from_pretrained(autoencoder_of(folder)).to(device)
        identity = {"model": f"restorer {name}", "model_hash": hash_of(folder.rglob("*.safetensors"))}
        return cls(autoencoder, torch.nn.Module.to(network, device), identity)  # type: ignore[arg-type]

    @property
    def tasks(self) -> list[str]:
        """The tasks that there are prompts of."""
        return sorted(self.network.prompts)

    @property
    def multiple(self) -> int:
        """Height and width of what it computes at once are multiples of this."""
        return self.network.multiple

    def dials(self, intent: Intent | None, num_inference_steps: int | None, seed: int) -> dict[str, Any]:
        """The task and the sampler's settings. SetupError for a task without a prompt, more steps than there are."""
        refuse_quality(intent, self.identity["model"])
        task = intent.task if intent is not None and intent.task != RESTORE else PERCEPTION
        self.network.prompt(task)
        steps = num_inference_steps or self.steps
        if steps > 1 and self.network.config["prior"] != OWN:
            raise SetupError(f"the prior {self.network.config['prior']} takes one step, not {steps}")
        return {"task": task, "num_inference_steps": steps, "seed": seed}

    @torch.no_grad()
    def shown(  # type: ignore[override]
        self, image_1CHW: torch.Tensor, task: str = PERCEPTION, num_inference_steps: int = 1, seed: int = 0,
        tile: int = TILE,
    ) -> torch.Tensor:  # fmt: skip
        """A picture of any size, restored for this task, in [0, 1]."""

        def part(image_BCHW: torch.Tensor) -> torch.Tensor:
            image = image_BCHW.to(self.autoencoder.device)
            return self.network.restored(self.autoencoder, image, task, num_inference_steps, seed).clamp(0, 1)

        return tiled(part, [image_1CHW], tile, self.multiple, MARGIN)
