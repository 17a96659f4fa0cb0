"""Files are written whole or not at all; their names as people may see them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when the block ends, and is removed if it fails.

    Args:
        path: The file that is to be written or replaced; its folder must exist.

    Yields:
        The temporary path.

    Example:
        >>> with whole("answer.txt") as part:
        ...     _ = part.write_text("42")
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")  # stems may be 255 bytes long
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def hash_of(paths: Iterable[Path]) -> str:
    """First 16 hex digits of the SHA-256 of the contents of these files, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def short_hash(*parts: object) -> str:
    """16 hex digits that name this combination of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def printable(path: str | os.PathLike[str]) -> str:
    """A file name as people may see it: no control characters, no bytes that are not UTF-8."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)
