"""`rnr gallery RESULTS -o PAGE`: restored photographs before and after, as a page that one may give away.

A folder with one page and small copies: it opens from disk or lies on any web server, holds no full-size picture, no
metadata (so no positions), and nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.images.files import PictureError
from rnr.images.previews import Pair
from rnr.judge.reading import Reading
from rnr.report.plain import page
from rnr.report.thoughts import changes
from rnr.view.export import new_folder
from rnr.view.facts import records
from rnr.view.library import SHOWN, Library
from rnr.view.pictures import Pictures, small_jpeg

WIDTH = 1200  # px, longer side of a copy: sharp on a phone, 200 kB; a choice
QUALITY = 88  # of JPEG; a choice


@dataclass(frozen=True)
class Shown:
    """One photograph of the page; its pair holds names of files, the same where it came back as it was."""

    name: str
    pair: Pair
    changes: list[tuple[str, Reading, Reading]]


def gallery(library: Library, out: Path, title: str, tell: Callable[[str], None] = lambda name: None) -> list[str]:
    """Write the page and return what could not be shown, a line each.

    Args:
        library: Results of `rnr restore` or `rnr agent`, and the folders of the photographs.
        out: Folder to make.
        title: Heading of the page.
        tell: Hears the name of each photograph.

    Raises:
        SetupError: If `out` exists or cannot be written, or nothing was restored.
    """
    problems: list[str] = []
    with new_folder(out) as folder:
        (folder / "img").mkdir()
        shown = list(_shown(library, folder, problems, tell))
        html = page("gallery.html", (), False, shown=shown, title=title)
        (folder / "index.html").write_text(html, encoding="utf-8")
    return problems


def _shown(library: Library, folder: Path, problems: list[str], tell: Callable[[str], None]) -> Iterator[Shown]:
    pictures = Pictures(library)
    for number, run in enumerate(library.runs):
        for key, item in run.items.items():
            tell(item.name)
            identity = f"{number}-{key}"
            try:
                if not item.error and "after" in pictures.roles(identity):
                    yield _copied(pictures, identity, item.name, folder, *records(item.read()))
            except PictureError as error:
                problems.append(str(error))


def _copied(pictures: Pictures, identity: str, name: str, folder: Path, before, after) -> Shown:  # type: ignore[no-untyped-def]
    """Small copies of one photograph before and after, written to the folder."""
    files: list[str] = []
    for role in SHOWN if after else SHOWN[:1]:
        data, (width, height) = small_jpeg(pictures.shown(identity, role)[0], WIDTH, QUALITY, colours=True)
        files.append(f"img/{identity}-{role}.jpg")
        (folder / files[-1]).write_bytes(data)
    found = changes(DiagnosisRecord.model_validate(before), DiagnosisRecord.model_validate(after)) if after else []
    return Shown(Path(name).name, Pair(files[0], files[-1], width, height), found)
