"""Which files may be shown: pictures inside the given folders, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from rnr.images.files import SUFFIXES, PictureError
from rnr.serve.gate import Gate
from rnr.work.outputs import digest

MEGABYTES = 500.0  # the largest file that is read; a choice
FILES = 500_000  # files of the given folders that are looked at; a choice, so that `rnr view /` ends


class Finder:
    """Finds the picture that a record speaks of, by place, by name and by content."""

    def __init__(self, folders: Sequence[Path], files: Sequence[Path] = (), results: Sequence[Path] = ()) -> None:
        """`files` were given by name: tables that may hold pictures; `results` are folders of restored pictures."""
        self.folders, self.files = [folder.resolve() for folder in folders], set(files)
        self.results = {folder.resolve() for folder in results}
        self.gate = Gate(folders, MEGABYTES) if folders else None

    def also(self, folder: Path) -> None:
        """Allow a folder of our own results, once it exists; a link may lead anywhere."""
        if (
            folder.is_dir()
            and not folder.is_symlink()
            and folder.resolve() not in (self.gate.folders if self.gate else ())
        ):
            self.gate = Gate([*(self.gate.folders if self.gate else ()), folder], MEGABYTES)

    @cached_property
    def names(self) -> dict[str, list[Path]]:
        """The given folders' pictures by file name, subfolders included, links not followed."""
        found: dict[str, list[Path]] = {}
        left = FILES
        for root, folders, files in (step for folder in self.folders for step in os.walk(folder)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files[: max(0, left)]:
                if os.path.splitext(name)[1].lower() in SUFFIXES:
                    found.setdefault(name, []).append(Path(root, name))
            left -= len(files)
        return found

    def allowed(self, path: Path) -> Path | None:
        """The real path of a file inside the given folders, or given itself; None for anything else."""
        if path in self.files:
            return path
        try:
            return self.gate.picture(str(path)) if self.gate else None
        except PictureError:
            return None

    def candidates(self, name: str, near: Path, sha256: str = "", apart: Path | None = None) -> list[Path]:
        """Files that `name` may mean: a path, from the folder `near`, or of that name anywhere in the given folders.

        Args:
            name: As a record writes it.
            near: The folder of the record.
            sha256: Of its content, if known. Without it a name alone does not mean one among results.
            apart: A file that it is not: the result, which often has its source's name.
        """
        direct = self.allowed(near / name)
        others = self.names.get(Path(name.replace("\\", "/")).name, [])
        others = others if sha256 else [path for path in others if path.parent not in self.results]
        return list(dict.fromkeys(path for path in (direct, *others) if path is not None and path != apart))

    def same(self, candidates: Sequence[Path], sha256: str) -> Path | None:
        """The first candidate that is allowed and, where the content is known, is that content."""
        for path in candidates:
            real = self.allowed(path)
            if real and (not sha256 or sha256_of(real, real.stat().st_mtime_ns) == sha256):
                return real
        return None


@lru_cache(maxsize=100_000)
def sha256_of(path: Path, modified: int) -> str:
    """Remembered as long as the file is not written again."""
    return digest(path)
