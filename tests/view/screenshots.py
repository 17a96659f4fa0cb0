"""The pictures of docs/view.md: `rnr view` over a folder of runs, photographed; explain the first picture before.

python -m tests.view.screenshots http://127.0.0.1:8000/ -o docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import CHROMIUM

QUALITY = 75


def shoot(browser: Browser, address: str, path: Path, **context: Any) -> Page:
    page = browser.new_page(**context, reduced_motion="reduce")
    page.goto(address)
    page.wait_for_load_state("networkidle")
    if "compare" in address:
        page.locator("#rows [data-row]", has_text="chelsea").click()
        page.evaluate("() => scrollTo(0, 0)")
    elif "/p/" in address:
        page.locator(".finding .token.s4").first.hover()
        page.get_by_role("button", name="Side by side").dispatch_event("click")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, type="jpeg", quality=QUALITY)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="what rnr view printed")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    wide: dict[str, Any] = {"width": 1280, "height": 860}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = shoot(browser, given.address, given.out / "view-table.jpg", viewport=wide)
        first = page.locator("#rows [data-row]").first.evaluate("link => link.href")
        tall = {"width": 1280, "height": 1240}
        shoot(browser, first, given.out / "view-picture.jpg", viewport=tall, color_scheme="dark")
        page = shoot(browser, first, given.out / "view-maps.jpg", viewport=wide)
        page.locator("#maps").screenshot(path=given.out / "view-maps.jpg", type="jpeg", quality=QUALITY)
        high = {"width": 1280, "height": 1040}
        shoot(browser, given.address + "compare.html", given.out / "view-runs.jpg", viewport=high)
        browser.close()


if __name__ == "__main__":
    main()
