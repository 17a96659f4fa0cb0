"""Files in the folders that were named which are not pictures that can be read: counted, and named by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rnr.degradation._lazy import install
from rnr.images.files import SkippedFile

# What lies beside pictures and is none: named, but no reason for an exit code.
_COMPANIONS = """
    txt md json jsonl xmp html htm css js csv tsv xml yaml yml toml ini log db dat py pdf zip
    mp4 mov avi mkv mp3 wav aae thm parquet safetensors npy npz
"""
_RAW = "dng nef cr2 cr3 arw orf rw2 pef srw raf"
_REMEDIES = {
    "heic": install("heif"),
    "jxl": install("jxl"),
    "": "name it outright if it is a picture",
}


def kind_of(path: Path) -> str:
    """The suffix in small letters; heif and hif count as heic."""
    suffix = path.suffix.lower().removeprefix(".")
    return "heic" if suffix in ("heif", "hif") else suffix


def summary(skipped: Sequence[Path]) -> str:
    """`6 files skipped: heic 1, jxl 1, ...`; empty if there are none."""
    if not skipped:
        return ""
    counts = Counter(kind_of(path) or "no suffix" for path in skipped)
    named = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    return f"{len(skipped)} file{'s' * (len(skipped) > 1)} skipped: {named}"


def problems(skipped: Sequence[Path]) -> list[SkippedFile]:
    """Those that may be pictures, each with what to do."""
    found = [(path, kind_of(path)) for path in skipped]
    return [
        SkippedFile(path, f"skipped: {kind or 'a file without a suffix'} is not read", _remedy(kind))
        for path, kind in found
        if kind not in _COMPANIONS.split()
    ]


def _remedy(kind: str) -> str:
    wanted = "a 16-bit TIFF" if kind in _RAW.split() else "PNG or TIFF"
    return _REMEDIES.get(kind, f"convert it to {wanted} first")
