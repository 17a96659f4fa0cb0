"""What people do on the pages, in a real browser: compare, run again, explain, write notes, by keyboard alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.view.browsing import Open, arrive, check, column, loaded, names, open_first
from tests.view.conftest import Serve

pytestmark = pytest.mark.browser


def test_two_runs_side_by_side(visit: Open, address: str) -> None:
    page = visit(address)
    page.get_by_role("link", name="Two runs").click()
    arrive(page, "**/compare.html*")
    expect(page.locator("#summary tbody")).to_contain_text("steps")
    assert page.locator("#summary tbody td").all_inner_texts() == ["1", "2"]  # all that differs between the runs
    changes = [abs(float(text)) for text in column(page, "Largest change")]
    assert len(changes) == 3 and changes == sorted(changes, reverse=True)
    page.locator("#rows [data-row]").first.click()
    expect(page.locator("#pair")).to_be_visible()
    assert loaded(page, "#pair .pane img")
    sources = page.evaluate("() => [...document.querySelectorAll('#pair .pane img')].map((i) => i.src)")
    assert "img/0-" in sources[0] and "img/1-" in sources[1]
    page.get_by_role("button", name="Zoom in").click()
    transforms = page.evaluate("() => [...document.querySelectorAll('#pair .pane img')].map((i) => i.style.transform)")
    assert transforms[0] == transforms[1] and "scale(1.5)" in transforms[0]
    title = page.locator("#pair-title").inner_text()
    assert visit(page.url).locator("#pair-title").inner_text() == title  # a deep link
    page.get_by_label("Show").select_option("changed")
    assert all(abs(float(text)) >= 5 for text in column(page, "Largest change"))


def test_edit_a_severity_and_run_again(
    visit: Open, complaints: list[str], serve: Serve, gallery: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    page = visit(serve(run, gallery / "damaged"))
    open_first(page)
    page.get_by_label("Severity of noise").fill("70")
    page.get_by_role("button", name="Run again with these").click()
    expect(page.locator("#again-status")).to_have_text("run again with noise 70", timeout=600_000)
    assert page.get_by_label("Right picture").locator("option:checked").inner_text() == "run again: noise 70"
    assert loaded(page, ".pane img")
    record = json.loads(next((run / "again").glob("*.json")).read_text())
    assert record["before"]["diagnosis"]["findings"]["noise"]["severity"] == 70
    assert record["before"]["beliefs"] == {}  # the edit overrules what the model believed
    page.reload()
    expect(page.locator("#agains")).to_contain_text("noise 70")
    page.get_by_label("Severity of noise").fill("99")
    page.evaluate("() => document.querySelector('#again').noValidate = true")
    page.get_by_role("button", name="Run again with these").click()
    expect(page.locator("#again-status")).to_contain_text("a whole number in 0..")
    assert len(complaints) == 1 and "400 (Bad Request)" in complaints.pop()  # the refusal, which the page shows


def test_explain_maps_each_severity_over_the_picture(visit: Open, serve: Serve, gallery: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    page = visit(serve(run, gallery / "damaged"))
    open_first(page)
    assert page.locator("img.map").count() == 0
    page.get_by_label("Note", exact=True).fill("not saved yet")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    expect(page.locator("#explain-status")).to_have_text("explained", timeout=900_000)
    assert page.get_by_label("Note", exact=True).input_value() == "not saved yet"
    captions = page.locator(".maps figcaption").all_inner_texts()
    assert captions == ["noise, gradient × input", "noise, the restorer's leg", "noise, occlusion"]
    page.locator("#maps").scroll_into_view_if_needed()
    assert loaded(page, ".overlay img")
    sizes = page.evaluate("() => [...document.querySelectorAll('.overlay img')].map((i) => [i.width, i.height].join())")
    assert len(set(sizes)) == 1 and len(sizes) == 6  # each map lies on its picture
    page.get_by_label("Strength of the overlay").fill("0")
    assert page.evaluate("() => getComputedStyle(document.querySelector('.map')).opacity") == "0"
    assert {path.name.split(".", 1)[1] for path in (run / "again").glob("*")} == {
        "attribution.json",
        *(f"attribution.noise.{method}.png" for method in ("gradient", "occlusion", "leg")),
    }
    page.reload()
    assert page.locator("img.map").count() == 3  # they stay
    expect(page.locator("#maps")).to_contain_text("built-in")
    check(page)


def test_two_tabs_lose_no_note(visit: Open, serve: Serve, gallery: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    address = serve(run, gallery / "damaged")
    one = visit(address)
    open_first(one)
    two = visit(one.url, context=one.context)
    for number in range(5):
        for page, name in ((one, "Ada"), (two, "Bob")):
            page.get_by_label("Note", exact=True).fill(f"{name} {number}")
            page.get_by_label("Your name").fill(name)
            page.get_by_role("button", name="Save").dispatch_event("click")  # neither waits for the other
        for page in (one, two):
            expect(page.get_by_label("Note", exact=True)).to_have_value("")
    one.get_by_role("button", name="diagnosis wrong").click()
    expect(one.get_by_role("button", name="diagnosis wrong")).to_have_attribute("aria-pressed", "true")
    two.reload()
    written = {f"{name} {number}" for name in ("Ada", "Bob") for number in range(5)}
    expect(two.locator("#notes li")).to_have_count(10)
    assert {text.split("\n")[0] for text in two.locator("#notes li").all_inner_texts()} == written
    lines = [json.loads(line) for line in (run / "view-notes.jsonl").read_text().splitlines()]
    assert {line["text"] for line in lines if "text" in line} == written
    table = visit(address)
    table.get_by_label("Label").select_option("diagnosis wrong")
    assert names(table) == ["astronaut.png"] and "10 notes" in table.locator("#rows").inner_text()


def test_the_keyboard_alone_is_enough(visit: Open, address: str) -> None:
    page = visit(address)
    keys = page.keyboard
    keys.press("/")
    keys.type("diagnoses")
    keys.press("Escape")
    keys.press("/")
    page.keyboard.press("Control+A")
    keys.type("chelsea")
    keys.press("Escape")
    keys.press("j")
    keys.press("Enter")
    arrive(page, "**/p/*")
    assert page.locator("h1").inner_text() == "chelsea.png"
    keys.press("s")
    expect(page.get_by_role("button", name="Side by side")).to_have_attribute("aria-pressed", "true")
    keys.press("+")
    expect(page.locator("[data-zoom]")).not_to_have_text("fit")
    keys.press("b")
    assert page.get_by_label("Left picture").locator("option:checked").inner_text() == "after"
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    keys.press("e")
    assert page.evaluate("() => document.activeElement.type") == "number"
    keys.press("Escape")
    keys.press("m")
    assert page.evaluate("() => document.activeElement.tagName") == "TEXTAREA"
    keys.press("Escape")
    first = page.url
    keys.press("ArrowRight")
    page.wait_for_url(lambda url: url != first)
    assert page.locator("h1").inner_text() == "chelsea.png"  # of the next run: the table showed no other
    keys.press("u")
    arrive(page, "**/index.html#*")
    assert page.get_by_label("Search").input_value() == "chelsea"
    keys.press("c")
    arrive(page, "**/compare.html*")
    keys.press("j")
    keys.press("Enter")
    expect(page.locator("#pair")).to_be_visible()
