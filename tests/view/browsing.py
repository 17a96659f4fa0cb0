"""What the tests of the pages share: looks, and short questions to a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE)]
PATIENCE = 60_000  # ms; the machine may be busy
Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE)


def names(page: Page) -> list[str]:
    return [name.strip() for name in page.locator("#rows tbody .name").all_inner_texts()]


def arrive(page: Page, pattern: str) -> None:
    """Wait for another page and its scripts; not for the views, for which the server has to load torch."""
    page.wait_for_url(pattern)


def open_first(page: Page) -> None:
    page.locator("#rows tbody [data-row]").first.click()
    arrive(page, "**/p/*")


def loaded(page: Page, selector: str) -> bool:
    """Whether every such picture has pixels."""
    page.wait_for_function("s => [...document.querySelectorAll(s)].every((i) => i.complete)", arg=selector)
    return page.evaluate("s => [...document.querySelectorAll(s)].every((i) => i.naturalWidth > 0)", selector)


def values(record: Mapping[str, Any]) -> list[Any]:
    """The entries of a record's trace that are values; null and the end of a list are chosen, too, and are none."""
    return [entry for entry in record["trace"] if not record["text"][entry["start"] :].startswith(("]", "[]", "null"))]


def column(page: Page, name: str) -> list[str]:
    return page.locator(f'#rows tbody td[data-name="{name}"]').all_inner_texts()


def falling(values: list[str]) -> bool:
    known = [float(value) for value in values if value != "–"]
    return len(known) > 1 and known == sorted(known, reverse=True) and "–" not in values[: len(known)]


def check(page: Page) -> None:
    """axe-core finds nothing serious or critical, and the page does not scroll sideways."""
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": rules}).response["violations"]
    bad = [
        (each["id"], node["html"], node["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert bad == [], bad
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], width
