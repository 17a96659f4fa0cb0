"""Any diffusers image-to-image pipeline as a restorer, with the same edit prompt.

    DiffusersRestorer.from_pretrained("black-forest-labs/FLUX.1-Kontext-dev", call={"_auto_resize": False})

The pipeline must take `image` and `prompt` and give `.images`; `call` holds what else it wants (guidance_scale, ...).
Measured by the same tables as every other restorer; nothing here says that such a model keeps a photograph's content.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rnr.degradation.arithmetic import dtype_named
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.intent import Intent, refuse_quality, refuse_task
from rnr.restorer.condition import wanted
from rnr.restorer.qwen_edit import edit_prompt, enough_memory
from rnr.restorer.result import RestoreResult


class DiffusersRestorer:
    """`restore` over any image-to-image pipeline. The original size comes back whatever size the pipeline gives.

    Args:
        pipe: A diffusers pipeline whose call takes `image`, `prompt` and `generator`, and gives `.images`.
        name: As records name it.
        num_inference_steps: Where nobody asks for another number.
        call: What else its call takes, such as {"guidance_scale": 2.5}.

    Raises:
        ValueError: For a pipeline whose call lacks one of these; it names what is missing.

    Example:
        >>> class Pipe:  # in practice DiffusersRestorer.from_pretrained("black-forest-labs/FLUX.1-Kontext-dev")
        ...     def __call__(self, image, prompt, num_inference_steps, generator):
        ...         return type("Output", (), {"images": [image.resize((64, 64))]})
        ...     def set_progress_bar_config(self, disable): ...
        >>> result = DiffusersRestorer(Pipe()).restore(np.zeros((40, 50, 3), np.float32), None)
        >>> result.pixels_HWC3.shape
        (40, 50, 3)
    """

    def __init__(
        self, pipe: Any, name: str = "untitled", num_inference_steps: int = 28, call: Mapping[str, Any] | None = None
    ):
        self.pipe, self.name, self.steps, self.call = pipe, name, num_inference_steps, dict(call or {})
        self.identity: dict[str, Any] = {"model": f"restorer {name}", "model_hash": "", **self.call}
        taken = set(inspect.signature(pipe.__call__).parameters)
        if missing := {"image", "prompt", *self.call} - taken:
            raise ValueError(
                f"{type(pipe).__name__} takes no {', '.join(sorted(missing))}; it cannot be used like this"
            )
        pipe.set_progress_bar_config(disable=True)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu", dtype: str | None = None, **options: Any):
        """A folder or a hub name. OSError names what is missing or broken, MemoryError the settings to turn."""
        from diffusers import DiffusionPipeline

        loaded = {"dtype": dtype_named(dtype, device)}
        try:
            with enough_memory():
                pipe = DiffusionPipeline.from_pretrained(str(name), **loaded).to(device)
        except MemoryError:
            raise
        except Exception as error:
            raise OSError(f"{name}: cannot load a diffusers pipeline from here ({error})") from error
        return cls(pipe, str(name), **options)

    def restore(
        self,
        pixels_HWC3: np.ndarray,
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        callback_on_step_end: Callable[[Any, int, float, dict], None] | None = None,
    ) -> RestoreResult:
        """See `RestorePipeline.restore`. The callback hears of each step, without tensors; `eta` is the scheduler's
        affair here."""
        refuse_quality(intent, self.identity["model"])
        refuse_task(intent, self.identity["model"])
        began, steps = time.perf_counter(), num_inference_steps or self.steps
        settings = {**self.identity, "num_inference_steps": steps, "seed": seed}
        if source is not None and not wanted(source, intent):
            return RestoreResult(pixels_HWC3=pixels_HWC3, untouched=True, settings=settings, seconds=0.0)
        settings["text"] = edit_prompt(source, intent)
        image = Image.fromarray((pixels_HWC3.clip(0, 1) * 255).round().astype(np.uint8))
        arguments = {"image": image, "prompt": settings["text"], "num_inference_steps": steps, **self.call}
        if callback_on_step_end and "callback_on_step_end" in inspect.signature(self.pipe.__call__).parameters:
            arguments["callback_on_step_end"] = lambda pipe, step, t, _: (
                callback_on_step_end(pipe, step, float(t), {}) or {}
            )
        with enough_memory():
            made = self.pipe(**arguments, generator=torch.Generator().manual_seed(seed)).images[0]
        settings["resize"] = {"from": list(image.size), "to": list(made.size), "back": "bicubic"}
        pixels = np.asarray(made.convert("RGB").resize(image.size, Image.Resampling.BICUBIC), np.float32) / 255
        return RestoreResult(
            pixels_HWC3=pixels, untouched=False, settings=settings, seconds=time.perf_counter() - began
        )
