"""Which files a stranger may have read: pictures of bounded size inside folders that were named on the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import PictureError, os_problem

LONGEST = 4096  # characters of a path


class Gate:
    """Raises SetupError for a folder that is not there."""

    def __init__(self, folders: Sequence[Path], max_megabytes: float) -> None:
        missing = [folder for folder in folders if not folder.is_dir()]
        if missing or not folders:
            raise SetupError(f"{printable(missing[0]) if missing else 'no folder'}: name folders that exist")
        self.folders = [folder.resolve() for folder in folders]
        self.max_megabytes = max_megabytes

    def picture(self, text: str) -> Path:
        """The file that a path, absolute or inside one of the folders, really is. PictureError says why it is refused.

        Symbolic links and `..` are followed first and judged by where they end; outside, all is refused alike, so that
        nobody learns what exists there.
        """
        if "://" in text or "\0" in text or not text.strip() or len(text) > LONGEST:
            raise PictureError(_shown(text), "is not a path", "name a picture inside the allowed folders, not a URL")
        for folder in self.folders:
            path = _real(folder / text)  # an absolute path replaces the folder
            if path is not None and any(allowed in path.parents for allowed in self.folders):
                return self._sized(path)
        raise PictureError(_shown(text), "there is no such picture in the allowed folders", self._remedy())

    def read(self, text: str) -> tuple[str, bytes]:
        """(name, bytes) of the picture that a path names. Raises PictureError."""
        path = self.picture(text)
        try:
            return printable(path.name), path.read_bytes()
        except OSError as error:
            raise os_problem(path, error) from error

    def _sized(self, path: Path) -> Path:
        megabytes = path.stat().st_size / 1e6
        if megabytes > self.max_megabytes:
            problem = f"{megabytes:.0f} MB, more than the {self.max_megabytes:g} allowed"
            raise PictureError(printable(path.name), problem, "make it smaller")
        return path

    def _remedy(self) -> str:
        return f"name one inside {', '.join(printable(folder) for folder in self.folders)}"


def _real(path: Path) -> Path | None:
    try:
        real = Path(os.path.realpath(path, strict=True))
        return real if real.is_file() else None
    except (OSError, ValueError):
        return None


def _shown(text: str) -> str:
    return printable(text[:200].replace("\0", "")) or "the path"
