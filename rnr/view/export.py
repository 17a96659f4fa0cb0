"""`rnr view … --export DIR`: the same pages as one folder that opens from disk without a network.

A browser runs no ES modules and fetches no data from disk, so that each page's modules are joined into one script, and
the rows are a script already. Everything is written to a temporary folder that takes its name when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import PictureError
from rnr.view.library import SHOWN, Library
from rnr.view.pages import STATIC, Pages
from rnr.view.pictures import Pictures, browser_copy
from rnr.view.record_page import RecordPage

SCRIPTS = ("table", "picture", "compare")


def export(library: Library, out: Path, with_views: bool, tell: Callable[[str], None] = lambda name: None) -> list[str]:
    """Write the folder and return what could not be shown, a line each.

    Raises:
        SetupError: If `out` exists or cannot be written.
    """
    with new_folder(out) as temporary:
        return list(_Writer(library, temporary, with_views).write(tell))


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when all is written, or goes. Raises SetupError."""
    if out.exists():
        raise SetupError(f"{printable(out)}: is there already; choose another folder")
    temporary = out.with_name(f".{out.name}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, out)
    except OSError as error:
        raise SetupError(f"{printable(out)}: cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Writer:
    def __init__(self, library: Library, out: Path, with_views: bool) -> None:
        self.library, self.out, self.with_views = library, out, with_views
        self.pictures = Pictures(library)
        self.pages = Pages(library, self.pictures, alive=False)

    def write(self, tell: Callable[[str], None]) -> Iterator[str]:
        """All files; gives the problems."""
        self._put("index.html", self.pages.index().encode())
        self._put("compare.html", self.pages.compare().encode())
        self._put("data/rows.js", self.library.rows())
        for script in SCRIPTS:
            self._put(f"static/{script}.js", joined(script).encode())
        for path in (STATIC / "view.css", STATIC / "icon.png"):
            self._put(f"static/{path.name}", path.read_bytes())
        for number, run in enumerate(self.library.runs):
            for place, figure in enumerate(run.source.figures):
                if real := self.library.finder.allowed(figure):
                    self._put(f"fig/{number}-{place}.png", real.read_bytes())
            for key, item in run.items.items():
                tell(item.name)
                yield from self._item(f"{number}-{key}")

    def _item(self, identity: str) -> Iterator[str]:
        page = RecordPage(self.library, self.pictures, identity)
        self._put(f"p/{identity}.html", self.pages.picture(identity).encode())
        files = {f"img/{identity}-{role}.{page.suffix(role)}": (self.pictures.shown, role) for role in page.roles}
        files |= {f"thumb/{identity}-{r}.jpg": (self.pictures.thumbnail, r) for r in SHOWN if r in page.roles}
        for name, (make, role) in files.items():
            try:
                self._put(name, make(identity, role)[0])
            except PictureError as error:
                yield str(error)
        if page.has_views and self.with_views:
            try:
                self._put(f"views/{identity}.png", self.pictures.views(identity)[0])
            except PictureError as error:
                yield str(error)
        for again in page.agains:
            path = self.library.finder.allowed(page.run.source.again / again.file)
            if path:
                self._put(f"again/{again.file}", browser_copy(path.read_bytes(), again.file)[0])

    def _put(self, name: str, data: bytes) -> None:
        path = self.out / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def joined(name: str) -> str:
    """A module and all that it imports as one classic script. Top-level names differ between modules."""
    order: dict[str, str] = {}

    def visit(module: str) -> None:
        if module in order:
            return
        text = (STATIC / f"{module}.js").read_text(encoding="utf-8")
        for needed in re.findall(r'^import .*? from "\./(\w+)\.js";$', text, re.MULTILINE | re.DOTALL):
            visit(needed)
        order[module] = re.sub(r'^import .*? from "\./\w+\.js";\n', "", text, flags=re.MULTILINE | re.DOTALL)

    visit(name)
    bodies = [re.sub(r"^export ", "", body, flags=re.MULTILINE) for body in order.values()]
    return '"use strict";\n(() => {\n' + "\n".join(bodies) + "})();\n"
