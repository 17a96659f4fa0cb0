"""A folder as people have them (good pictures of all sorts, broken ones, two of one name) and one real run over it."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import png  # type: ignore[import-untyped]
import pytest
import skimage.data
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding, reasoning_order
from rnr.images.files import Picture, write_picture
from rnr.work.models import Models

Array = np.ndarray[Any, np.dtype[Any]]
CHECKOUT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "diffusers", "numpy", "PIL", "cv2")


def rnr(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as people run it."""
    command = [sys.executable, "-m", "rnr", *map(str, arguments)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, **options)


def expected(record: DiagnosisRecord, kind: str) -> float:
    severity = record.expected_severity(kind)
    assert severity is not None
    return severity


def noisy(clean: np.ndarray, sigma: float = 40) -> np.ndarray:
    """So much noise that no reasoner misses it."""
    noise = np.random.default_rng(0).normal(0, sigma, clean.shape)
    return np.clip(clean + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def crop(photographs: dict[str, np.ndarray]) -> np.ndarray:
    return noisy(photographs["astronaut"][60:220, 160:352])


@pytest.fixture(scope="session")
def nothing_found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diagnosis file by which there is nothing to restore."""
    diagnosis = Diagnosis(findings={kind: Finding(present=False, severity=0) for kind in reasoning_order()})
    path = tmp_path_factory.mktemp("given") / "nothing.json"
    path.write_text(diagnosis.to_json())
    return path


@pytest.fixture(scope="session")
def models() -> Models:
    """The built-in ones, on one thread."""
    import torch

    torch.set_num_threads(1)
    return Models(device="cpu")


def fill(folder: Path, crop: np.ndarray) -> None:
    """Five pictures that can be restored, three that cannot."""
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(crop).save(folder / "a.png")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(crop).save(folder / "a.jpg", quality=95, exif=exif)
    Image.fromarray(crop).save(folder / "sub" / "a.png")
    deep = Picture(crop.astype(np.uint16) * 257, mode="RGB;16")
    write_picture(deep, deep.as_float(), folder / "deep.png")
    Image.fromarray(np.dstack([crop, crop[..., 0]])).save(folder / "see-through.png")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:9000])


@pytest.fixture(scope="session")
def photo() -> Array:
    return np.ascontiguousarray(skimage.data.astronaut()[100:180, 150:270])  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def photo16(photo: Array) -> Array:
    """All 16 bits in use: a reader that goes through 8 bits cannot return these values."""
    return (photo.astype(np.uint16) * 256 + np.random.default_rng(0).integers(0, 256, photo.shape)).astype(np.uint16)


@pytest.fixture(scope="session")
def alpha() -> Array:
    return np.ascontiguousarray(skimage.data.chelsea()[:80, :120, 0])  # type: ignore[no-untyped-call]


def png16(path: Path, samples: Array, **options: Any) -> Path:
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    height, width = samples.shape[:2]
    writer = png.Writer(width, height, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4), **options)
    with path.open("wb") as file:
        writer.write(file, samples.reshape(height, -1))
    return path


def oriented(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[0x0112] = orientation
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@dataclass
class Run:
    """A folder, its results, and what the command said."""

    folder: Path
    out: Path
    process: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory, crop: np.ndarray) -> Run:
    root = tmp_path_factory.mktemp("batch")
    fill(root / "in", crop)
    process = rnr("restore", root / "in", root / "missing.png", "-r", "-o", root / "out", "--device", "cpu")
    return Run(root / "in", root / "out", process)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command within this process: exit code, stdout, stderr (all that reaches the file descriptors)."""
    from rnr.app.cli import app

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            app([str(argument) for argument in arguments], prog_name="rnr")
        captured = capfd.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
