"""`--engine ray`: the same work on several processes or machines. Ray Data schedules; actors load models once.

The pictures are cut into chunks (of a parquet file with a column `image`: a row group each). An actor writes results
of its chunk itself, so a batch that was cut off goes on: restored pictures are known again by their records, diagnoses
by their shard. All machines must see the same folders. An actor has one thread; one process with OMP_NUM_THREADS=1
writes the same records, bit for bit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnr.core import Models, Request, SetupError
from rnr.outputs import Job, write_text

CHUNK = 64  # pictures


@dataclass(frozen=True)
class Cluster:
    """How many actors, and what each of them needs."""

    names: tuple[str, str]  # reasoner, restorer
    device: str = "auto"
    workers: int = 1
    gpus: float = 0.0  # of each actor

    def run(self, work: Callable[[Models, dict], dict], chunks: Sequence[dict]) -> list[dict]:
        """`work(models, chunk)` for every chunk, on `workers` actors; results in no particular order."""
        try:
            import ray
        except ModuleNotFoundError:
            raise SetupError("--engine ray needs ray: pip install 'reason-and-restore[ray]'") from None
        if not chunks:
            return []
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        data: Any = ray.data.from_items(
            [{"chunk": json.dumps(chunk)} for chunk in chunks], override_num_blocks=len(chunks)
        )
        actor = {"work": work, "names": self.names, "device": self.device}
        # One chunk at a time: by default the first actor that is ready takes the chunks of the others, who then idle.
        pool = ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=1)
        done = data.map(Actor, fn_constructor_kwargs=actor, compute=pool, num_gpus=self.gpus or None)
        return [json.loads(row["result"]) for row in done.take_all()]


class Actor:
    """Lives in a worker process: the models, loaded when the first chunk needs them."""

    def __init__(self, work: Callable[[Models, dict], dict], names: tuple[str, str], device: str) -> None:
        self.work, self.models = work, Models(*names, device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": json.dumps(self.work(self.models, json.loads(row["chunk"])))}


def diagnose(
    cluster: Cluster, paths: Sequence[Path], tables: Sequence[Path], out: Path, max_megapixels: float
) -> dict[str, int]:
    """Records as OUT/part-00000.jsonl, ...; shards that are there are kept. Returns how many were done and failed.

    `tables`: parquet files; a picture of theirs is named FILE#ROW. Raises SetupError for one without pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    chunks: list[dict[str, Any]] = [
        {"files": [str(path.absolute()) for path in paths[start : start + CHUNK]]}
        for start in range(0, len(paths), CHUNK)
    ]
    chunks += [chunk for table in tables for chunk in _row_groups(table)]
    for number, chunk in enumerate(chunks):
        chunk |= {"shard": str((out / f"part-{number:05d}.jsonl").absolute()), "max_megapixels": max_megapixels}
    missing = [chunk for chunk in chunks if not _matches(chunk)]
    found = cluster.run(_diagnose_chunk, missing)
    counts = {name: sum(row[name] for row in found) for name in ("done", "failed")}
    return counts | {"before": sum(len(chunk["files"]) for chunk in chunks if chunk not in missing)}


def _row_groups(table: Path) -> list[dict[str, Any]]:
    from degradation._lazy import MissingExtra, need

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


def _unpacked(chunk: dict, folder: Path) -> list[str]:
    """The pictures of a row group as files, in order: bytes, or what `datasets` writes, {bytes, path}."""
    from pyarrow.parquet import ParquetFile

    files = []
    for place, image in enumerate(ParquetFile(chunk["table"]).read_row_group(chunk["group"], ["image"])["image"]):
        held = image.as_py()
        path = folder / f"{place:06d}"
        path.write_bytes((held["bytes"] if isinstance(held, dict) else held) or b"")
        files.append(str(path))
    return files


def _matches(chunk: dict) -> bool:
    """Whether the shard is there, for these very files."""
    path = Path(chunk["shard"])
    if not path.is_file():
        return False
    held = [json.loads(line)["file"] for line in path.read_text(encoding="utf-8").splitlines()]
    if held != chunk["files"]:
        raise SetupError(f"{path}: holds the diagnoses of other pictures; choose another output folder")
    return True


def _diagnose_chunk(models: Models, chunk: dict) -> dict[str, int]:
    from rnr.diagnosing import diagnose_all

    with tempfile.TemporaryDirectory() as folder:
        files = _unpacked(chunk, Path(folder)) if "table" in chunk else chunk["files"]
        rows = list(diagnose_all(files, False, chunk["max_megapixels"], models, False, False))
    told = [row.as_json() for row in rows]
    if "table" in chunk:
        told = [row | {"file": name} for row, name in zip(told, chunk["files"], strict=True)]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in told]
    write_text(Path(chunk["shard"]), "".join(lines))
    failed = sum(row.record.diagnosis is None for row in rows)
    return {"done": len(rows) - failed, "failed": failed}


def restore(
    cluster: Cluster, jobs: Sequence[Job], out: Path, request: Request, mode: str, max_megapixels: float
) -> dict[str, int]:
    """As `rnr restore`, without a report. Returns how many were restored, left as they were, failed, done before."""
    chunks = []
    for start in range(0, len(jobs), CHUNK):
        part = [(str(job.source.absolute()), job.name) for job in jobs[start : start + CHUNK]]
        asked = {"steps": request.steps, "seed": request.seed, "only": list(request.only), "origin": request.origin}
        asked["diagnosis"] = request.diagnosis.to_json() if request.diagnosis else None
        limits = {"mode": mode, "max_megapixels": max_megapixels}
        chunks.append({"jobs": part, "out": str(out.absolute()), "request": asked, **limits})
    found = cluster.run(_restore_chunk, chunks)
    return {name: sum(row[name] for row in found) for name in ("restored", "untouched", "failed", "before")}


def _restore_chunk(models: Models, chunk: dict) -> dict[str, int]:
    from degradation.diagnosis import Diagnosis
    from rnr.batch import Batch, Options

    asked = chunk["request"]
    given = Diagnosis.from_json(asked["diagnosis"]) if asked["diagnosis"] else None
    request = Request(asked["steps"], asked["seed"], tuple(asked["only"]), given, asked["origin"])
    options = Options(chunk["mode"], chunk["max_megapixels"], with_report=False)
    batch = Batch(
        [Job(Path(source), name) for source, name in chunk["jobs"]], Path(chunk["out"]), models, request, options
    )
    batch.run()
    return {name: batch.count(name) for name in ("restored", "untouched", "failed")} | {"before": batch.skipped}
