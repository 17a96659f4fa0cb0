"""The documentation page in a real browser, without a network, and one upload through it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rnr.serve.hostile import Upload
from rnr.serve.local import Local
from tests.serve.conftest import KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("RNR_SHOTS", "")  # folder for screenshots, for a person to look at


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    yield page
    page.close()


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def test_the_page_lists_the_endpoints_and_sends_a_picture(
    service: Local, page: Page, photo: Upload, tmp_path: Path
) -> None:
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(f"http://127.0.0.1:{service.port}/docs")
    for path in ("/diagnose", "/restore", "/agent", "/ready", "/metrics"):
        page.get_by_text(path, exact=True).first.wait_for()
    shot(page, "page")

    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#api_key_value").fill(KEY)
    page.locator(".auth-container").nth(1).get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").first.click()
    restore = page.locator("#operations-pictures-restore_restore_post")
    restore.locator(".opblock-summary-control").click()
    restore.get_by_role("button", name="Try it out").click()
    file = tmp_path / "photo.png"
    file.write_bytes(photo.data)
    restore.locator("input[type=file]").set_input_files(str(file))
    restore.locator(".responses-wrapper select").first.select_option("image/png")
    restore.get_by_role("button", name="Execute").click()
    image = restore.locator(".live-responses-table img")

    image.wait_for(timeout=60_000)
    image.scroll_into_view_if_needed()
    shot(page, "restored")
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [192, 160]
    assert restore.locator(".live-responses-table tbody .response-col_status").first.inner_text().startswith("200")
    own = f"http://127.0.0.1:{service.port}/"
    assert all(url.startswith((own, "blob:", "data:")) for url in asked) and not problems
