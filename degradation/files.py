"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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
