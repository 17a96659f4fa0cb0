"""The accept test: what counts against a restoration, and what does not."""

from __future__ import annotations

import pytest

from rnr.graph.judging import verdict
from rnr.graph.state import Look
from rnr.graph.store import ImageRef
from rnr.judge.change import Change, Seen, reread


def look(sha: str, given: bool = False, **severity: float) -> Look:
    ref = ImageRef(sha256=sha * 64, width=1, height=1, bits=8)
    present = [kind for kind, value in severity.items() if value >= 10]
    return Look(picture=ref, record="r", severity=severity, present=present, plan=present, given=given)


BEFORE = look("a", haze=40, noise=30, blur=2, rain=0, low_light=0)


def judged(after: Look, content: float = 0.9, over: float = 0.0, before: Look = BEFORE) -> tuple[bool, str]:
    pixels = Change(0, 0, over, content, 0)
    seen = (Seen(None, look["severity"], ["haze", "noise"]) for look in (before, after))  # type: ignore[arg-type]
    return verdict(before, after, reread(pixels, *seen))


@pytest.mark.parametrize(
    ("after", "pixels", "accepted", "reason"),
    [
        (look("b", haze=5, noise=10, blur=2), {}, True, "fell by 55, from 70 to 15"),
        (look("b", haze=39.5, noise=30, blur=2), {}, False, "fell by 0.5 only"),
        (look("b", haze=45, noise=30, blur=2), {}, False, "rose by 5.0"),
        (look("b", haze=30, noise=30, blur=15), {}, True, "fell by 10"),  # came to light
        (look("b", haze=30, noise=30, blur=25), {}, False, "blur got worse by 23"),
        (look("b", haze=30, noise=30, rain=12, low_light=11), {}, False, "rain got worse by 12"),
        (look("b", haze=0, noise=0, blur=0), {"content": 0.49}, False, "no longer shows the same"),
        (look("b", haze=0, noise=0, blur=0), {"over": 40}, True, "fell by 70"),
        (look("b", haze=10, noise=25, blur=0), {"over": 40}, False, "over-corrected: tones were lost, 40 points"),
        (look("a", haze=0, noise=0, blur=0), {}, False, "changed nothing"),
    ],
)
def test_verdicts(after: Look, pixels: dict[str, float], accepted: bool, reason: str) -> None:
    said, why = judged(after, pixels.get("content", 0.9), pixels.get("over", 0.0))
    assert said is accepted and reason in why


def test_where_a_person_gave_the_diagnosis_no_margin_is_asked() -> None:
    after = look("b", haze=39.5, noise=30, blur=2)
    assert judged(after)[0] is False
    assert judged(after, before={**BEFORE, "given": True})[0] is True
