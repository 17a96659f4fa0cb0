"""The training set as files: damaged regions of clean photographs with their true diagnoses, as parquet shards.

    rnr data build --images DIR -o OUT --samples 100000 --size 512 --workers 16

A shard holds `image` (PNG inside) and `diagnosis` (JSON), readable by `datasets.load_dataset("parquet", ...)`. A shard
depends on its number and the seed alone: any number of workers writes the same bytes, and a build that was cut off
goes on with the shards that are missing. With `--teacher URL` a model behind a server describes the scenes
(`reasoner/teacher.py`): then the bytes are the same as far as its answers are.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from rnr.degradation.diagnosis import SCHEMA_VERSION, Diagnosis, reasoning_order
from rnr.degradation.photographs import SUFFIXES, random_crops, to_uint8
from rnr.degradation.synthesize import degrade, draw_mixture, truths
from rnr.reasoner.data import stage_at

if TYPE_CHECKING:
    from rnr.reasoner.teacher import Teacher

BATCH = 8  # pictures that share a recipe's random layers
SETTINGS = "build.json"


@dataclass(frozen=True)
class Build:
    """What is in the set. `size`: side of the regions, px."""

    images: str
    samples: int = 10_000
    size: int = 512
    seed: int = 0
    shard: int = 1_000  # pictures a shard
    teacher: str = ""  # who describes the scenes; `build` writes it

    @property
    def shards(self) -> int:
        return -(-self.samples // self.shard)

    def name(self, number: int) -> str:
        return f"train-{number:05d}-of-{self.shards:05d}.parquet"


class Photographs(Sequence):
    """The pictures below a folder, read when they are asked for: a folder may be larger than memory."""

    def __init__(self, folder: str | Path):
        self.paths = [path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
        if not self.paths:
            raise ValueError(f"{folder}: no photographs here; name a folder of clean pictures")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return _read(self.paths[index])


@lru_cache(maxsize=64)
def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


_photographs = cache(Photographs)  # listed once a worker


def build(
    wanted: Build,
    out: Path,
    workers: int = 1,
    report: Callable[[dict], None] = lambda row: None,
    teacher: Teacher | None = None,
) -> Path:
    """Write the shards that are missing, and the card.

    Raises ValueError for a folder begun with other settings, ServerError where the teacher fails: shards stay.
    """
    Photographs(wanted.images)
    wanted = replace(wanted, teacher=teacher.identity if teacher else "")
    (out / "data").mkdir(parents=True, exist_ok=True)
    _same(wanted, out / SETTINGS)
    missing = [n for n in range(wanted.shards) if not (out / "data" / wanted.name(n)).is_file()]
    done = wanted.shards - len(missing)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(write_shard, wanted, out, number, teacher) for number in missing]
        try:
            for count, job in enumerate(as_completed(jobs), done + 1):
                report({"shard": job.result(), "done": count, "of": wanted.shards})
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    (out / "README.md").write_text(card(wanted), encoding="utf-8")
    return out


def _same(wanted: Build, path: Path) -> None:
    text = json.dumps(asdict(wanted) | {"schema_version": SCHEMA_VERSION}, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{path}: this folder was begun with other settings; choose another one, or the same settings")
    path.write_text(text, encoding="utf-8")


def write_shard(wanted: Build, out: Path, number: int, teacher: Teacher | None = None) -> str:
    """One shard, complete or absent; returns its name."""
    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    torch.set_num_threads(1)
    count = min(wanted.shard, wanted.samples - number * wanted.shard)
    images, regions, diagnoses = [], [], []
    for clean, damaged, diagnosis in islice(rows_of(wanted, number), count):
        images.append({"bytes": png(damaged), "path": None})
        regions += [clean] if teacher else []
        diagnoses.append(diagnosis)
    if teacher:
        diagnoses = teacher.tell(regions, diagnoses, wanted.seed * 1_000_003 + number * wanted.shard)
    columns = {"image": images, "diagnosis": [diagnosis.to_json() for diagnosis in diagnoses]}
    features = Features({"image": Picture(), "diagnosis": Value("string")})
    path = out / "data" / wanted.name(number)
    part = path.with_suffix(f".{os.getpid()}.part")
    Dataset.from_dict(columns, features).to_parquet(str(part))
    part.rename(path)
    return path.name


def rows_of(wanted: Build, number: int) -> Iterator[tuple[np.ndarray, np.ndarray, Diagnosis]]:
    """Regions (uint8 HWC), clean and damaged, and the true diagnoses, for ever; by seed and shard number alone."""
    generator = torch.Generator().manual_seed((wanted.seed * 1_000_003 + number) % 2**63)
    photographs: Any = _photographs(wanted.images)
    while True:
        clean = random_crops(photographs, BATCH, (wanted.size, wanted.size), generator)
        mixture = draw_mixture(BATCH, generator, stage_at(1.0, generator))
        damaged = degrade(clean, mixture)
        yield from zip(map(to_uint8, clean), map(to_uint8, damaged), truths(clean, damaged, mixture))


def png(picture_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, "PNG")
    return file.getvalue()


def card(wanted: Build) -> str:
    """The data set's card."""
    described = f"\nSummary and objects of the scenes were written by {wanted.teacher}.\n" if wanted.teacher else ""
    return f"""---
configs:
- config_name: default
  data_files: data/train-*.parquet
---
# Damaged photographs with true diagnoses

{wanted.samples:,} regions of {wanted.size} px from the clean photographs in `{Path(wanted.images).name}`, each damaged
by up to four of {", ".join(reasoning_order())}, strength and causes known. The licence of the photographs applies.

`image`: the damaged region. `diagnosis`: the true Diagnosis as canonical JSON, schema version {SCHEMA_VERSION}.
{described}
Made by `rnr data build --samples {wanted.samples} --size {wanted.size} --seed {wanted.seed} --shard {wanted.shard}`;
the same command writes the same bytes{", as far as the teacher says the same" if described else ""}.
"""
