"""The page of a picture in a real browser: zoom, tokens, severities, views, legs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.view.browsing import Open, loaded, open_first, values
from tests.view.conftest import Serve

pytestmark = pytest.mark.browser


def test_two_pictures_share_one_zoom(visit: Open, address: str) -> None:
    page = visit(address)
    open_first(page)
    assert loaded(page, ".pane img")
    clip = "() => [...document.querySelectorAll('.pane')].map((p) => getComputedStyle(p).clipPath)"
    before = page.evaluate(clip)
    box = page.locator(".stage").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 200)
    page.mouse.up()
    assert page.evaluate(clip) != before and page.get_by_label("Slider").input_value() == "25"
    transform = "() => [...document.querySelectorAll('.pane img')].map((i) => i.style.transform)"
    for mode in ("slider", "side by side"):
        if mode != "slider":
            page.get_by_role("button", name="Side by side").click()
        page.get_by_role("button", name="Zoom in").click()
        page.get_by_role("button", name="Zoom in").click()
        left, right = page.evaluate(transform)
        assert left == right and "scale(1)" not in left
        page.locator(".stage").focus()
        page.keyboard.press("ArrowRight")
        moved = page.evaluate(transform)
        assert moved[0] == moved[1] != left
        page.get_by_role("button", name="Fit").click()
        assert "scale(1)" in page.evaluate(transform)[0]
    stages = page.get_by_label("Right picture").locator("option").all_inner_texts()
    assert stages == ["before", "after", "undamaged original"]


def test_each_token_tells_how_sure_the_model_was(visit: Open, address: str, gallery: Path) -> None:
    page = visit(address)
    open_first(page)
    record = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())["before"]
    tokens = page.locator(".columns .chain .token")
    assert tokens.count() == len(values(record))
    severity = page.locator(".finding", has=page.get_by_role("heading", name="noise")).locator(
        ".value", has_text="severity"
    )
    severity.locator(".token").hover()
    tip = severity.locator(".tip")
    expect(tip).to_be_visible()
    assert "% sure" in tip.inner_text() and tip.inner_text().count("token") >= 2  # digits are tokens of their own
    severities = [entry for entry in record["trace"] if entry["field"] == "findings.noise.severity"]
    others = [other for entry in severities for other in entry["alternatives"]]
    assert "not recorded" not in tip.inner_text() and " 0 %" not in tip.inner_text()
    assert severity.locator(".tip .other").count() == sum(map(len, others)) > 0
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    severity.locator(".token").focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_severities_views_and_record_are_those_of_the_file(visit: Open, address: str, gallery: Path) -> None:
    page = visit(address)
    open_first(page)
    data = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())
    belief = data["before"]["beliefs"]["noise"]
    row = page.locator('tr[data-kind="noise"]')
    low, high = (round(edge) for edge in belief["interval"])
    assert f"{belief['probability'] * belief['severity_if_present']:.0f} →" in row.inner_text()
    assert f"{low}–{high}" in row.inner_text() and row.locator("path.interval").count() == 1
    page.locator(".views img").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.views img').naturalWidth === 896")  # loads torch: seconds
    assert page.locator(".views figcaption span").count() == 896 // 128, "a name for each view"
    page.get_by_text("The raw record").click()
    assert json.loads(page.locator("pre").inner_text()) == data
    legs = page.locator("section", has=page.get_by_role("heading", name="Legs"))
    kinds = [", ".join(leg["kinds"]).replace("_", " ") for leg in data["restoration"]["legs"]]
    assert legs.locator("tbody tr td:first-child").all_inner_texts() == kinds == ["noise"]


def test_legs_alternatives_and_attribution_are_shown_where_a_record_holds_them(
    visit: Open, serve: Serve, gallery: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    path = run / "astronaut.diagnosis.json"
    data = json.loads(path.read_text())
    data["restoration"]["legs"] = [{"kinds": ["noise"], "dose": 0.9, "severity": None, "removed": 31.5}]
    for trace in data["before"]["trace"]:
        trace["alternatives"] = [[["another", -2.302585]] for _ in trace["logprobs"]]
    path.write_text(json.dumps(data))
    shutil.copy(gallery / "clean" / "rocket.png", run / "astronaut.attribution.noise.png")
    page = visit(serve(run, gallery / "damaged"))
    open_first(page)
    legs = page.locator("section", has=page.get_by_role("heading", name="Legs"))
    assert legs.locator("tbody td").all_inner_texts() == ["noise", "0.9", "–", "31.5"]  # not known is not 0
    page.locator(".finding .token").first.focus()
    assert "or another 10.0 %" in page.locator(".finding .tip").first.inner_text()
    page.locator(".map").scroll_into_view_if_needed()
    assert loaded(page, ".overlay img")
