"""`RestorePipeline`: image + Diagnosis -> image, in diffusers' format.

    pipe = RestorePipeline.from_pretrained("built-in")
    result = pipe.restore(pixels_HWC3, record)          # float32 in [0, 1]; a DiagnosisRecord, a Diagnosis or None

The module paths of this package stand in model_index.json: they are part of the file format.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.files import hash_of
from rnr.degradation.intent import Intent, checked_quality, refuse_quality, refuse_task
from rnr.degradation.kind import kinds
from rnr.degradation.protocols import Diagnoser
from rnr.restorer.all_in_one import estimator
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.chain import (
    Estimate,
    Leg,
    certain_severity,
    dose_of,
    middle,
    removed_severity,
    route,
    severity_given,
    walk,
)
from rnr.restorer.condition import beyond, encode, left_alone, wanted
from rnr.restorer.doses import Doses
from rnr.restorer.estimates import by_tiles, estimate_of
from rnr.restorer.expert import Experts
from rnr.restorer.images import as_type, images_of
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.result import RestorePipelineOutput, RestoreResult
from rnr.restorer.tiling import MARGIN

if TYPE_CHECKING:
    from rnr.restorer.latent.quality_adapter import QualityAdapter

MOVED = {"restorer.network": "rnr.restorer.network", "restorer.bridge": "rnr.restorer.bridge"}  # in older folders
BUILT_IN = Path(__file__).parent / "weights"
TILE = 768  # px; with the margins of the network without experts 1.9 times the picture is computed (at 512 2.4 times)

Callback = Callable[["RestorePipeline", int, float, dict], None]


@dataclass(frozen=True)
class Call:
    """What one call of the pipeline goes by. It lives in the call: threads may share a pipeline."""

    source: Diagnosis | DiagnosisRecord | None
    intent: Intent | None
    steps: int
    eta: float
    generator: torch.Generator
    tile: int
    callback: Callback | None
    hidden: Mapping[str, torch.Tensor]


class RestorePipeline(DiffusionPipeline):
    """The bridge along the diagnosed chain: an expert for each kind that has one, a network for all others.

    An optional autoencoder, one of diffusers' (`rnr.restorer.latent.Autoencoder` wraps it), is kept and saved with the
    rest, for restorers in a latent space. The built-in weights work on pixels. Set `diagnoser`, such as
    `rnr.reasoner.load()`, and images that come without a diagnosis are diagnosed by it; it is not saved with the rest.
    Nor is `quality_adapter` (`rnr.restorer.latent.load_adapter`): with it a quality can be asked for.

    Args:
        network: Restores where no diagnosis is given, and kinds without an expert; or None, as in the built-in one.
        scheduler: The step of the bridge.
        experts: By kind.
        autoencoder: Of diffusers, for latent restorers.
        doses: How far the legs of estimated findings go; None: all the way.

    Example:
        >>> import rnr.restorer
        >>> from PIL import Image
        >>> pipe, photo = rnr.restorer.load("built-in"), Image.open("photo.jpg")
        >>> pipe(photo, rnr.diagnose(photo)).images[0].size == photo.size
        True
    """

    _optional_components = ["experts", "network", "autoencoder", "doses"]
    model_cpu_offload_seq = "autoencoder->network->doses->experts"  # type: ignore[assignment]
    steps = 1  # of each leg, where nobody asks for another number

    def __init__(
        self,
        network: RestorerNetwork | None,
        scheduler: BridgeScheduler,
        experts: Experts | None = None,
        autoencoder: Any = None,
        doses: Doses | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            network=network, scheduler=scheduler, experts=experts, autoencoder=autoencoder, doses=doses
        )
        self.identity = {"model": "untitled", "model_hash": ""}
        self.diagnoser: Diagnoser | None = None
        self.quality_adapter: QualityAdapter | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of degradation that can be removed, in order of formation."""
        known = set(self.network.layout.factors) if self.network else set()
        return [name for name in kinds() if name in known or name in (self.experts or ())]

    @property
    def needs_diagnosis(self) -> bool:
        """Whether it restores only where a diagnosis is given."""
        return self.network is None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path, **options: Any
    ) -> RestorePipeline:
        """`built-in`, or a folder in diffusers' format. OSError names what is missing or broken."""
        folder = folder_of(name)
        if folder == BUILT_IN and not (folder / "model_index.json").exists():
            raise OSError(f"{folder}: the built-in restorer's weights are missing; install the package again")
        dtype = options.pop("torch_dtype", None) or options.get("dtype") or torch.float32
        options["dtype"] = dtype
        diffusers_logging.disable_progress_bar()  # two small files
        try:
            pipe = super().from_pretrained(str(folder), **options)
        except Exception as error:
            raise OSError(f"{name}: cannot load a restorer from here ({error}); it needs model_index.json, "
                          "scheduler/, experts/ or network/ as `rnr train` writes them") from error  # fmt: skip
        if pipe.network is not None:
            pipe.network.to(memory_format=torch.channels_last).eval()
        pipe.identity = {"model": f"restorer {name}", "model_hash": hash_of(folder.glob("*/*.safetensors"))}
        if dtype is not torch.float32:
            pipe.identity["dtype"] = str(dtype).removeprefix("torch.")
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
        callback_on_step_end: Callback | None = None,
        hidden: Mapping[str, torch.Tensor] | None = None,
    ) -> RestoreResult:
        """Restore one picture, leg by leg.

        Args:
            pixels_HWC3: Float in [0, 1], of any size.
            source: What was diagnosed. Of a record the reasoner's presence decides which legs run and the picture how
                far; the severities of a Diagnosis are obeyed. None: without a diagnosis, where there is a network
                that was trained for that.
            intent: What is wanted of it.
            num_inference_steps: Steps of each leg, 1 to 100.
            seed: For `eta` > 0.
            eta: 0 for the deterministic sampler, more for stochastic steps.
            tile: Core of a tile in px.
            callback_on_step_end: Gets (pipe, step, t, {"sample", "estimate", "kinds"}); steps count over all legs.
            hidden: By kind, (1, D): what its expert is conditioned on beside the numbers (`rnr.unified`).

        Returns:
            The pixels, and what each leg did. Where nothing is to be removed, the same array comes back.

        Raises:
            ValueError: For a record without a diagnosis, for None without such a network, or a number of steps outside
                1..100; SetupError for a quality without an adapter, or for a task, which only latent restorers can be
                asked for.
        """
        hidden, conditioned = self._by_quality(intent, hidden)
        refuse_task(intent, self.identity["model"])
        started, steps = time.perf_counter(), num_inference_steps or self.steps
        settings = {**self.identity, "num_inference_steps": steps, "seed": seed, "eta": eta, "tile": tile}
        settings |= self._about(source, intent) | conditioned
        planned = self._route(source, intent)
        if not planned:
            return RestoreResult(pixels_HWC3=pixels_HWC3, untouched=True, settings=settings, seconds=0.0)
        generator = torch.Generator().manual_seed(seed)
        call = Call(source, intent, steps, eta, generator, tile, callback_on_step_end, hidden)
        image = torch.from_numpy(np.ascontiguousarray(pixels_HWC3, dtype=np.float32)).permute(2, 0, 1)[None]
        legs = []
        for number, names in enumerate(planned):
            image, leg = self._leg(image, names, number, call)
            legs.append(leg)
        settings["legs"] = [asdict(leg) for leg in legs]
        pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
        seconds = time.perf_counter() - started
        return RestoreResult(pixels_HWC3=pixels, untouched=False, settings=settings, seconds=seconds, legs=legs)

    def __call__(
        self,
        image: Any,
        diagnosis: Any = None,
        num_inference_steps: int | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        intent: Intent | None = None,
        eta: float = 0.0,
        callback_on_step_end: Callback | None = None,
    ) -> RestorePipelineOutput:
        """Restore images as a diffusers pipeline does.

        Args:
            image: A PIL image, an array (H, W, 3) or (B, H, W, 3), a tensor (3, H, W) or (B, 3, H, W), or a list of
                them; uint8, or float in [0, 1].
            diagnosis: A Diagnosis or a record for each image, or one for a single image; None: `diagnoser` makes them.
            num_inference_steps: Steps of each leg.
            generator: For `eta` > 0; its initial seed is used, so that an image alone and in a list is the same.
            output_type: "pil", "np" (B, H, W, 3) or "pt" (B, 3, H, W); a list where the sizes differ.
            intent: What is wanted of the diagnosis.
            eta: 0 for the deterministic sampler.
            callback_on_step_end: See `restore`.

        Returns:
            The images, and the legs of each.

        Raises:
            ValueError: Without a diagnosis for each image, and without `diagnoser`.
        """
        pictures = list(images_of(image))
        given = self._given(pictures, diagnosis)
        seed = generator.initial_seed() if generator else 0
        results = [
            self.restore(picture, source, intent, num_inference_steps, seed, eta, TILE, callback_on_step_end)
            for picture, source in zip(pictures, given)
        ]
        pixels = [result.pixels_HWC3 for result in results]
        return RestorePipelineOutput(images=as_type(pixels, output_type), legs=[result.legs for result in results])

    def _given(self, pictures: list[Any], diagnosis: Any) -> list[DiagnosisRecord | Diagnosis]:
        """A diagnosis for each picture, by `diagnoser` where none is given. Raises ValueError where one has none."""
        if diagnosis is None and self.diagnoser is not None:
            diagnosis = self.diagnoser.diagnose(pictures)
        given = list(diagnosis) if isinstance(diagnosis, list | tuple) else [diagnosis]
        if len(given) != len(pictures) or any(source is None for source in given):
            problem = f"{len(pictures)} images need as many diagnoses"
            raise ValueError(f"{problem}: give diagnosis=…, made by rnr.diagnose(image), or set pipe.diagnoser")
        return given

    def _by_quality(
        self, intent: Intent | None, hidden: Mapping[str, torch.Tensor] | None
    ) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """What the experts are conditioned on, and, where that is a quality, for the settings by which adapter."""
        adapter = self.quality_adapter
        if adapter is None or intent is None or intent.quality is None:
            refuse_quality(intent, self.identity["model"])
            return hidden or {}, {}
        quality = checked_quality(intent.quality)
        return adapter.hidden(quality), {"quality": quality, "quality_adapter": dict(adapter.identity)}

    def _about(self, source: DiagnosisRecord | Diagnosis | None, intent: Intent | None) -> dict[str, Any]:
        """For the settings of a result: what was wanted, and which findings nothing is done about."""
        known = self.kinds
        unsure = {kind: p for kind, p in left_alone(source, intent).items() if kind in known}
        wanted = None if intent is None else vars(intent)
        return {"intent": wanted, "left_alone": unsure, "beyond": beyond(source, known)}

    def _route(self, source: DiagnosisRecord | Diagnosis | None, intent: Intent | None) -> list[tuple[str, ...]]:
        """The legs; without a diagnosis, one of the network that was trained for that case."""
        if source is not None:
            return route(source, intent, self.kinds, self.experts or ())
        if self.needs_diagnosis:
            raise ValueError("experts restore by a diagnosis: make one with rnr.diagnose(image), or write one by hand")
        return [tuple(self.kinds)]

    @torch.no_grad()
    def _leg(self, start: torch.Tensor, names: tuple[str, ...], number: int, call: Call) -> tuple[torch.Tensor, Leg]:
        """One leg of a picture (1, 3, H, W): its end, limited to [0, 1], and what it did."""
        began = time.perf_counter()
        alone = names[0] if len(names) == 1 and names[0] in (self.experts or ()) else None
        estimate = self._expert(alone, call) if alone else self._all_in_one(start, names, call)
        asked = certain_severity(call.source, alone) if alone and call.source is not None else None
        strength = call.intent.strength_of(names[0]) / 100 if call.intent else 1.0
        dose, sample = 0.0, start

        def chosen(end: torch.Tensor) -> float:
            nonlocal dose
            dose = strength * dose_of(asked, lambda: self._shown_severity(alone, start, end))
            if alone and asked is None:
                dose *= self._learned_dose(alone, call.source)
            return dose

        for index, (t, _, sample, end) in enumerate(
            walk(start, estimate, self.scheduler, call.steps, chosen, call.eta, call.generator)
        ):
            if call.callback is not None:
                call.callback(self, number * call.steps + index, t, {"sample": sample, "estimate": end, "kinds": names})
        sample = sample.clamp(0, 1)
        severity = severity_given(call.source, names[0]) if len(names) == 1 else None
        change = 255 * float((sample - start).abs().mean())
        seconds = time.perf_counter() - began
        return sample, Leg(names, dose, severity, removed_severity(start, sample), change, seconds)

    def _shown_severity(self, kind: str | None, start: torch.Tensor, end: torch.Tensor) -> float:
        """The severity of a kind that a picture shows: as its expert reads it, else by what the leg would remove."""
        expert = self.experts[kind] if kind else None
        if expert is None or not expert.config["reads"]:
            return removed_severity(start, end)
        seen = middle(start)
        height, width = (side - side % expert.multiple for side in seen.shape[-2:])
        if not height or not width:
            return removed_severity(start, end)
        return float(expert.severity(seen[..., :height, :width].to(expert.device)))

    def _learned_dose(self, kind: str, source: Diagnosis | DiagnosisRecord | None) -> float:
        """Of a leg by an estimated finding; 1 where no doses were learned."""
        belief = source.belief(kind) if self.doses is not None and isinstance(source, DiagnosisRecord) else None
        return 1.0 if belief is None else self.doses.dose(kind, belief)

    def _expert(self, kind: str, call: Call) -> Estimate:
        """Whole pictures through the expert of a kind."""
        return estimate_of(self.experts[kind], call.source, call.tile, call.hidden.get(kind))

    def _shown(self, names: tuple[str, ...], call: Call) -> Intent | None:
        """What the network without experts removes in a leg: its kinds, and what is only suspected, if this is its only
        leg; kinds with an expert and those of another leg are absent to it."""
        if call.source is None:
            return None
        chosen = call.intent.kinds if call.intent else None
        others = [k for k in wanted(call.source, call.intent, self.kinds) if k not in (self.experts or ())]
        suspects = [k for k in self.network.layout.factors if k not in (self.experts or ())]
        shown = suspects if set(others) == set(names) else list(names)
        if chosen is None and len(shown) == len(self.network.layout.factors):
            return None
        return Intent(kinds=[k for k in shown if chosen is None or k in chosen])

    def _all_in_one(self, start: torch.Tensor, names: tuple[str, ...], call: Call) -> Estimate:
        """Whole pictures through the network without experts, conditioned on the kinds of the leg."""
        condition = encode(self.network.layout, call.source, self._shown(names, call))
        function = estimator(self.network, condition, start, ensemble=call.steps == 1)
        return by_tiles(function, self.network, MARGIN, call.tile)


def folder_of(name: str | Path) -> Path:
    """Where the weights of this name lie: `built-in`, or a folder."""
    return BUILT_IN if str(name) == "built-in" else Path(name)
