"""Pictures by content: `ab/abcd….png` is the picture whose pixels have that sha256, beside it what is known of it.

Lossless PNG, 8 or 16 bits. Every file is written under a temporary name, flushed to disk and renamed, so that it is
whole or not there; the temporary files of a process that was killed are removed when a store is opened. Equal content
is stored once, and any number of threads and processes may use one store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from rnr.degradation._lazy import LazyModule
from rnr.degradation.errors import Error

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.graph.state import Look
else:
    np = LazyModule("numpy")

_NAME = re.compile(r"[0-9a-f]{64}")
_NOTE = re.compile(r"[0-9a-z]{1,40}")


class ImageRef(TypedDict):
    """A picture in the store, as states carry it."""

    sha256: str  # of shape, dtype and pixels
    width: int
    height: int
    bits: int  # 8 or 16


class StoreError(Error, ValueError):
    """Something is not in the store, or is not what it should be: which file, and what to do.

    Example:
        >>> issubclass(StoreError, ValueError)
        True
    """


class Store:
    """A folder of pictures by their content. `put` and `get` arrays (H, W, 3) of uint8 or uint16, RGB order.

    Args:
        folder: It is made where it is missing.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> store = Store(tempfile.mkdtemp())
        >>> ref = store.put(np.zeros((2, 3, 3), np.uint8))
        >>> ref["width"], ref["bits"], store.get(ref).shape
        (3, 8, (2, 3, 3))
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def put(self, pixels_HWC3: np.ndarray) -> ImageRef:
        """Keep a picture; float in [0, 1] is rounded to 16 bits. OSError where the disk does not take it."""
        import cv2

        pixels = _whole_numbers(pixels_HWC3)
        height, width = pixels.shape[:2]
        ref = ImageRef(sha256=_digest(pixels), width=width, height=height, bits=8 * pixels.itemsize)
        path = self.path(ref)
        if not self.holds(ref):
            _, data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
            self._write(path, data.tobytes())
        return ref

    def get(self, ref: ImageRef) -> np.ndarray:
        """The pixels, uint8 or uint16 (H, W, 3). StoreError if the file is missing or not what was stored."""
        import cv2

        path = self.path(ref)
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except FileNotFoundError:
            raise StoreError(
                f"{path}: the picture is gone; run again under a new thread, and it is made anew"
            ) from None
        bgr = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        pixels = None if bgr is None or bgr.ndim != 3 else np.ascontiguousarray(bgr[..., ::-1])
        if pixels is None or _digest(pixels) != ref["sha256"]:
            raise StoreError(f"{path}: the file was changed since it was written; run again, and it is made anew")
        return pixels

    def holds(self, ref: ImageRef) -> bool:
        """Is the picture here, and whole? StoreError where this can be no picture's reference."""
        self.path(ref)
        try:
            self.get(ref)
        except StoreError:
            return False
        return True

    def path(self, ref: ImageRef) -> Path:
        """Where the PNG stands."""
        return self._beside(ref["sha256"], "png")

    def keep_note(self, sha256: str, name: str, data: dict[str, Any]) -> None:
        """Write JSON beside a picture: a diagnosis, or what a restoration of it gave."""
        if not _NOTE.fullmatch(name):
            raise StoreError(f"{name!r}: a note's name has letters and digits only")
        self._write(self._beside(sha256, f"{name}.json"), json.dumps(data, ensure_ascii=False).encode())

    def note(self, sha256: str, name: str) -> dict[str, Any] | None:
        """What `keep_note` wrote; None if nothing did, or if it was damaged since: then it is made again."""
        path = self._beside(sha256, f"{name}.json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def record(self, look: Look) -> DiagnosisRecord:
        """What a look at a picture saw; an error instead of a diagnosis where that was lost."""
        from rnr.degradation.diagnosis import DiagnosisRecord

        note = self.note(look["picture"]["sha256"], look["record"])
        return DiagnosisRecord.model_validate(note or {"diagnosis": None, "error": "its record is gone"})

    def _beside(self, sha256: str, suffix: str) -> Path:
        if not _NAME.fullmatch(sha256):  # a state may come from anywhere
            raise StoreError(f"{sha256[:80]!r} is not the sha256 of a picture")
        return self.folder / sha256[:2] / f"{sha256}.{suffix}"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{os.getpid()}-{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self.folder.glob("??/.*.tmp"):
            if not _alive(path.name[1:].split("-")[0]):
                path.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    if process.isdigit() and os.name == "posix":
        with contextlib.suppress(PermissionError):
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                return False
    return True


def _whole_numbers(pixels_HWC3: np.ndarray) -> np.ndarray:
    if pixels_HWC3.ndim != 3 or pixels_HWC3.shape[2] != 3 or 0 in pixels_HWC3.shape:
        raise StoreError(f"a picture has the shape (H, W, 3), not {pixels_HWC3.shape}")
    if pixels_HWC3.dtype.kind == "f":
        if not np.isfinite(pixels_HWC3).all():
            raise StoreError("the picture holds NaN or infinity; restore it again on the CPU")
        return np.rint(pixels_HWC3.clip(0, 1) * np.float32(65535)).astype(np.uint16)
    if pixels_HWC3.dtype not in (np.uint8, np.uint16):
        raise StoreError(f"a picture is uint8, uint16 or float in [0, 1], not {pixels_HWC3.dtype}")
    return np.ascontiguousarray(pixels_HWC3)


def _digest(pixels_HWC3: np.ndarray) -> str:
    head = f"{pixels_HWC3.shape} {pixels_HWC3.dtype.name}".encode()
    return hashlib.sha256(head + pixels_HWC3.astype(pixels_HWC3.dtype.newbyteorder("<")).tobytes()).hexdigest()
