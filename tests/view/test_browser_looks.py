"""Every page in a real browser: light, dark, 390 px wide, accessible."""

from __future__ import annotations

from typing import Any

import pytest

from tests.view.browsing import LOOKS, Open, check, open_first

pytestmark = pytest.mark.browser


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
