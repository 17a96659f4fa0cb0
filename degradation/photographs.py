"""Clean photographs for training, calibration and benchmarks: read whole folders into memory, cut regions."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
SOURCES = "SOURCES.csv"
RARE = {"night": 2, "mist": 6, "snow": 6}  # tag: how often such a photograph counts; a choice
WHOLE = 0.75  # share of a photograph from which a region counts as all of it; a choice
TRIES = 8  # photographs drawn until one is as large as a crop


class Photographs(list["np.ndarray"]):
    """Photographs (uint8 HWC), and for each the words of `scene.THINGS` that it shows: None where nobody has looked."""

    def __init__(self, pictures: Iterable[np.ndarray], objects: Iterable[list[str] | None]):
        super().__init__(pictures)
        self.objects = list(objects)


def read_folder(folder: str | Path, limit: int | None = None, spread: bool = False) -> dict[str, np.ndarray]:
    """All pictures below a folder as {name: uint8 HWC}, sorted by name. Raises ValueError if there is none.

    `limit` takes the first so many or, with `spread`, evenly from all of them: names often go by source.
    """
    from PIL import Image

    root = Path(folder)
    paths = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    paths = paths[:: max(1, len(paths) // limit)] if spread and limit else paths
    paths = paths[:limit]
    if not paths:
        raise ValueError(
            f"{folder}: no photographs here ({', '.join(sorted(SUFFIXES))}); name a folder of clean pictures"
        )
    return {str(path.relative_to(root)): np.asarray(Image.open(path).convert("RGB")) for path in paths}


def weighted(
    photographs: Mapping[str, np.ndarray], folder: str | Path, objects: Mapping[str, list[str]] | None = None
) -> Photographs:
    """The photographs of `read_folder`, those with rare tags several times over (references, not copies).

    Tags come from `SOURCES.csv` in the folder or above it (columns `file`, `tags`); without it each photograph is
    there once. Night, mist and snow are what a reasoner takes for damage. `objects`: as `read_objects` returns them.
    """
    sources = next((p for p in (Path(folder) / SOURCES, Path(folder).parent / SOURCES) if p.is_file()), None)
    tags = _column(sources, "tags") if sources else {}

    def times(name: str) -> int:
        return max([count for tag, count in RARE.items() if tag in tags.get(Path(name).name, "")], default=1)

    names = [name for name in photographs for _ in range(times(name))]
    return Photographs([photographs[name] for name in names], [(objects or {}).get(Path(name).name) for name in names])


def read_objects(path: str | Path) -> dict[str, list[str]]:
    """What photographs show, by file name: words of `scene.THINGS` (CSV with the columns `file`, `objects`)."""
    return {file: words.split() for file, words in _column(Path(path), "objects").items()}


def _column(path: Path, name: str) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row[name] for row in csv.DictReader(file)}


def to_tensor(picture_HWC: np.ndarray) -> torch.Tensor:
    """uint8 HWC to float (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(picture_HWC)).permute(2, 0, 1)[None].float() / 255


def rounded(image_BCHW: torch.Tensor) -> torch.Tensor:
    """Limited to [0, 1] and on the levels of 8 bits, as a file would hold it."""
    return (image_BCHW.clamp(0, 1) * 255).round() / 255


def to_uint8(image_BCHW: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) or (3, H, W) in [0, 1] to uint8 HWC."""
    return (image_BCHW.reshape(image_BCHW.shape[-3:]).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def centre_crop(picture_HWC: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 if side > size else 0 for side in picture_HWC.shape[:2])
    return picture_HWC[top : top + size, left : left + size]


def centre_of(picture_HWC: np.ndarray, size: int) -> torch.Tensor:
    """The centre of `size` px (0: all) of a uint8 picture, as (1, 3, H, W) in [0, 1]."""
    return to_tensor(centre_crop(picture_HWC, size) if size else picture_HWC)


def random_crops(
    photographs: list[np.ndarray],
    count: int,
    size: tuple[int, int],
    generator: torch.Generator,
    upright: bool = False,
    seen: list[tuple[int, float]] | None = None,
) -> torch.Tensor:
    """(count, 3, h, w) float crops, each from a random photograph, place, mirroring and quarter turn (squares only).

    A photograph smaller than a crop is drawn again, a few times, and then mirrored up. `upright`: no quarter turns.
    `seen` is filled with the photograph's number and the share of it that each crop shows.
    """
    height, width = size
    turns, crops = height == width and not upright, []
    for _ in range(count):
        for _ in range(TRIES):
            which, turn = torch.randint(0, 2**30, (2,), generator=generator).tolist()
            photograph = photographs[which % len(photographs)]
            missing = [max(0, want - have) for want, have in zip(size, photograph.shape)]
            if not any(missing):
                break
        if seen is not None:
            seen.append((which % len(photographs), min(1.0, height * width / math.prod(photograph.shape[:2]))))
        if any(missing):
            photograph = np.pad(photograph, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        place = torch.rand(2, generator=generator).tolist()
        top = int(place[0] * (photograph.shape[0] - height + 1))
        left = int(place[1] * (photograph.shape[1] - width + 1))
        crop = photograph[top : top + height, left : left + width]
        crop = crop[:, ::-1] if turn & 1 else crop
        crops.append(torch.from_numpy(np.ascontiguousarray(np.rot90(crop, turn // 2 % 4) if turns else crop)))
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 255
