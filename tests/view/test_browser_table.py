"""The table in a real browser: sort, filter, search, the address, predicted against true."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.view.browsing import Open, arrive, column, falling, loaded, names, open_first

pytestmark = pytest.mark.browser


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
