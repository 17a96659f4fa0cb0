"""bf16 or fp32: by a timing on the machine at hand.

Dense convolutions in bf16 train 3.4-4.4 times faster than in fp32 on processors with AMX (`amx_bf16`), 0.7 to 3.4 times
as fast on those with AVX512-BF16 alone, and 15 times slower without either (docs/lab-log.md): the flags do not say
enough, a second of timing does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import torch

STEPS = 3  # timed after one that warms up; a choice


def has_bf16() -> bool:
    """Whether this processor computes in bf16 (AVX512-BF16, AMX); one that is not x86 gets the benefit of the doubt."""
    found = torch.cpu.get_capabilities()
    return found["architecture"] != "x86_64" or bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager[object]:
    """The context in which losses are computed."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def seconds_of(step: Callable[[], object], device: str, precision: str) -> float:
    """Seconds of one training step (forward and backward) in this precision."""

    def run() -> None:
        with autocast(device, precision):
            step()

    run()
    began = time.perf_counter()
    for _ in range(STEPS):
        run()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS


def faster(step: Callable[[], object], device: str) -> tuple[str, float]:
    """The faster precision, and how many times faster bf16 is than fp32."""
    ratio = seconds_of(step, device, "fp32") / seconds_of(step, device, "bf16")
    return ("bf16" if ratio > 1 else "fp32"), ratio
