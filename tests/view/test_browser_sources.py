"""Every kind of source in a real browser: records, tables, an agent and its store, rl runs, a folder from disk."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from rnr.view.export import export
from rnr.view.library import Library
from tests.view.browsing import DESK, Open, arrive, column, falling, loaded, names, open_first, values
from tests.view.conftest import Serve, as_row, write_loop_a, write_rows, write_table

pytestmark = pytest.mark.browser


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


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_a_table_of_records(visit: Open, serve: Serve, gallery: Path, tmp_path: Path, suffix: str) -> None:
    rows = [as_row(path) for path in sorted((gallery / "run-a").glob("*.json"))]
    page = visit(serve(write_table(tmp_path / f"rows{suffix}", rows, gallery), gallery / "damaged"))
    assert names(page) == ["astronaut.png", "chelsea.png", "coffee.png"] and loaded(page, "#rows .thumb img")
    open_first(page)
    assert loaded(page, ".pane img") and page.locator(".chain .token").count() == len(values(rows[0]))


def test_an_agents_store(visit: Open, serve: Serve, gallery: Path) -> None:
    page = visit(serve(gallery / "agent" / "agent" / "pictures"))
    assert page.locator("#rows tbody tr").count() > 0 and loaded(page, "#rows .thumb img")
    open_first(page)
    assert loaded(page, ".pane img") and page.locator(".chain li").count() > 0


def test_an_rl_run_of_the_reasoner(visit: Open, serve: Serve, tmp_path: Path) -> None:
    """Loop A records no pictures: what was evaluated, and the training step by step."""
    write_loop_a(tmp_path / "reasoner")
    page = visit(serve(tmp_path / "reasoner"))
    assert names(page) == ["policy", "supervised, same time", "training"]
    assert column(page, "severity_mae") == ["15.50", "17.00", "–"]
    page.locator("#rows [data-row]", has_text="training").click()
    arrive(page, "**/p/*")
    rows = page.locator("section", has=page.get_by_role("heading", name="Evaluations of the run")).locator("tbody tr")
    found = [text.split() for text in rows.all_inner_texts()]
    assert found == [["1", "0.1", "–", "0.1", "0.01"], ["2", "0.2", "–", "0.1", "0.02"]]


def test_another_host_asks_for_the_key(browser: Browser, visit: Open, serve: Serve, gallery: Path) -> None:
    address = serve(gallery / "run-a", "--host", "0.0.0.0").replace(socket.gethostname(), "127.0.0.1")
    page = visit(address)
    assert "key=" not in page.url and page.locator("#rows tbody tr").count() == 3
    open_first(page)  # the cookie is enough
    assert page.locator("h1").inner_text() == "astronaut.png"
    stranger = browser.new_context().new_page()
    answer = stranger.goto(address.partition("?")[0])
    assert answer and answer.status == 401 and "the key is missing" in stranger.content()
    stranger.context.close()


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
