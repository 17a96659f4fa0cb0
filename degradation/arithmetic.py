"""How the processor rounds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
