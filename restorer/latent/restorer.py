"""`LatentRestorer`: IQPIR as a restorer, degraded picture -> codes of one as good as is asked for -> picture.

    restorer = rnr.restorer.load("runs/codes/weights")
    result = restorer.restore(pixels_HWC3, record, Intent(quality=90))

Whatever was diagnosed is undone at once; what decides is the score that is asked for, 100 where nobody asks. Where the
diagnosis finds nothing, the same array comes back, as it does from the bridge.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.degradation.intent import Intent, checked_quality, refuse_task
from rnr.degradation.kind import kinds
from rnr.degradation.strength import FULL
from rnr.restorer.condition import left_alone, wanted
from rnr.restorer.latent.autoencoder import MARGIN, TILE, Autoencoder
from rnr.restorer.latent.codes import CODES, WINDOW, CodePredictor, autoencoder_of, load_predictor, restored
from rnr.restorer.network_file import hash_of_weights
from rnr.restorer.result import RestoreResult
from rnr.restorer.tiling import tiled

BEST = 100.0  # the quality where nobody asks for another


class AtOnce(ABC):
    """A restorer that undoes everything at once, by a dial of its own.

    Args:
        autoencoder: Pictures to latents and back.
        network: What is trained on it.
        identity: `model` and `model_hash`.

    Attributes:
        steps: Where nobody asks for another number.
        name: As records have it where `identity` gives none.
        channels: Name of the latent's channels in the network's config.
        misfit: What an error calls a network of another autoencoder, and the command that trains one.

    Raises:
        ValueError: For a network of another autoencoder.
    """

    steps = 1
    name: str
    channels: str
    misfit: tuple[str, str]

    def __init__(self, autoencoder: Autoencoder, network: Any, identity: Mapping[str, Any] | None = None) -> None:
        channels, factor = network.config[self.channels], network.config["factor"]
        if (channels, factor) != (autoencoder.channels, autoencoder.factor):
            what, command = self.misfit
            raise ValueError(
                f"{what} {channels} channels at 1/{factor} do not fit an autoencoder of {autoencoder.channels} at "
                f"1/{autoencoder.factor}; train them on it ({command})"
            )
        self.autoencoder, self.network = autoencoder.eval(), network.eval()
        self.identity: dict[str, Any] = dict(identity or {"model": self.name, "model_hash": ""})

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> Self:
        """A folder that holds the network's weights and model_index.json, which names the autoencoder.

        Raises:
            OSError: For what is missing or broken; it names the file and the remedy.
        """
        folder = Path(name)
        network = cls.network_of(folder)
        autoencoder = Autoencoder.from_pretrained(autoencoder_of(folder)).to(device)
        identity = {"model": f"restorer {name}", "model_hash": hash_of_weights(network, autoencoder)}
        return cls(autoencoder, torch.nn.Module.to(network, device), identity)

    @staticmethod
    @abstractmethod
    def network_of(folder: Path) -> torch.nn.Module:
        """The network of a folder, on the CPU. Raises OSError."""

    @property
    def kinds(self) -> list[str]:
        """The kinds of degradation that can be removed, in order of formation."""
        return list(kinds())

    @abstractmethod
    def dials(self, intent: Intent | None, num_inference_steps: int | None, seed: int) -> dict[str, Any]:
        """What `shown` is to be asked for. Raises SetupError for what this restorer cannot be asked for."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Height and width of what it computes at once are multiples of this."""

    @abstractmethod
    def computed(self, image_BCHW: torch.Tensor, **dials: Any) -> torch.Tensor:
        """A tile, where the autoencoder is, restored, in [0, 1]."""

    @torch.no_grad()
    def shown(self, image_1CHW: torch.Tensor, tile: int = TILE, **dials: Any) -> torch.Tensor:
        """A picture of any size, restored, in [0, 1]."""

        def part(image_BCHW: torch.Tensor) -> torch.Tensor:
            return self.computed(image_BCHW.to(self.autoencoder.device), **dials)

        return tiled(part, [image_1CHW], tile, self.multiple, MARGIN)

    def restore(
        self,
        pixels_HWC3: np.ndarray,
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        tile: int = TILE,
        callback_on_step_end: Callable[[Any, int, float, dict[str, Any]], None] | None = None,
    ) -> RestoreResult:
        """Restore one picture.

        Args:
            pixels_HWC3: Float in [0, 1], of any size.
            source: What was diagnosed: whether there is anything to do. None: there is.
            intent: `quality` is the score that the result is to have, or `task` what it is for, as the restorer goes;
                `strength` blends it with what came in.
            num_inference_steps, seed: Of restorers with a sampler.
            eta: Of restorers with stochastic steps; here there are none.
            tile: Core of a tile in px.
            callback_on_step_end: Gets (self, 0, 1.0, {"sample", "estimate", "kinds"}).

        Raises:
            SetupError: For kinds or a strength by kind in the intent, which this restorer cannot tell apart; for a
                dial that it has not, or a value that the dial has not.
            ValueError: For a record without a diagnosis.
        """
        began, strength = time.perf_counter(), refused(intent)
        dials = self.dials(intent, num_inference_steps, seed)
        settings = {**self.identity, "num_inference_steps": self.steps, "seed": seed, "tile": tile, **dials}
        settings["intent"] = None if intent is None else vars(intent)
        settings["left_alone"] = left_alone(source, intent)
        names = wanted(source, intent) if source is not None else self.kinds
        if not names or strength == 0:
            return RestoreResult(pixels_HWC3=pixels_HWC3, untouched=True, settings=settings, seconds=0.0)
        image = torch.from_numpy(np.ascontiguousarray(pixels_HWC3, dtype=np.float32)).permute(2, 0, 1)[None]
        made = torch.lerp(image, self.shown(image, tile=tile, **dials), strength / 100)
        if callback_on_step_end is not None:
            callback_on_step_end(self, 0, 1.0, {"sample": image, "estimate": made, "kinds": tuple(names)})
        pixels = np.ascontiguousarray(made[0].permute(1, 2, 0).numpy())
        return RestoreResult(
            pixels_HWC3=pixels, untouched=False, settings=settings, seconds=time.perf_counter() - began
        )


class LatentRestorer(AtOnce):
    """`restore` by codes of a quality; its network is a `CodePredictor`. One step: codes are predicted at once.

    Args:
        autoencoder: Pictures to latents and back.
        network: The `CodePredictor`, trained on that autoencoder.
        identity: `model` and `model_hash`.

    Raises:
        ValueError: For codes of another autoencoder.

    Example:
        With weights of `rnr train codes` (docs/latent.md):

        >>> restorer = LatentRestorer.from_pretrained("runs/codes/weights")  # doctest: +SKIP
        >>> result = restorer.restore(pixels_HWC3, record, Intent(quality=90))  # doctest: +SKIP
    """

    name, channels, misfit = "latent", "channels", ("codes of", "rnr train codes")

    @property
    def predictor(self) -> CodePredictor:
        """The Transformer, with its codebooks."""
        return self.network

    @staticmethod
    def network_of(folder: Path) -> CodePredictor:
        """See `AtOnce.network_of`."""
        return load_predictor(folder / CODES)[0]

    def dials(self, intent: Intent | None, num_inference_steps: int | None, seed: int) -> dict[str, Any]:
        """The quality; nothing is drawn, and codes are predicted at once."""
        refuse_task(intent, self.identity["model"])
        return {"quality": checked_quality(intent.quality if intent else None, BEST)}

    @property
    def multiple(self) -> int:
        """Whole windows of the latent."""
        return WINDOW * self.autoencoder.factor

    def computed(self, image_BCHW: torch.Tensor, quality: float = BEST) -> torch.Tensor:  # type: ignore[override]
        """At this quality."""
        return restored(self.predictor, self.autoencoder, image_BCHW, quality)


def refused(intent: Intent | None) -> float:
    """The strength 0..100. SetupError for what a restorer that undoes everything at once cannot do."""
    if intent is None:
        return FULL
    if intent.kinds is not None or isinstance(intent.strength, Mapping):
        raise SetupError("the latent restorer undoes everything at once: leave out --only and strengths by kind, or "
                         "name another restorer (--restorer built-in)")  # fmt: skip
    return float(intent.strength)
