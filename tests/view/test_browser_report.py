"""The report of `rnr restore` in a real browser, opened from disk: it fits, and its pictures enlarge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

from rnr.degradation.diagnosis import Belief, Finding
from rnr.images.files import Picture
from rnr.images.previews import previews
from rnr.report.plain import render
from tests.rnr.test_report import entry, record
from tests.view.browsing import LOOKS, Open, check

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, np.ndarray]) -> str:
    """A photograph that was restored and one that was left as it was."""
    before = record(noise=Finding(present=True, severity=42), haze=Finding(present=False, severity=0))
    before.beliefs["noise"] = Belief(probability=0.97, severity_if_present=40, spread=5, interval=(33, 49))
    after = record(noise=Finding(present=False, severity=0), haze=Finding(present=False, severity=0))
    pixels = photographs["coffee"]
    shown = [entry(before, after, "a.png"), entry(after, name="b.png")]
    shown[0].previews = previews(Picture(pixels), 255 - pixels, 1400)
    shown[1].previews = previews(Picture(pixels), None, 1400)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(shown), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(
    ("look", "size"), LOOKS, ids=lambda value: value if isinstance(value, str) else str(value["width"])
)
def test_it_is_accessible_and_fits(visit: Open, report: str, look: str, size: Any) -> None:
    page = visit(report, look, size)
    check(page)
    assert page.locator(".range").first.inner_text() == "33–49"


def drag(page: Page, figure: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of a picture to another, in shares of its sides."""
    box = figure.bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


def style(figure: Locator, name: str) -> float:
    return float(figure.evaluate("(f, name) => parseFloat(f.style.getPropertyValue(name))", name))


def test_a_click_enlarges_and_a_drag_compares(visit: Open, report: str) -> None:
    page = visit(report)
    figure = page.locator(".compare").first
    drag(page, figure, (0.5, 0.5), (0.3, 0.5))
    assert style(figure, "--cut") == pytest.approx(30, abs=1) and figure.get_attribute("class") == "compare"
    drag(page, figure, (0.7, 0.4), (0.7, 0.4))
    assert "zoomed" in str(figure.get_attribute("class")) and style(figure, "--zoom") >= 3
    assert style(figure, "--x") == pytest.approx(70, abs=1) and style(figure, "--cut") == pytest.approx(30, abs=1)
    drag(page, figure, (0.7, 0.4), (0.8, 0.4))
    assert style(figure, "--x") < 69, "away from the edge the picture moves"
    drag(page, figure, (0.3, 0.4), (0.4, 0.4))
    assert style(figure, "--cut") == pytest.approx(40, abs=1), "the edge can still be moved"
    page.keyboard.press("Enter")
    assert "zoomed" not in str(figure.get_attribute("class")), "the keyboard does it, too"


def test_a_picture_that_was_left_enlarges(visit: Open, report: str) -> None:
    figure = visit(report).locator(".single").first
    figure.click()
    assert "zoomed" in str(figure.get_attribute("class"))
