"""Names of results. A name follows from the picture (its path below the folder that was named), not from the batch.

DIR/holiday/photo.jpg, found in DIR, becomes OUT/holiday/photo.jpg and OUT/holiday/photo.diagnosis.json. Where a name
belongs to another picture, both take the next of: the record with the suffix (photo.jpg.diagnosis.json), below the name
of the folder that was named (OUT/DIR/holiday/photo.jpg), with a hash of the picture's place. What an earlier run has
written keeps its name, so that a picture is done once, whatever joins it later.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from rnr.degradation.files import printable
from rnr.work.outputs import Job, digest, place_of, read_record


def plan(sources: Sequence[Path], arguments: Iterable[str] = (), out: Path | None = None) -> list[Job]:
    """A job for each picture, in order; no two share a file, even where capitals do not count.

    Args:
        sources: The pictures.
        arguments: What was named: folders and globs, below which a picture has its path.
        out: Where results of earlier runs may lie; None: they are not looked for.
    """
    folders = {folder for argument in arguments if (folder := _folder(argument)) is not None}
    options = [names(source, folders) for source in sources]
    owners = Owners(out, sources)
    levels = [owners.kept(jobs) for jobs in options]
    settled = [level is not None for level in levels]
    chosen = [level or 0 for level in levels]
    while True:
        count = Counter(claim for jobs, level in zip(options, chosen) for claim in jobs[level].claims)
        moving = [
            number
            for number, (jobs, level) in enumerate(zip(options, chosen))
            if not settled[number] and level + 1 < len(jobs)
            and (owners.lost(jobs[level]) or any(count[claim] > 1 for claim in jobs[level].claims))
        ]  # fmt: skip
        if not moving:
            return [jobs[level] for jobs, level in zip(options, chosen)]
        for number in moving:
            chosen[number] += 1


def names(source: Path, folders: set[Path]) -> list[Job]:
    """The names that a picture may have, the plainest first."""
    base = next((folder for folder in reversed(source.parents) if folder in folders), source.parent)
    below = PurePath(source).relative_to(base)
    if ".." in below.parts:
        below = PurePath(source.name)
    own = base.resolve().name
    found = []
    for path in (below, PurePath(own, below)):
        found += [Job(source, str(path.parent / source.stem)), Job(source, str(path), whole=True)]
    return [*found, Job(source, str(below.parent / f"{source.stem[:150]}-{place_of(source)[:8]}"))]


def _folder(argument: str) -> Path | None:
    """The folder below which an argument finds its pictures; None for a file."""
    path = Path(argument)
    if path.is_dir():
        return path
    if os.path.lexists(path) or not glob.has_magic(argument):
        return None
    fixed = list(path.parts)
    return Path(*fixed[: next(i for i, part in enumerate(fixed) if glob.has_magic(part))])


class Owners:
    """Whose results the records of an output folder are."""

    def __init__(self, out: Path | None, sources: Sequence[Path]) -> None:
        self.out = out
        self.places = {place_of(source) for source in sources} if out else set()
        self._digest = cache(digest)

    def kept(self, jobs: Sequence[Job]) -> int | None:
        """Which of its names an earlier run gave the picture."""
        if self.out is None:
            return None
        return next((i for i, job in enumerate(jobs) if self._mine(job, read_record(job.record(self.out)))), None)

    def lost(self, job: Job) -> bool:
        """Whether a file that the job would write is another picture's result."""
        if self.out is None:
            return False
        own, target = job.record(self.out), self.out / job.file
        beside = {own, *(target.with_name(Job(job.source, n).record(Path()).name) for n in (target.stem, target.name))}
        for path in beside:
            data = read_record(path)
            others = bool(data.get("source")) and not self._mine(job, data)
            if others and (path == own or data.get("output") == printable(target.name)):
                return True
        return False

    def _mine(self, job: Job, data: dict[str, Any]) -> bool:
        """A record of this very file, or of one that had its name and content and is not here."""
        source = data.get("source")
        if not isinstance(source, dict):
            return False
        place = source.get("place")
        if place == place_of(job.source):
            return True
        if place in self.places or source.get("file") != printable(job.source.name):
            return False
        return bool(source.get("sha256")) and source.get("sha256") == self._digest(job.source)
