"""All runs that are viewed, read again when their files change, and the rows of the table."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable, short_hash
from rnr.degradation.kind import kinds
from rnr.view.facts import Facts, facts_of
from rnr.view.files import BROWSER, files_of
from rnr.view.finder import Finder
from rnr.view.items import AGAIN, NOTES, Item, Source, read_object
from rnr.view.notes import Notes
from rnr.view.sources import sources_of
from rnr.work.outputs import RECORD

SHOWN = ("before", "after")  # the pictures that the table and the comparison show


@dataclass
class Run:
    """A source with its items by key, in order.

    Attributes:
        settings: By name, the values with which the run was made, as far as its records say.
    """

    name: str
    source: Source
    notes: Notes
    items: dict[str, Item] = field(default_factory=dict)
    settings: dict[str, list[str]] = field(default_factory=dict)


class Library:
    """The given folders and files.

    Args:
        paths: Folders and files; a folder without records is one where pictures are looked for.
        tell: Hears how many records were read so far.

    Raises:
        SetupError: If there is nothing to view.
    """

    def __init__(self, paths: Sequence[Path], tell: Callable[[int], None] = lambda count: None) -> None:
        self.paths, self.tell = [path.absolute() for path in paths], tell
        self.names = reasoning_order()
        self.version = 0
        self._lock = threading.RLock()
        self._seen: Any = None
        self._cache: tuple[Any, bytes] = (None, b"")
        self.runs: list[Run] = []
        self.refresh()
        if not any(run.items for run in self.runs):
            where = ", ".join(map(printable, self.paths))
            raise SetupError(f"{where}: no records of a diagnosis here; make some with rnr diagnose or rnr restore")

    def refresh(self) -> None:
        """Read everything again if a file or folder changed. Raises SetupError."""
        with self._lock:
            sources = [source for path in self.paths for source in sources_of(path)]
            seen = [(source.path, _modified(source.path)) for source in sources]
            if seen == self._seen:
                return
            folders = [path for path in self.paths if path.is_dir()]
            files = [path for path in self.paths if path.is_file()]
            self.finder = Finder(folders, files, [source.path for source in sources])
            names = _different([source.path for source in sources])
            runs = [self._run(name, source) for name, source in zip(names, sources)]
            self.runs = [run for run in runs if run.items]  # a folder may hold ground truth alone
            self._seen, self.version = seen, self.version + 1

    def _run(self, name: str, source: Source) -> Run:
        run = Run(name, source, Notes(source.notes))
        self.finder.also(source.again)
        for item, data in source.items():
            self._learn(item, data)
            run.items[short_hash(item.identity)] = item
            for label, value in _settings(data or {}).items():
                values = run.settings.setdefault(label, [])
                if value not in values:
                    values.append(value)
            self.tell(len(run.items))
        return run

    def _learn(self, item: Item, data: dict[str, Any] | None) -> None:
        if data is None:
            item.facts = Facts("failed", item.error, "u" * len(self.names))
            return
        item.files = files_of(item, data, self.finder)
        if "evaluations" in data:
            item.facts = _evaluated(data["evaluations"])
            return
        item.truth = self._truth(item, data)
        try:
            item.facts = facts_of(data, truth_in(item.truth() if item.truth else None), self.names)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            item.error = f"{type(error).__name__}: {error}"
            item.facts = Facts("failed", f"{item.name} {error}", "u" * len(self.names))

    def _truth(self, item: Item, data: dict[str, Any]) -> Callable[[], dict[str, Any]] | None:
        """The ground truth in the record, or beside that very picture as `rnr degrade` writes it."""
        if isinstance(data.get("truth"), dict):
            return lambda: item.read()["truth"]
        paths, sha256 = item.files.get("before", ([], ""))
        beside = [(path, path.with_name(path.stem + RECORD)) for path in paths]
        for path, record in beside:
            if record.is_file() and not record.is_symlink() and "made" in _object(record):
                return partial(read_object, record) if self.finder.same([path], sha256) else None
        return None

    def item(self, identity: str) -> tuple[Run, str, Item]:
        """The run, key and item of an id such as "0-3f…". Raises KeyError."""
        number, _, key = identity.partition("-")
        if not number.isdigit() or int(number) >= len(self.runs):
            raise KeyError(identity)
        run = self.runs[int(number)]
        return run, key, run.items[key]

    def rows(self) -> bytes:
        """data/rows.js: everything that table and comparison need. Raises SetupError."""
        with self._lock:
            self.refresh()
            state = (self.version, [run.notes.stamp() for run in self.runs])
            if self._cache[0] != state:
                text = json.dumps(self._data(), ensure_ascii=False, separators=(",", ":"))
                self._cache = state, f"globalThis.RNR={text};\n".encode()
            return self._cache[1]

    def _data(self) -> dict[str, Any]:
        everything = [item.facts for run in self.runs for item in run.items.values()]
        measures = list(dict.fromkeys(name for facts in everything for name in facts.measures))
        titles = [kinds()[name].words.title for name in self.names]
        runs = [{"name": run.name, "kind": run.source.kind, "settings": run.settings} for run in self.runs]
        rows = [row for number, run in enumerate(self.runs) for row in _rows(number, run, measures)]
        return {"kinds": self.names, "titles": titles, "measures": measures, "runs": runs, "rows": rows}


def _rows(number: int, run: Run, measures: Sequence[str]) -> list[list[Any]]:
    """Arrays, not objects: 10,000 rows are 3 MB. static/rows.js names the columns."""
    people = run.notes.counts()
    rows = []
    for key, item in run.items.items():
        facts, (notes, labels) = item.facts, people.get(key, (0, []))
        lists = [[_short(v) for v in values] for values in (facts.before, facts.after, facts.truth, facts.doubt)]
        shown = [suffix_of(item, role) for role in SHOWN]
        numbers = [_short(facts.measures.get(name), 3) for name in measures]
        row = [f"{number}-{key}", item.name, facts.status, facts.error, facts.states, *lists, numbers]
        rows.append([*row, shown, notes, labels, facts.sha256[:16]])
    return rows


def _short(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def suffix_of(item: Item, role: str) -> str:
    """The suffix under which a browser gets this picture; empty where there is none."""
    if role in item.pictures:
        return "png"
    paths = item.files.get(role, ([], ""))[0]
    if not paths:
        return ""
    suffix = paths[0].suffix.lower()
    return suffix[1:] if suffix in BROWSER else "png"


def _modified(path: Path) -> int:
    """Differs when the file, or a file of the folder, was written, made or removed."""
    status = path.stat()
    return _contents(path, status.st_mtime_ns) if path.is_dir() else hash((status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=64)
def _contents(folder: Path, modified: int) -> int:
    """Of a folder at this time of change (every writer here renames). Notes and what is run again are not its records:
    10,000 would be read again for each note."""
    ours = (AGAIN, NOTES)
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if entry.name not in ours and not entry.name.startswith(".")]
        return hash(tuple(sorted((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in kept)))


def _different(paths: Sequence[Path]) -> list[str]:
    """Names of runs: the last part of the path, and more of it where two are alike."""
    short = [printable(path.resolve().name) for path in paths]
    return [printable(path) if short.count(name) > 1 else name for path, name in zip(paths, short)]


def _object(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty where it holds none."""
    try:
        return read_object(path)
    except (OSError, ValueError):
        return {}


def truth_in(data: dict[str, Any] | None) -> dict[str, Any] | None:
    """The raw Diagnosis of a ground truth."""
    return data.get("diagnosis", data) if data else None


def _evaluated(evaluations: list[dict[str, Any]]) -> Facts:
    """Of an rl run's picture: the numbers of its last evaluation, and how the reward moved since the first."""
    first, last = evaluations[0], evaluations[-1]
    measures = {"reward": last.get("reward"), "predicted": last.get("predicted"), **(last.get("metrics") or {})}
    if first.get("reward") is not None and last.get("reward") is not None:
        measures["reward gained"] = last["reward"] - first["reward"]
    return Facts("evaluated", measures={name: v for name, v in measures.items() if isinstance(v, int | float)})


def _settings(data: dict[str, Any]) -> dict[str, str]:
    """How a record was made, as words: what two runs may differ in."""
    before: Any = data["before"] if isinstance(data.get("before"), dict) else data
    request, restoration = data.get("request") or {}, data.get("restoration") or {}
    parts = {
        "diagnosed by": f"{before.get('model', '')} {before.get('model_hash', '')}",
        "prompt": f"{before.get('prompt', '')} {before.get('prompt_version', '')}",
        "restored by": f"{restoration.get('model', '')} {restoration.get('model_hash', '')}",
        "steps": restoration.get("num_inference_steps", request.get("steps")),
        "seed": request.get("seed"),
        "only": ", ".join(request.get("only") or ()),
        "strategy": request.get("strategy"),
    }
    words = {label: str(value).strip() for label, value in parts.items() if value is not None}
    return {label: value for label, value in words.items() if value}
