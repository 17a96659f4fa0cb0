"""Where records come from: folders, files of records, an agent's store, rl runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.training.journal import FILE as METRICS
from rnr.view.items import AGAIN, NOTES, Item, Rows, Source, read_object
from rnr.view.sheets import pictures_of
from rnr.view.tables import READERS, holds_records, table
from rnr.work.agent_worker import HOME
from rnr.work.outputs import RECORD


def sources_of(path: Path) -> list[Source]:
    """The runs at a path: itself, or each subfolder that holds one. Empty for a folder that holds pictures only.

    Raises:
        SetupError: If there is nothing, or nothing that could hold records.
    """
    if path.is_file():
        return [table(path)]
    if not path.is_dir():
        raise SetupError(f"{printable(path)}: no such file or folder; name a folder of results or a file of records")
    one = _folder(path)
    if one:
        return [one]
    inside = (e for e in sorted(path.iterdir()) if e.is_dir() and not e.is_symlink() and not e.name.startswith("."))
    return [found for each in inside if each.name != AGAIN and (found := _folder(each))]


def _folder(path: Path) -> Source | None:
    names = sorted(each.name for each in path.iterdir() if not each.is_symlink())  # a link may lead out of the folder
    if METRICS in names:
        return _rl(path)
    if any(name.endswith(RECORD) for name in names):
        return Source(path, "folder of records", partial(_records, path))
    if any(len(name) == 2 and next((path / name).glob("?" * 64 + ".png"), None) for name in names):
        return Source(path, "agent's store", partial(_store, path))
    tables = [path / name for name in names if name.endswith(tuple(READERS)) and not name.endswith(NOTES)]
    parts = [table(file) for file in tables if holds_records(file)]
    return Source(path, "folder of tables", lambda: (row for part in parts for row in part.items())) if parts else None


def _records(folder: Path) -> Rows:
    """NAME.diagnosis.json, also in subfolders; ground truth (`rnr degrade`) is no item of its own."""
    for path in sorted(_below(folder)):
        name = path.relative_to(folder).as_posix().removesuffix(RECORD)
        item = Item(printable(name), name, path.parent, partial(read_object, path))
        try:
            data = item.read()
        except (OSError, ValueError) as error:
            yield replace(item, error=f"{printable(path.name)}: {error}"), None
            continue
        if "made" not in data:
            item.name = str((data.get("source") or {}).get("file") or item.name)
            yield item, data


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):  # links are not followed
        folders[:] = [name for name in folders if name not in (AGAIN, HOME) and not name.startswith(".")]
        paths = (Path(root, name) for name in files if name.endswith(RECORD))
        yield from (path for path in paths if not path.is_symlink())


def _store(folder: Path) -> Rows:
    """Every diagnosis that the agent noted beside a picture of its store."""
    for path in sorted(path for path in folder.glob("??/*.json") if not path.is_symlink()):
        sha256, _, note = path.name.removesuffix(".json").partition(".")
        item = Item(f"{sha256[:12]} {note[:8]}", path.name, path.parent, partial(read_object, path))
        item.pictures["before"] = path.with_name(f"{sha256}.png"), Path.read_bytes
        try:
            data = item.read()
        except (OSError, ValueError) as error:
            yield replace(item, error=f"{path.name}: {error}"), None
            continue
        if "diagnosis" in data:  # other notes are of a restoration
            yield item, data


def _rl(folder: Path) -> Source:
    names = ("curves.png", "goodhart.png")
    return Source(folder, "rl run", partial(_tasks, folder), tuple(folder / n for n in names if (folder / n).is_file()))


def _tasks(folder: Path) -> Rows:
    """The held-out pictures of an rl run, each with all of its evaluations (or what else a run evaluates)."""
    for place, task in enumerate(evaluations_of(folder)):
        name = task if isinstance(task, str) else f"task {task}"
        item = Item(name, str(task), folder, partial(_task, folder, task))
        item.pictures = pictures_of(folder, place)
        yield item, item.read()


def evaluations_of(folder: Path) -> dict[Any, list[dict[str, Any]]]:
    """By held-out picture; of a run that records none (the reasoner's, the agent's) by what was evaluated, and the
    training itself."""
    from rnr.training.journal import rows_of

    rows = rows_of(folder)
    tasks: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        for picture in row.get("pictures", ()):
            tasks.setdefault(picture["task"], []).append({"step": row["step"], **picture})
    if not tasks:
        for row in rows:
            name, numbers = _numbers(row)
            tasks.setdefault(name, []).append(numbers)
    return tasks


def _numbers(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(what they are about, a row of metrics.jsonl in the form of a picture's evaluation)."""
    shown = {"step": row["step"], "reward": row.get("reward"), "predicted": None, "scores": row.get("scores") or {}}
    if "evaluation" in row:
        return row["evaluation"].get("who", "evaluation"), shown | {"metrics": row["evaluation"]["metrics"]}
    return "training", shown | {"metrics": {name: value for name, value in row.items() if name not in shown}}


def _task(folder: Path, task: Any) -> dict[str, Any]:
    return {"task": task, "evaluations": evaluations_of(folder)[task]}
