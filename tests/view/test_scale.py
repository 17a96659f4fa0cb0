"""10,000 records: first page, sorting, filtering, memory over 100 pages. `pytest -m browser -s` prints the figures."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from rnr.degradation.diagnosis import reasoning_order
from tests.view.conftest import Serve, as_row

pytestmark = pytest.mark.browser
COUNT = 10_000
FIRST, ACTION = 1.0, 0.3  # seconds, what issue and docs promise
MORE = 0.2  # growth of the page's memory over 100 pages that still counts as flat


@pytest.fixture(scope="module")
def records(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real record with other numbers each time, ground truth included; each names the same picture."""
    root, draw = tmp_path_factory.mktemp("many"), random.Random(0)
    row = as_row(gallery / "run-a" / "astronaut.diagnosis.json")
    with (root / "rows.jsonl").open("w") as file:
        for number in range(COUNT):
            for kind in row["beliefs"]:
                probability = draw.random()
                severity = 1 + int(60 * draw.random())
                row["beliefs"][kind] |= {"probability": probability, "severity_if_present": 60 * draw.random()}
                present = probability > 0.5
                row["diagnosis"]["findings"][kind] |= {
                    "present": present,
                    "severity": severity * present,
                    "factors": {},
                }
            truth = {
                "findings": {kind: {"present": True, "severity": draw.randint(1, 60)} for kind in reasoning_order()}
            }
            name = f"{number:05d}/astronaut.png"
            file.write(json.dumps(row | {"file": name, "truth": truth}) + "\n")
    return root / "rows.jsonl"


@pytest.fixture
def page(browser: Browser, serve: Serve, records: Path, gallery: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    started = time.perf_counter()
    page.goto(serve(records, gallery / "damaged"))
    print(f"\nserver and first visit {time.perf_counter() - started:.1f} s")
    yield page
    page.close()


def best(times: list[float], limit: float) -> float:
    """The fastest of three: other work of the machine is not the page's."""
    assert min(times) <= limit, times
    return min(times)


CHANGE = """([name, value]) => {
  const field = document.querySelector('#controls').elements[name];
  const started = performance.now();
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
  document.body.getBoundingClientRect();
  const seconds = () => (performance.now() - started) / 1000;
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(seconds()))));
}"""


def test_ten_thousand_records_without_lag(page: Page) -> None:
    loads = []
    for _ in range(3):
        started = time.perf_counter()
        page.reload(wait_until="domcontentloaded")  # deferred scripts have run by then
        page.wait_for_selector("#rows tbody tr")
        loads.append(time.perf_counter() - started)
    assert page.locator("#status").inner_text() == "10,000 of 10,000 records"
    print(f"first page {best(loads, FIRST):.2f} s")
    for name, value in (
        ("sort", "-doubt"),
        ("sort", "-error"),
        ("sort", "-severity"),
        ("kind", "haze"),
        ("q", "99"),
        ("severity", "30"),
    ):
        times = []
        for _ in range(3):
            page.evaluate(CHANGE, [name, ""])
            times.append(page.evaluate(CHANGE, [name, value]))
        print(f"{name}={value} {best(times, ACTION):.3f} s")
        page.evaluate(CHANGE, [name, ""])
    assert page.locator("#rows tbody tr").count() == 50


def test_the_memory_of_the_page_is_flat_over_100_pages(page: Page) -> None:
    session = page.context.new_cdp_session(page)

    def megabytes() -> float:
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    def nodes() -> int:
        return page.evaluate("() => document.querySelectorAll('*').length")

    page.wait_for_selector("#rows tbody tr")
    for _ in range(5):
        page.get_by_role("button", name="Next page").click()
    before, elements = megabytes(), nodes()
    for _ in range(100):
        page.get_by_role("button", name="Next page").click()
    assert page.locator("#page").input_value() == "106"
    after = megabytes()
    print(f"\nmemory of the page {before:.1f} MB, 100 pages later {after:.1f} MB")
    assert after < before * (1 + MORE) and nodes() < elements * (1 + MORE)
