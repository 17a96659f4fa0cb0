"""One real service for most tests: two workers of one thread each, with a key, small limits, on loopback."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.serve.hostile import Upload
from rnr.serve.local import Local
from rnr.work.models import Models

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123"
LIMITS = ("--max-megapixels", "1.5", "--max-megabytes", "8", "--queue", "4", "--seconds", "120")
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RNR_API_KEYS": KEY}


@pytest.fixture(scope="session")
def service() -> Iterator[Local]:
    options = ("--workers", "2", "--threads", "1", "--device", "cpu", *LIMITS)
    with Local(*options, env=ENVIRONMENT, key=KEY) as local:
        yield local.wait_ready(2)


@pytest.fixture(scope="session")
def models() -> Models:
    """In this process, on one thread as the service's workers: the same numbers to the bit."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    return Models(device="cpu")


@pytest.fixture(scope="session")
def noisy(photographs: dict[str, np.ndarray]) -> np.ndarray:
    """(160, 192, 3) uint8 with so much noise that no reasoner misses it."""
    crop = photographs["astronaut"][60:220, 160:352]
    return np.clip(crop + np.random.default_rng(0).normal(0, 40, crop.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photo(noisy: np.ndarray) -> Upload:
    return Upload("photo", as_png(noisy), "photo.png")


@pytest.fixture(scope="session")
def large(noisy: np.ndarray) -> Upload:
    """1 MP: 20 steps take many seconds."""
    return Upload("large", as_png(np.tile(noisy, (7, 5, 1))), "large.png", {"num_inference_steps": "20"})


def as_png(pixels_HWC: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))
