"""The documentation site is built strictly, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
ROOMS = ("rnr", "degradation", "judge", "reasoner", "restorer", "quality", "graph", "explain", "rl")
pytestmark = pytest.mark.browser  # the build takes 7 s, the looks in chromium 10 s


class Page(HTMLParser):
    """What a page is linked by, and what it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links += [(tag, value) for name in ("href", "src") if (value := given.get(name)) is not None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",  # without -q, under which mkdocs counts no warnings
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ.copy())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for _, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{path.name}: {link}")
    assert broken == [] and len(pages) > 40


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    loaded = [
        link for page in pages.values() for tag, link in page.links if tag != "a" and not link.startswith("data:")
    ]
    assert [link for link in loaded if urlsplit(link).scheme or link.startswith("//")] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_its_entry(room: str, site: Path) -> None:
    page = (site / "api" / f"{room}.html").read_text(encoding="utf-8")
    names = importlib.import_module("rnr" if room == "rnr" else f"rnr.{room}").__all__
    entries = {found.rpartition(".")[2] for found in re.findall(r'id="(rnr\.[\w.]+)"', page)}
    assert set(names) - {"__version__", "Event"} <= entries


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 1280), ("light", 390)])
def test_it_reads_well_in_a_browser(site: Path, scheme: Literal["light", "dark"], width: int, browser: Browser) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url) if "://" in request.url else None)
        for name in ("index", "concepts", "benchmarks", "api/rnr", "compare"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
            assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth)"), name
        dark = page.evaluate("document.body.getAttribute('data-md-color-scheme')") == "slate"
        assert dark == (scheme == "dark")
        assert [url for url in elsewhere if not url.startswith("file:")] == []
