"""Qwen-Image-Edit (Plus) as a restorer: the Diagnosis becomes the edit prompt, the loop is `edit_flow`.

    restorer = QwenEditRestorer.from_pretrained("Qwen/Qwen-Image-Edit-2509", device="cuda", offload="model")
    result = restorer.restore(pixels_HWC3, record)

It generates at about one megapixel and is resized back, which the settings of every result record. It is also a policy
for reinforcement learning: `rollout` draws, `log_prob` scores again with gradients, `decode` makes pictures.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ProcessorMixin, Qwen2VLProcessor

from rnr import prompts
from rnr.degradation.arithmetic import dtype_named
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.intent import Intent, refuse_quality, refuse_task
from rnr.restorer.bridge import BridgeStep
from rnr.restorer.condition import wanted
from rnr.restorer.edit_flow import EditInput, flow_step, image_of, look, sigmas_of, start, velocity
from rnr.restorer.result import RestoreResult

PROMPT = "restore_edit"
AREA = 1024 * 1024  # px, what the weights were trained at
LORA_FILE = "pytorch_lora_weights.safetensors"
OUT_OF_MEMORY = 'set offload = "model" (or "sequential"), vae_tiling = true or a smaller area for this restorer'
Callback = Callable[[Any, int, float, dict], None]


class EditProcessor(Qwen2VLProcessor):
    """The text encoder's processor for pictures only: transformers' own needs torchvision, for its videos."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        for name in ("image", "video"):
            setattr(self, f"{name}_token", f"<|{name}_pad|>")
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>"))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


@dataclass
class Trajectory:
    """Sampled paths of one picture: what a policy gradient needs. Shapes: samples are (B, L, C), n + 1 of them."""

    given: EditInput
    original_size: tuple[int, int]  # width, height
    sigmas: torch.Tensor  # (n + 1,)
    eta: float
    window: tuple[int, ...]  # the stochastic steps
    samples: list[torch.Tensor]
    stds: list[float]  # of each step of the window
    log_probs: torch.Tensor  # (len(window), B)


class QwenEditRestorer:
    """Qwen-Image-Edit as a restorer (see the module); `from_pretrained` makes one.

    Args:
        pipe: An assembled `QwenImageEditPlusPipeline`.
        name: As records name it.
        area: Pixels at which it generates; the result is resized back.
        num_inference_steps: Where nobody asks for another number.
        guidance: True classifier-free guidance scale; 1 is none.

    Example:
        With a GPU and the weights:

        >>> weights = "Qwen/Qwen-Image-Edit-2509"
        >>> restorer = QwenEditRestorer.from_pretrained(weights, device="cuda", offload="model")  # doctest: +SKIP
        >>> result = restorer.restore(pixels_HWC3, record)  # doctest: +SKIP
    """

    def __init__(
        self, pipe: Any, name: str = "untitled", area: int = AREA, num_inference_steps: int = 40, guidance: float = 4.0
    ):
        self.pipe, self.area, self.steps, self.guidance = pipe, area, num_inference_steps, guidance
        self.identity: dict[str, Any] = {"model": f"restorer {name}", "model_hash": ""}
        pipe.set_progress_bar_config(disable=True)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str = "cpu",
        dtype: str | None = None,
        offload: str | None = None,
        lora: str | Path | None = None,
        vae_tiling: bool = False,
        **options: Any,
    ) -> QwenEditRestorer:
        """A folder in diffusers' format or a hub name. `dtype`: bfloat16 on a GPU, float32 on a CPU unless given.

        `offload`: None, "model" (a part at a time on the GPU) or "sequential" (a layer at a time: slow, smallest).
        `lora`: a folder that `rnr train restorer --model` wrote. OSError names what is missing or does not fit,
        MemoryError the settings to turn.
        """
        from diffusers import QwenImageEditPlusPipeline

        loaded = {"dtype": dtype_named(dtype, device)}
        try:
            with enough_memory():
                pipe: Any = QwenImageEditPlusPipeline.from_pretrained(str(name), **loaded, **_processor(str(name)))
        except MemoryError:
            raise
        except Exception as error:
            raise OSError(f"{name}: cannot load Qwen-Image-Edit from here ({error})") from error
        if lora:
            load_lora(pipe, lora)
        if vae_tiling:
            pipe.vae.enable_tiling()
        with enough_memory():
            _place(pipe, device, offload)
        made = cls(pipe, str(name), **options)
        made.identity |= {"dtype": str(loaded["dtype"]).removeprefix("torch."), "lora": str(lora or "")}
        return made

    def restore(
        self,
        pixels_HWC3: np.ndarray,
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        callback_on_step_end: Callback | None = None,
    ) -> RestoreResult:
        """As `RestorePipeline.restore`; `num_inference_steps` None takes the restorer's own (`steps`).

        Nothing found: the same array. Raises MemoryError that names the settings to turn.
        """
        refuse_quality(intent, self.identity["model"])
        refuse_task(intent, self.identity["model"])
        began, steps = time.perf_counter(), num_inference_steps or self.steps
        prompt = prompts.load(PROMPT)
        settings = {**self.identity, "num_inference_steps": steps, "seed": seed, "eta": eta, "guidance": self.guidance}
        settings |= {"prompt": prompt.name, "prompt_version": prompt.version, "intent": intent and vars(intent)}
        if source is not None and not wanted(source, intent):
            return RestoreResult(pixels_HWC3=pixels_HWC3, untouched=True, settings=settings, seconds=0.0)
        with enough_memory():
            paths = self.rollout(pixels_HWC3, source, intent, steps, (seed,), eta, callback=callback_on_step_end)
            pixels = self.decode(paths.samples[-1], paths)[0]
        height, width = pixels_HWC3.shape[:2]
        settings["text"] = edit_prompt(source, intent)
        settings["resize"] = {"from": [width, height], "to": list(paths.given.size), "back": "bicubic, antialiased"}
        return RestoreResult(
            pixels_HWC3=pixels, untouched=False, settings=settings, seconds=time.perf_counter() - began
        )

    @torch.no_grad()
    def rollout(
        self,
        pixels_HWC3: np.ndarray,
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int = 10,
        seeds: Sequence[int] = (0,),
        eta: float = 0.7,
        window: Sequence[int] | None = None,
        callback: Callback | None = None,
    ) -> Trajectory:
        """One path from noise to latents for each seed. The steps of `window` are stochastic where `eta` > 0, by
        default all but the last.

        Raises ValueError for a window with the last step, which has no variance, or with none.
        """
        window = tuple(range(num_inference_steps - 1) if window is None else window) if eta else ()
        if eta and (not window or min(window) < 0 or max(window) > num_inference_steps - 2):
            raise ValueError("a policy needs at least two steps: the last one is never stochastic")
        image = Image.fromarray((pixels_HWC3.clip(0, 1) * 255).round().astype(np.uint8))
        given = look(self.pipe, image, edit_prompt(source, intent), self.area, self.guidance > 1)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        samples, scores, stds = [start(self.pipe, given, len(seeds), generators)], [], []
        sigmas = sigmas_of(self.pipe, num_inference_steps, samples[0].shape[1])
        for index in range(num_inference_steps):
            speed = velocity(self.pipe, samples[-1], sigmas[index], given, self.guidance)
            step = flow_step(speed, samples[-1], sigmas, index, eta * (index in window), generators)
            estimate = samples[-1] - sigmas[index] * speed
            samples.append(step.prev_sample.to(samples[0].dtype))
            if step.log_prob is not None:
                scores.append(step.log_prob)
                stds.append(step.std)
            if callback is not None:
                callback(self, index, float(sigmas[index]), {"sample": samples[-1], "estimate": estimate})
        log_probs = torch.stack(scores) if scores else torch.zeros(0, len(seeds))
        return Trajectory(given, image.size, sigmas, eta, window, samples, stds, log_probs)

    def log_prob(self, paths: Trajectory, index: int) -> torch.Tensor:
        """(B,) log-probability of step `index` under the weights as they are now, with gradients."""
        log_prob = self.score(paths, index).log_prob
        assert log_prob is not None
        return log_prob

    def score(self, paths: Trajectory, index: int) -> BridgeStep:
        """The same step with its mean and spread, for a KL divergence to other weights."""
        if index not in paths.window:
            raise ValueError(f"step {index} is not stochastic; these are: {list(paths.window)}")
        speed = velocity(self.pipe, paths.samples[index], paths.sigmas[index], paths.given, self.guidance)
        return flow_step(speed, paths.samples[index], paths.sigmas, index, paths.eta, None, paths.samples[index + 1])

    def decode(self, latents_BLC: torch.Tensor, paths: Trajectory) -> np.ndarray:
        """float32 (B, H, W, 3) in [0, 1], at the picture's original size."""
        image = image_of(self.pipe, latents_BLC, paths.given.size)
        if paths.given.size != paths.original_size:
            size = (paths.original_size[1], paths.original_size[0])
            image = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
        self.pipe.maybe_free_model_hooks()
        return np.ascontiguousarray(image.permute(0, 2, 3, 1).cpu().numpy())


def edit_prompt(source: DiagnosisRecord | Diagnosis | None, intent: Intent | None = None) -> str:
    """The Diagnosis as an instruction: only what is present and wanted, in the order of the plan."""
    from rnr.degradation.kind import kinds

    diagnosis = source.diagnosis if isinstance(source, DiagnosisRecord) else source
    if diagnosis is not None:
        named = wanted(diagnosis, intent)
        order = [*(kind for kind in diagnosis.plan if kind in named), *(k for k in named if k not in diagnosis.plan)]
        diagnosis = diagnosis.model_copy(update={"plan": order})
    instruction = intent.instruction if intent else None
    return prompts.load(PROMPT).fill(diagnosis=diagnosis, kinds=kinds(), instruction=instruction)


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """A full GPU as MemoryError that names the settings to turn."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"out of memory: {OUT_OF_MEMORY}") from error


def load_lora(pipe: Any, folder: str | Path) -> None:
    """Raises OSError where there is no adapter or it was made for another base."""
    try:
        pipe.load_lora_weights(str(folder), weight_name=LORA_FILE)
    except Exception as error:  # missing file, sizes that differ, no peft: no common base
        problem = f"{folder}: this LoRA cannot be loaded ({str(error).strip().splitlines()[0]})"
        raise OSError(f"{problem}; it must hold {LORA_FILE}, trained on this model, and needs peft") from error


def _processor(name: str) -> dict[str, Any]:
    """Nothing where torchvision works: then diffusers loads transformers' own processor."""
    try:
        import torchvision  # noqa: F401
    except Exception:  # a broken torchvision raises RuntimeError
        return {"processor": EditProcessor.from_pretrained(name, subfolder="processor")}
    return {}


def _place(pipe: Any, device: str, offload: str | None) -> None:
    if offload not in (None, "model", "sequential"):
        raise OSError(f'offload is "model", "sequential" or not given, not {offload!r}')
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
