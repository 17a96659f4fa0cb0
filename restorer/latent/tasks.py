"""UniRestore: one restorer for people and machines (Chen et al., CVPR 2025), on any autoencoder of `autoencoder.py`.

    degraded -> encoder, its features repaired by CFRM (repair.py) -> latent
    latent -> diffusion prior, its skips steered by controller and SC-Tuner (prior.py) -> better latent
    latent -> decoder, into which TFA fuses the repaired features as the task's prompt says (adapter.py) -> picture

A task is one vector: `perception` for people, `classification`, `reading`, or any other. All else is shared, so that a
task is added by a file with a vector, and nothing else is trained. Each part can be left out, for ablations.

Shapes: image_BCHW in [0, 1], latent_BDHW of the autoencoder; height and width are multiples of `multiple`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from rnr.degradation.errors import SetupError
from rnr.restorer.latent.adapter import Place, TaskAdapter, places
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.codes import WINDOW
from rnr.restorer.latent.prior import (
    TIMES,
    TOKENS,
    TURBO,
    Controller,
    Skip,
    SkipTuner,
    kept_of_signal,
    named_prior,
    run,
    skips_of,
    small_prior,
)
from rnr.restorer.latent.repair import FeatureRepair

PERCEPTION = "perception"  # the task where nobody asks for another
TASKS = (PERCEPTION, "classification", "reading")  # those that come with a loss of their own
OWN = "own"  # the prior that is part of the weights
WIDTH, BLOCKS, GATES, PROMPT = 64, 2, 48, 64  # of CFRM, of the gates, and the length of a prompt; a choice
GROUPS = 4  # of CFRM; a choice


class TaskNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """All parts but the autoencoder, and the prompts.

    Args:
        latent: Channels of a latent.
        factor: Of the autoencoder, f.
        features: Channels of each of the encoder's feature maps.
        adapters: `Place`s of the decoder, as lists.
        prior: `own`, or the folder or hub name whose `unet` is used, frozen.
        widths: Channels of the own prior at each resolution.
        width: Of CFRM, controller and gates.
        groups: Of CFRM.
        blocks: Of CFRM, for each feature map.
        gates: Channels of an adapter's cell.
        prompt: Length of a prompt.
        cfrm, controller, tfa: Whether the part is there; without, the network is an ablation.

    Example:
        >>> network = TaskNetwork.of(Autoencoder.from_pretrained("built-in"), widths=(16, 16))
        >>> network.multiple  # windows of 8 places at a quarter of the resolution
        32
    """

    @register_to_config
    def __init__(
        self,
        latent: int = 16,
        factor: int = 4,
        features: Sequence[int] = (112, 112),
        adapters: Sequence[Sequence[int]] = ((0, 1, 112, 112), (1, 0, 112, 112)),
        prior: str = OWN,
        widths: Sequence[int] = (64, 96, 128),
        width: int = WIDTH,
        groups: int = GROUPS,
        blocks: int = BLOCKS,
        gates: int = GATES,
        prompt: int = PROMPT,
        cfrm: bool = True,
        controller: bool = True,
        tfa: bool = True,
    ) -> None:
        super().__init__()
        self.unet = small_prior(latent, widths) if prior == OWN else named_prior(prior)
        if self.unet.config["in_channels"] != latent:
            raise ValueError(f"{prior}: a U-Net of {self.unet.config['in_channels']} channels does not fit an "
                             f"autoencoder of {latent}; name the autoencoder that belongs to it")  # fmt: skip
        skips: list[Skip] = skips_of(self.unet)
        self.levels = max(skip.level for skip in skips)
        self.tokens = nn.Parameter(torch.zeros(TOKENS, self.unet.config["cross_attention_dim"]))
        self.repairs = nn.ModuleList(FeatureRepair(c, width, groups, blocks) for c in features) if cfrm else None
        self.control = Controller(latent, skips, width) if controller else None
        self.tuners = nn.ModuleList(SkipTuner(skip.channels) for skip in skips) if controller else None
        self.places = [Place(*place) for place in adapters]
        self.fusers = nn.ModuleDict(
            {str(p.block): TaskAdapter(p.encoder, p.decoder, gates, prompt) for p in self.places} if tfa else {}
        )
        self.prompts = nn.ParameterDict()

    @classmethod
    def of(cls, autoencoder: Autoencoder, **options: Any) -> TaskNetwork:
        """One that fits this autoencoder, with random weights; `options` as above."""
        widths = list(autoencoder.model.config["block_out_channels"])
        shape = {"latent": autoencoder.channels, "factor": autoencoder.factor, "features": [*widths, widths[-1]]}
        return cls(**shape, adapters=[list(place) for place in places(autoencoder)], **options)

    @property
    def multiple(self) -> int:
        """Height and width in px are multiples of this: whole windows of the features, whole steps of the prior."""
        return int(self.config["factor"]) * math.lcm(WINDOW, 2**self.levels)

    @torch.no_grad()
    def add_prompt(self, name: str, seed: int = 0) -> nn.Parameter:
        """A new prompt: that of perception where there is one, else drawn from the seed."""
        start = self.prompts.get(PERCEPTION)
        if start is None:
            start = torch.randn(int(self.config["prompt"]), generator=torch.Generator().manual_seed(seed))
        self.prompts[name] = nn.Parameter(start.detach().clone())
        return self.prompts[name]

    def prompt(self, task: str) -> torch.Tensor:
        """The vector of a task. SetupError for one that was not trained."""
        if task not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise SetupError(f"no prompt of the task {task!r} here ({known}); train it: rnr train task {task}")
        return self.prompts[task]

    def encode(self, autoencoder: Autoencoder, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The repaired latent and features."""
        repairs = self.repairs
        if repairs is None:
            return autoencoder.encode(image_BCHW)
        return autoencoder.encode(image_BCHW, lambda number, x: repairs[number](x))

    def said(self, x_BDHW: torch.Tensor, start_BDHW: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        """What the steered prior says of x_t; `start` is the repaired latent, `time_B` timesteps 0..999."""
        tokens = self.tokens.expand(len(x_BDHW), -1, -1)
        if self.control is None or self.tuners is None:
            return run(self.unet, x_BDHW, time_B, tokens, lambda number, skip: skip).float()
        controls, tuners = self.control(start_BDHW), self.tuners
        return run(self.unet, x_BDHW, time_B, tokens, lambda n, skip: tuners[n](skip, controls[n])).float()

    def better(
        self, start_BDHW: torch.Tensor, steps: int = 1, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The clean latent that the prior makes of the repaired one.

        Args:
            start_BDHW: The repaired latent.
            steps: Of the bridge; Stable Diffusion's U-Net takes one.
            generator: For the noise that Stable Diffusion's U-Net is given.
        """
        if self.config["prior"] != OWN:
            return self.denoised(start_BDHW, generator)
        x = start_BDHW
        for step in range(steps):
            t = 1 - step / steps
            x = x + self.said(x, start_BDHW, times(x, t)) / steps
        return x

    def denoised(self, start_BDHW: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """In epsilon form: noise of timestep TURBO laid on, and taken away."""
        kept = kept_of_signal()
        noise = torch.randn(start_BDHW.shape, generator=generator).to(start_BDHW)
        x = kept**0.5 * start_BDHW + (1 - kept) ** 0.5 * noise
        said = self.said(x, start_BDHW, torch.full((len(x),), TURBO, device=x.device))
        return (x - (1 - kept) ** 0.5 * said) / kept**0.5

    def decode(
        self, autoencoder: Autoencoder, latent_BDHW: torch.Tensor, features: list[torch.Tensor], task: str
    ) -> torch.Tensor:
        """The picture for this task, not limited to [0, 1]; without TFA it is the same for all."""
        prompt, feature = self.prompt(task), {place.block: place.feature for place in self.places}

        def fuse(block: int, h_BCHW: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
            if str(block) not in self.fusers:
                return h_BCHW
            return self.fusers[str(block)](h_BCHW, seen[feature[block]], prompt)

        return autoencoder.decode(latent_BDHW, features, fuse)

    def restored(
        self, autoencoder: Autoencoder, image_BCHW: torch.Tensor, task: str, steps: int = 1, seed: int = 0
    ) -> torch.Tensor:
        """Pictures restored for a task, not limited to [0, 1]."""
        latent, features = self.encode(autoencoder, image_BCHW)
        latent = self.better(latent, steps, torch.Generator().manual_seed(seed))
        return self.decode(autoencoder, latent, features, task)

    @torch.no_grad()
    def measure(self, autoencoder: Autoencoder, image_BCHW: torch.Tensor) -> None:
        """Take the statistics of encoder and decoder on these pictures, by which CFRM and TFA standardise."""
        latent, features = autoencoder.encode(image_BCHW)
        repairs: Any = self.repairs or ()
        fusers: Any = self.fusers
        for repair, seen in zip(repairs, features):
            repair.standard.measure(seen)

        def look(block: int, h_BCHW: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
            for place in self.places:
                if place.block == block and str(block) in fusers:
                    fusers[str(block)].encoder.measure(seen[place.feature])
                    fusers[str(block)].decoder.measure(h_BCHW)
            return h_BCHW

        autoencoder.decode(latent, features, look)


def times(x_BDHW: torch.Tensor, t: float | torch.Tensor) -> torch.Tensor:
    """The timestep (B,) that stands for t in 0..1 of the bridge."""
    return torch.as_tensor(t, dtype=torch.float32, device=x_BDHW.device).expand(len(x_BDHW)) * (TIMES - 1)
