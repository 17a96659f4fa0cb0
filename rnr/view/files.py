"""Which files are the pictures of a record: what came in, the result, the clean picture, steps, attribution maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.kind import kinds
from rnr.work.agent_worker import HOME
from rnr.work.agents import STORE

if TYPE_CHECKING:
    from rnr.view.finder import Finder
    from rnr.view.items import Item

BROWSER = {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif"}  # shown as they are; others become PNG
Files = dict[str, tuple[list[Path], str]]


def files_of(item: Item, data: Mapping[str, Any], finder: Finder) -> Files:
    """Before and after, by role: the files that may be it, and its sha256 (empty where it is not known)."""
    source = data.get("source") or {}
    output = item.folder / str(data["output"]) if data.get("output") else None
    name = str(data.get("file") or source.get("file") or "")
    found: Files = {}
    if output:
        found["after"] = [path for path in [finder.allowed(output)] if path], ""
    if name:
        sha256 = str(source.get("sha256") or "")
        found["before"] = finder.candidates(name, item.folder, sha256, apart=output), sha256
        if output and data.get("untouched") and found["after"][0]:
            found["before"] = found["after"][0] + found["before"][0], found["before"][1]
    return {role: files for role, files in found.items() if files[0] and role not in item.pictures}


def more_files_of(item: Item, data: Mapping[str, Any], truth: Mapping[str, Any] | None, finder: Finder) -> Files:
    """What only a picture's own page shows: clean, steps of the agent, legs, attribution maps."""
    found: Files = {}
    clean = (truth or {}).get("source") or {}
    if clean.get("file"):
        sha256 = str(clean.get("sha256") or "")
        found["clean"] = finder.candidates(str(clean["file"]), item.folder, sha256), sha256
    wanted = dict(_steps(item, data)) | dict(_legs(item, data)) | dict(_maps(item, data))
    found |= {role: ([path], "") for role, path in wanted.items()}
    known = {role: ([p for p in paths if finder.allowed(p)], sha) for role, (paths, sha) in found.items()}
    return {role: files for role, files in known.items() if files[0]}


def _steps(item: Item, data: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for number, step in enumerate((data.get("agent") or {}).get("steps") or ()):
        for place, candidate in enumerate(step.get("candidates") or ()):
            sha256 = str(candidate["picture"]["sha256"])
            yield f"step{number}c{place}", item.folder / HOME / STORE / sha256[:2] / f"{sha256}.png"


def legs_of(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What each finding did, as the restorer recorded it; empty where it did not."""
    legs = (data.get("restoration") or {}).get("legs") or data.get("legs") or ()
    return [leg for leg in legs if isinstance(leg, Mapping)]


def _legs(item: Item, data: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for number, leg in enumerate(legs_of(data)):
        if leg.get("picture"):
            yield f"leg{number}", item.folder / str(leg["picture"])


def _maps(item: Item, data: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Attribution maps: `attribution: {KIND: FILE}` in the record, or NAME.attribution.KIND.png beside it."""
    for kind, file in (data.get("attribution") or {}).items():
        if kind in kinds():
            yield f"map-{kind}", item.folder / str(file)
    name = Path(item.identity).name
    stem = Path(name).stem if "." in name else name
    for path in sorted(item.folder.glob(f"{_plain(stem)}.attribution.*.png")):
        if (kind := path.name.split(".")[-2]) in kinds():
            yield f"map-{kind}", path


def _plain(stem: str) -> str:
    """A name that holds no pattern for glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)
