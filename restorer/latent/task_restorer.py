"""`TaskRestorer`: UniRestore as a restorer, for people or for a machine's task.

    restorer = rnr.restorer.load("runs/tasks/weights")
    result = restorer.restore(pixels_HWC3, record, Intent(task="reading"))

Whatever was diagnosed is undone at once; what decides is the task that the result is for. Where the diagnosis finds
nothing, the same array comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rnr.degradation.errors import SetupError
from rnr.degradation.intent import RESTORE, Intent, refuse_quality
from rnr.restorer.latent.restorer import AtOnce
from rnr.restorer.latent.task_files import load_network
from rnr.restorer.latent.tasks import OWN, PERCEPTION, TaskNetwork


class TaskRestorer(AtOnce):
    """`restore` for a task; its network is a `TaskNetwork`: CFRM, prior, adapters and prompts.

    Args:
        autoencoder: Pictures to latents and back.
        network: The `TaskNetwork`, trained on that autoencoder.
        identity: `model` and `model_hash`.

    Raises:
        ValueError: For a network of another autoencoder.

    Example:
        With weights of `rnr train tasks` (docs/tasks.md):

        >>> restorer = TaskRestorer.from_pretrained("runs/tasks/weights")  # doctest: +SKIP
        >>> result = restorer.restore(pixels_HWC3, record, Intent(task="reading"))  # doctest: +SKIP
    """

    name, channels, misfit = "tasks", "latent", ("weights for", "rnr train tasks")

    @staticmethod
    def network_of(folder: Path) -> TaskNetwork:
        """See `AtOnce.network_of`."""
        return load_network(folder)[0]

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

    def computed(  # type: ignore[override]
        self, image_BCHW: torch.Tensor, task: str = PERCEPTION, num_inference_steps: int = 1, seed: int = 0
    ) -> torch.Tensor:
        """For this task."""
        return self.network.restored(self.autoencoder, image_BCHW, task, num_inference_steps, seed).clamp(0, 1)
