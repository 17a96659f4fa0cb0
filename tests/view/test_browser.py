"""The pages in a real browser (Debian's chromium): light, dark, 390 px, by keyboard alone, from disk, two tabs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from rnr.view.export import export
from rnr.view.library import Library
from tests.view.conftest import Serve, as_row, write_rows

pytestmark = pytest.mark.browser
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE)]
Open = Callable[..., Page]


@pytest.fixture
def complaints() -> list[str]:
    """What the browser said of scripts, the policy and missing files."""
    return []


@pytest.fixture
def visit(browser: Browser, complaints: list[str]) -> Iterator[Open]:
    """`visit(address)` opens a page; the test fails if there are complaints at its end."""
    contexts: list[BrowserContext] = []

    def start(address: str, look: str = "light", size: Any = DESK, context: BrowserContext | None = None) -> Page:
        if context is None:
            context = browser.new_context(viewport=size, color_scheme=look)  # type: ignore[arg-type]
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


def names(page: Page) -> list[str]:
    return [name.strip() for name in page.locator("#rows tbody .name").all_inner_texts()]


def arrive(page: Page, pattern: str) -> None:
    """Wait for another page and its scripts."""
    page.wait_for_url(pattern)
    page.wait_for_load_state("networkidle")


def open_first(page: Page) -> None:
    page.locator("#rows tbody [data-row]").first.click()
    arrive(page, "**/p/*")


def loaded(page: Page, selector: str) -> bool:
    """Whether every such picture has pixels."""
    page.wait_for_function("s => [...document.querySelectorAll(s)].every((i) => i.complete)", arg=selector)
    return page.evaluate("s => [...document.querySelectorAll(s)].every((i) => i.naturalWidth > 0)", selector)


def column(page: Page, name: str) -> list[str]:
    return page.locator(f'#rows tbody td[data-name="{name}"]').all_inner_texts()


def falling(values: list[str]) -> bool:
    known = [float(value) for value in values if value != "–"]
    return len(known) > 1 and known == sorted(known, reverse=True) and "–" not in values[: len(known)]


def test_the_table_sorts_filters_and_searches(visit: Open, address: str) -> None:
    page = visit(address)
    total = page.locator("#rows tbody tr").count()
    assert total >= 12 and loaded(page, "#rows .thumb img")
    for name in ("Severity", "Doubt", "Error"):
        page.get_by_role("button", name=name, exact=True).click()
        assert page.locator('th[aria-sort="descending"]').inner_text().startswith(name)
        assert falling(column(page, name)), name
    page.get_by_label("Search").fill("CHELSEA")
    assert set(names(page)) == {"chelsea.png"}
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#rows tbody tr")).to_have_count(total)
    page.get_by_label("Kind").select_option("blur")
    page.get_by_label("State").select_option("present")
    found = page.locator("#rows tbody tr")
    assert 0 < found.count() < total and all("blur" in text for text in found.all_inner_texts())
    page.get_by_label("severity", exact=True).fill("99")
    expect(page.locator("#status")).to_have_text(f"0 of {total} records")


def test_the_address_holds_the_state(visit: Open, address: str) -> None:
    page = visit(address)
    page.get_by_label("Kind").select_option("noise")
    page.get_by_label("Sort by").select_option("-doubt")
    page.get_by_label("Search").fill("png")
    wanted, link = names(page), page.url
    again = visit(link)
    assert names(again) == wanted and again.get_by_label("Kind").input_value() == "noise"
    open_first(again)
    assert again.locator("h1").inner_text() == wanted[0].split("/")[-1]
    last = again.url
    again.get_by_role("link", name="next").click()
    again.wait_for_url(lambda url: url != last)
    assert again.locator("h1").inner_text() == wanted[1].split("/")[-1]  # in the order of the table
    again.get_by_role("link", name="↑ table").click()
    arrive(again, "**/index.html#*")
    assert names(again) == wanted


def test_predicted_stands_against_the_truth(visit: Open, address: str) -> None:
    page = visit(address)
    page.get_by_text("Predicted against true severity").click()
    expect(page.locator("#scatter-words")).to_contain_text("The mean error is")
    drawn = page.evaluate("() => document.querySelector('#scatter').toDataURL()")
    page.get_by_label("Kind").select_option("noise")
    expect(page.locator("#scatter-words")).to_contain_text("findings of noise")
    assert page.evaluate("() => document.querySelector('#scatter').toDataURL()") != drawn


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
    trace = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())["before"]["trace"]
    tokens = page.locator(".columns .chain .token")
    assert tokens.count() == len(trace)
    severity = page.locator(".finding", has=page.get_by_role("heading", name="noise")).locator(
        ".value", has_text="severity"
    )
    severity.locator(".token").hover()
    tip = severity.locator(".tip")
    expect(tip).to_be_visible()
    assert "% sure" in tip.inner_text() and tip.inner_text().count("token") >= 2  # digits are tokens of their own
    others = [
        other for entry in trace if entry["field"] == "findings.noise.severity" for other in entry["alternatives"]
    ]
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
    page.wait_for_function("() => document.querySelector('.views img').naturalWidth === 512")  # loads torch: seconds
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


def test_an_agents_steps_and_an_rl_run(visit: Open, address: str) -> None:
    page = visit(address)
    page.locator("select[name=run]").select_option("agent")
    open_first(page)
    assert page.locator(".legs li").count() > 0
    page.locator(".shots img").first.scroll_into_view_if_needed()
    assert loaded(page, ".shots img")
    page = visit(address)
    page.locator("select[name=run]").select_option("rl")
    page.get_by_label("Sort by").select_option("-reward")
    assert names(page) == ["task 1", "task 0"] and loaded(page, ".figures img")
    open_first(page)
    table = page.locator("section", has=page.get_by_role("heading", name="Evaluations of the run"))
    assert table.locator("tbody tr").count() == 2 and "–" in table.inner_text()  # naturalness was not measured
    assert loaded(page, ".pane img")


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
    expect(page.locator("#again-status")).to_have_text("run again with noise 70", timeout=120_000)
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
    page.wait_for_load_state("networkidle")
    keys.press("u")
    arrive(page, "**/index.html#*")
    assert page.get_by_label("Search").input_value() == "chelsea"
    keys.press("c")
    arrive(page, "**/compare.html*")
    keys.press("j")
    keys.press("Enter")
    expect(page.locator("#pair")).to_be_visible()


@pytest.mark.parametrize(
    ("look", "size"), LOOKS, ids=lambda value: value if isinstance(value, str) else str(value["width"])
)
def test_every_page_is_accessible_and_fits(visit: Open, address: str, look: str, size: Any) -> None:
    """axe-core, WCAG 2.2 A and AA: nothing serious or critical; no page scrolls sideways."""
    page = visit(address, look, size)
    check(page)
    open_first(page)
    page.get_by_text("The raw record").click()
    page.locator(".chain .token").nth(8).focus()  # with a tip open
    check(page)
    page.locator(".chain .token").nth(8).blur()
    page.get_by_role("button", name="Keys").click()
    check(page)
    page = visit(address + "compare.html", look, size)
    page.locator("#rows [data-row]").first.click()
    check(page)


def check(page: Page) -> None:
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": rules}).response["violations"]
    bad = [
        (each["id"], node["html"], node["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert bad == []
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]


def test_names_and_errors_are_text_never_markup(visit: Open, serve: Serve, gallery: Path, tmp_path: Path) -> None:
    attack = "<img src=x onerror=document.title='owned'>\"'.png"
    row = as_row(gallery / "run-a" / "astronaut.diagnosis.json") | {"file": attack}
    row["diagnosis"]["scene"]["summary"] = attack
    broken = {"file": "b.png", "diagnosis": None, "error": attack}
    page = visit(serve(write_rows(tmp_path / "rows.jsonl", [row, broken])))
    assert attack in page.locator("#rows").inner_text() and page.locator("#rows img").count() == 0
    open_first(page)
    assert attack in page.locator("h1").inner_text() and "owned" not in page.title().split(attack)[-1]
    assert page.locator("main img[src=x]").count() == 0


def test_the_export_opens_from_disk_without_a_network(
    visit: Open, browser: Browser, gallery: Path, tmp_path: Path
) -> None:
    paths = [gallery / part for part in ("run-a", "run-b", "agent", "rl", "damaged", "clean")]
    assert export(Library(paths), tmp_path / "out", with_views=True) == []
    moved = (tmp_path / "out").rename(tmp_path / "sent to somebody")
    context = browser.new_context(viewport=DESK, offline=True)  # type: ignore[arg-type]
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = visit((moved / "index.html").as_uri(), context=context)
    assert page.locator("#rows tbody tr").count() == 9 and loaded(page, "#rows img, .figures img")
    page.get_by_label("Sort by").select_option("-error")
    assert falling(column(page, "Error"))
    wanted = names(page)
    open_first(page)
    assert page.locator("h1").inner_text() == wanted[0] and loaded(page, ".pane img")
    page.locator(".views img").scroll_into_view_if_needed()
    assert loaded(page, ".views img")
    expect(page.get_by_text("open the run with")).to_be_visible()  # a folder can neither restore nor keep notes
    assert page.locator("#note, #again input").count() == 0
    page.locator(".chain .token").first.hover()
    expect(page.locator(".tip").first).to_be_visible()
    page.get_by_role("link", name="Two runs").click()
    arrive(page, "**/compare.html*")
    page.locator("#rows [data-row]").first.click()
    assert loaded(page, "#pair .pane img")
    assert asked and all(url.startswith(moved.as_uri()) for url in asked)
    context.close()
