"""How the processor rounds, and in which numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as zero (Adam's vanishing moments halve a training's speed otherwise).

    For trainings, as a decorator, too. Off again at the end: what comes next in this process rounds as ever.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
DTYPES = (*SHORT.values(), *SHORT)


def dtype_named(name: str | None, device: str) -> torch.dtype:
    """torch's type of this name (bf16 is bfloat16); where none is given float32 on a CPU, bfloat16 elsewhere.

    Raises:
        ValueError: For another.
    """
    import torch

    name = SHORT.get(name or "", name) or ("float32" if device.startswith("cpu") else "bfloat16")
    if name not in DTYPES:
        raise ValueError(f"dtype is float32, bfloat16 or float16, not {name!r}")
    return getattr(torch, name)
