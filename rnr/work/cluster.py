"""`--engine ray`: the same work on several processes or machines. Ray Data schedules; actors load models once.

The pictures are cut into chunks (of a parquet file with a column `image`: a row group each). An actor writes results
of its chunk itself, so a batch that was cut off goes on: restored pictures are known again by their records, diagnoses
by their shard. All machines must see the same folders. An actor has one thread; one process with OMP_NUM_THREADS=1
writes the same records, bit for bit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rnr.degradation._lazy import install
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.frames import Which
from rnr.work.console import complain_of
from rnr.work.models import Models
from rnr.work.naming import plan
from rnr.work.outputs import Job, write_text
from rnr.work.request import Request

CHUNK = 64  # pictures


@dataclass(frozen=True)
class Cluster:
    """How many actors, and what each of them needs."""

    names: tuple[str, str]  # reasoner, restorer
    device: str = "auto"
    workers: int = 1
    gpus: float = 0.0  # of each actor
    scorer: str | None = None
    dtype: str | None = None

    def run(self, work: Callable[[Models, dict], dict], chunks: Sequence[dict]) -> list[dict]:
        """`work(models, chunk)` for every chunk, on `workers` actors; results in no particular order."""
        try:
            import ray
        except ModuleNotFoundError:
            raise SetupError(f"--engine ray needs ray: {install('ray')}") from None
        if not chunks:
            return []
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        data: Any = ray.data.from_items(
            [{"chunk": json.dumps(chunk)} for chunk in chunks], override_num_blocks=len(chunks)
        )
        actor = {"work": work, "names": self.names, "device": self.device, "scorer": self.scorer,
                 "dtype": self.dtype}  # fmt: skip
        # One chunk at a time: by default the first actor that is ready takes the chunks of the others, who then idle.
        pool = ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=1)
        done = data.map(Actor, fn_constructor_kwargs=actor, compute=pool, num_gpus=self.gpus or None)
        return [json.loads(row["result"]) for row in done.take_all()]


class Actor:
    """Lives in a worker process: the models, loaded when the first chunk needs them."""

    def __init__(
        self, work: Callable[[Models, dict], dict], names: tuple[str, str], device: str, scorer: str | None = None,
        dtype: str | None = None,
    ) -> None:  # fmt: skip
        self.work, self.models = work, Models(*names, device, scorer, dtype=dtype)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": json.dumps(self.work(self.models, json.loads(row["chunk"])))}


def tables(pictures: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The arguments that are pictures, and the parquet files."""
    found = [name for name in pictures if name.endswith(".parquet")]
    return [name for name in pictures if name not in found], [Path(name) for name in found]


def diagnose(
    cluster: Cluster, paths: Sequence[Path], tables: Sequence[Path], out: Path, max_megapixels: float,
    which: Which = "all",
) -> dict[str, int]:  # fmt: skip
    """Records as OUT/part-00000.jsonl, ...; shards that are there are kept. Returns how many were done and failed.

    `tables`: parquet files; a picture of theirs is named FILE#ROW. Raises SetupError for one without pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    chunks = _chunks(paths) + [chunk for table in tables for chunk in _row_groups(table)]
    for number, chunk in enumerate(chunks):
        chunk |= {"shard": str((out / f"part-{number:05d}.jsonl").absolute()), "max_megapixels": max_megapixels}
        chunk["frames"] = which
    missing = [chunk for chunk in chunks if not _matches(chunk)]
    counts = _counted(cluster.run(_diagnose_chunk, missing), ("done", "failed"))
    return counts | {"before": sum(len(chunk["files"]) for chunk in chunks if chunk not in missing)}


def _chunks(paths: Sequence[Path]) -> list[dict[str, Any]]:
    parts = (paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK))
    return [{"files": [str(path.absolute()) for path in part]} for part in parts]


def _counted(found: Sequence[dict], names: Sequence[str]) -> dict[str, int]:
    """The sums over all chunks; what failed is reported here, since nobody sees what an actor prints."""
    for row in found:
        for problem in row["problems"]:
            complain_of(*problem)
    return {name: sum(row[name] for row in found) for name in names}


def _row_groups(table: Path) -> list[dict[str, Any]]:
    from rnr.degradation._lazy import need
    from rnr.degradation.errors import MissingExtra

    try:
        about = need("pyarrow.parquet", "ray").ParquetFile(table)
    except MissingExtra as error:
        raise SetupError(str(error)) from None
    except (OSError, ValueError) as error:  # pyarrow's own errors are both
        raise SetupError(f"{table}: cannot be read as parquet ({error})") from None
    if "image" not in about.schema_arrow.names:
        raise SetupError(f"{table}: has no column `image`, it has {', '.join(about.schema_arrow.names)}")
    chunks, start = [], 0
    for group in range(about.num_row_groups):
        end = start + about.metadata.row_group(group).num_rows
        names = [f"{table.absolute()}#{row}" for row in range(start, end)]
        chunks.append({"table": str(table.absolute()), "group": group, "files": names})
        start = end
    return chunks


@contextmanager
def _as_files(chunk: dict) -> Iterator[list[str]]:
    """The chunk's pictures as files, in order; those of a row group (bytes, or {bytes, path} as `datasets` writes it)
    in a temporary folder, each under its name FILE#ROW."""
    if "table" not in chunk:
        yield chunk["files"]
        return
    from pyarrow.parquet import ParquetFile

    rows = ParquetFile(chunk["table"]).read_row_group(chunk["group"], ["image"])["image"]
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, Path(name).name)) for name in chunk["files"]]
        for file, image in zip(files, rows, strict=True):
            held = image.as_py()
            Path(file).write_bytes((held["bytes"] if isinstance(held, dict) else held) or b"")
        yield files


def _matches(chunk: dict) -> bool:
    """Whether the shard is there, for these very files."""
    path = Path(chunk["shard"])
    if not path.is_file():
        return False
    held = [json.loads(line)["file"] for line in path.read_text(encoding="utf-8").splitlines()]
    if list(dict.fromkeys(held)) != chunk["files"]:
        raise SetupError(f"{path}: holds the diagnoses of other pictures; choose another output folder")
    return True


def _diagnose_chunk(models: Models, chunk: dict) -> dict[str, Any]:
    from rnr.work.diagnosing import diagnose_all, fixed
    from rnr.work.each import Files

    with _as_files(chunk) as files:
        wanted = Files(files, max_megapixels=chunk["max_megapixels"], which=chunk["frames"])
        rows = list(diagnose_all(wanted, models))
        names = dict(zip(map(printable, files), chunk["files"], strict=True))
    found = [fixed(row.as_json()) for row in rows]
    if "table" in chunk:
        found = [row | {"file": names[row["file"]]} for row in found]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found]
    write_text(Path(chunk["shard"]), "".join(lines))
    problems = [(row["file"], row["error"]) for row in found if row["diagnosis"] is None]
    return {"done": len(rows) - len(problems), "failed": len(problems), "problems": problems}


def restore(
    cluster: Cluster, sources: Sequence[Job], tables: Sequence[Path], out: Path, request: Request, mode: str,
    max_megapixels: float,
) -> dict[str, int]:  # fmt: skip
    """As `rnr restore`, without a report. Returns how many were restored, left as they were, failed, done before.

    `tables`: parquet files; the picture in row 12 of `data.parquet` becomes OUT/data-000012.png (its own format).
    """
    asked = {**request.asked, "origin": request.origin}
    asked["num_inference_steps"] = asked.pop("steps")
    asked["diagnosis"] = request.diagnosis.to_json() if request.diagnosis else None
    common = {"out": str(out.absolute()), "request": asked, "mode": mode, "max_megapixels": max_megapixels}
    chunks, rows = _chunks([job.source for job in sources]), [chunk for table in tables for chunk in _row_groups(table)]
    jobs = iter([*sources, *plan([_row_name(file) for chunk in rows for file in chunk["files"]])])
    for chunk in (chunks := chunks + rows):
        chunk |= common | {"names": [(job.name, job.whole) for job in islice(jobs, len(chunk["files"]))]}
    return _counted(cluster.run(_restore_chunk, chunks), ("restored", "untouched", "failed", "before"))


def _row_name(file: str) -> Path:
    """dir/data.parquet#12 -> data-000012.parquet."""
    table, row = file.rsplit("#", 1)
    return Path(f"{Path(table).stem}-{int(row):06d}.parquet")


def _restore_chunk(models: Models, chunk: dict) -> dict[str, Any]:
    from rnr.degradation.diagnosis import Diagnosis
    from rnr.work.batch import Batch, Options
    from rnr.work.plain_worker import PlainWorker

    asked = chunk["request"]
    given = Diagnosis.from_json(asked["diagnosis"]) if asked["diagnosis"] else None
    request = Request(**asked | {"only": tuple(asked["only"]), "diagnosis": given})
    options = Options(chunk["mode"], chunk["max_megapixels"], with_report=False)
    with _as_files(chunk) as files:
        jobs = [Job(Path(file), *name) for file, name in zip(files, chunk["names"], strict=True)]
        batch = Batch(jobs, Path(chunk["out"]), models, PlainWorker(request), options)
        batch.run()
    named = zip(chunk["files"], batch.entries)
    problems = [(file, f"{entry.problem}; {entry.remedy}") for file, entry in named if entry.status == "failed"]
    counts = {name: batch.count(name) for name in ("restored", "untouched", "failed")}
    return counts | {"before": batch.skipped, "problems": problems}
