"""`RestorePipeline`: picture + Diagnosis -> picture, in diffusers' format.

    pipe = RestorePipeline.from_pretrained("built-in")
    result = pipe.restore(pixels_HWC3, record)          # float32 in [0, 1]; a DiagnosisRecord, a Diagnosis or None

The module paths of this package stand in model_index.json: they are part of the file format.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils import logging as diffusers_logging

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.condition import Condition, Intent, encode, wanted
from rnr.restorer.network import RestorerNetwork, thumbnail
from rnr.restorer.tiling import tiled

MOVED = {"restorer.network": "rnr.restorer.network", "restorer.bridge": "rnr.restorer.bridge"}  # in older folders
BUILT_IN = Path(__file__).parent / "weights"
LARGE = 2048  # px; a larger picture is averaged down before its thumbnail is taken
TILE = 768  # px; with its margins 1.9 times the picture is computed (at 512 2.4 times, in two thirds of the memory)


@dataclass
class RestoreResult(BaseOutput):
    pixels_HWC3: np.ndarray  # float32 in [0, 1]
    untouched: bool  # nothing was found: the very array that came in
    settings: dict[str, Any]
    seconds: float


class RestorePipeline(DiffusionPipeline):
    """Network and bridge; an optional autoencoder (`encode(image) -> latent, features`, `decode(latent, features,
    condition) -> image`) puts the bridge into a latent space. The built-in weights work on pixels."""

    _optional_components = ["autoencoder"]
    model_cpu_offload_seq = "autoencoder->network"  # type: ignore[assignment]
    steps = 1  # where nobody asks for another number

    def __init__(self, network: RestorerNetwork, scheduler: BridgeScheduler, autoencoder: Any = None) -> None:
        super().__init__()
        self.register_modules(network=network, scheduler=scheduler, autoencoder=autoencoder)
        self.identity = {"model": "untitled", "model_hash": ""}

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path, **options: Any
    ) -> RestorePipeline:
        """`built-in`, or a folder in diffusers' format. OSError names what is missing or broken."""
        folder = folder_of(name)
        if folder == BUILT_IN and not (folder / "model_index.json").exists():
            raise OSError(f"{folder}: the built-in restorer's weights are missing; install the package again")
        options.setdefault("dtype", torch.float32)
        diffusers_logging.disable_progress_bar()  # two small files
        try:
            pipe = super().from_pretrained(str(folder), **options)
        except Exception as error:
            raise OSError(f"{name}: cannot load a restorer from here ({error}); it needs model_index.json, "
                          "network/ and scheduler/ as `rnr train restorer` writes them") from error  # fmt: skip
        pipe.network.to(memory_format=torch.channels_last).eval()
        pipe.identity = {"model": f"restorer {name}", "model_hash": _hash(folder)}
        return pipe

    @classmethod
    def load_config(cls, *arguments: Any, **options: Any) -> Any:
        """model_index.json, also that of a folder written when the rooms were packages of their own."""
        config: Any = super().load_config(*arguments, **options)
        for component in {"network", "scheduler"} & set(config):
            module, name = config[component]
            config[component] = [MOVED.get(module, module), name]
        return config

    def restore(
        self,
        pixels_HWC3: np.ndarray,
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        tile: int = TILE,
        callback_on_step_end: Callable[[RestorePipeline, int, float, dict], None] | None = None,
    ) -> RestoreResult:
        """Restore one picture (H, W, 3) float in [0, 1], of any size.

        `source` is what was diagnosed: a record is trusted as far as it trusts itself, a Diagnosis is obeyed, None
        means blind. Where it holds nothing present (or nothing of what `intent` wants), the same array comes back.
        `eta` > 0 makes the steps stochastic (`seed`). The callback gets (pipe, step, time, {"sample", "estimate"}).
        """
        started, num_inference_steps = time.perf_counter(), num_inference_steps or self.steps
        settings = {**self.identity, "num_inference_steps": num_inference_steps, "seed": seed, "eta": eta, "tile": tile}
        settings["intent"] = None if intent is None else vars(intent)
        if source is not None and not wanted(source, intent, self.network.layout.factors):
            return RestoreResult(pixels_HWC3=pixels_HWC3, untouched=True, settings=settings, seconds=0.0)
        condition = encode(self.network.layout, source, intent)
        image = torch.from_numpy(np.ascontiguousarray(pixels_HWC3, dtype=np.float32)).permute(2, 0, 1)[None]
        generator = torch.Generator().manual_seed(seed)
        output = self(image, condition, num_inference_steps, generator, eta, tile, callback_on_step_end)
        # In place, unless a callback may have kept it: a large picture is not copied.
        output = output.clamp_(0, 1) if callback_on_step_end is None else output.clamp(0, 1)
        pixels = np.ascontiguousarray(output[0].permute(1, 2, 0).numpy())
        seconds = time.perf_counter() - started
        return RestoreResult(pixels_HWC3=pixels, untouched=False, settings=settings, seconds=seconds)

    @torch.no_grad()
    def __call__(
        self,
        image_1CHW: torch.Tensor,
        condition: Condition,
        num_inference_steps: int = 1,
        generator: torch.Generator | None = None,
        eta: float = 0.0,
        tile: int = TILE,
        callback_on_step_end: Callable[[RestorePipeline, int, float, dict], None] | None = None,
    ) -> torch.Tensor:
        """The sampling loop: (1, 3, H, W) degraded to (1, 3, H, W) restored."""
        scheduler = self.scheduler
        scheduler.set_timesteps(num_inference_steps)
        looks = [overview(image_1CHW)]
        if num_inference_steps == 1:  # more steps are for texture, which an average would take away
            looks.append(turned(looks[0]))
        degraded, features = self.autoencoder.encode(image_1CHW) if self.autoencoder else (image_1CHW, None)
        sample = degraded
        for index, t in enumerate(scheduler.times[:-1]):
            estimate = self.estimate(sample, degraded, condition, t, looks, tile)
            sample = scheduler.step(estimate, index, sample, eta, generator).prev_sample
            if callback_on_step_end is not None:
                callback_on_step_end(self, index, t, {"sample": sample, "estimate": estimate})
        return self.autoencoder.decode(sample, features, condition) if self.autoencoder else sample

    def estimate(
        self,
        sample: torch.Tensor,
        degraded: torch.Tensor,
        condition: Condition,
        t: float,
        looks: Sequence[torch.Tensor],
        tile: int,
    ) -> torch.Tensor:
        """The network's estimate of the clean picture (1, 3, H, W) at time t, tile by tile.

        `looks`: its overview, and, for the mean of two estimates, the overview of the picture upside down. Half a turn
        changes no angle of a streak or a blur (self-ensemble: Lim et al., EDSR, CVPRW 2017, section 3.3).
        """
        device = self.network.device
        condition = condition.to(device)
        steers = [self.network.steer(condition, torch.tensor([t], device=device), look.to(device)) for look in looks]

        def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            views = [x.to(device), y.to(device)]
            views.append(self.network.inverted(views[1], condition, *steers))
            estimate = self.network(*views, steers[0])
            if len(steers) > 1:
                upside_down = turned(self.network(*map(turned, views), steers[1]))
                estimate = torch.lerp(estimate, upside_down, 0.5)
            return estimate

        return tiled(run, [sample, degraded], tile, self.network.multiple)


def folder_of(name: str | Path) -> Path:
    """Where the weights of this name lie: `built-in`, or a folder."""
    return BUILT_IN if str(name) == "built-in" else Path(name)


def turned(image_BCHW: torch.Tensor) -> torch.Tensor:
    """By half a turn."""
    return image_BCHW.flip(-2, -1)


def overview(image_1CHW: torch.Tensor) -> torch.Tensor:
    """The thumbnail that the network is shown of the whole picture, in bounded memory."""
    step = max(1, max(image_1CHW.shape[-2:]) // LARGE)
    if step > 1:
        image_1CHW = torch.nn.functional.avg_pool2d(image_1CHW, step)
    return thumbnail(image_1CHW)


def _hash(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 of the network's weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("network/*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
