"""The report opens with a parser, holds everything itself, and tells the states apart."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding, Quality, Scene, reasoning_order
from rnr.images.files import Picture
from rnr.images.previews import DETAIL, limit_for, previews
from rnr.report.plain import Entry, render

from .conftest import Run

VOID = {"meta", "img", "input", "br", "link", "hr"}
NASTY = "<img src=x onerror=alert(1)>\"&'.png"


class Page(HTMLParser):
    """Elements with their attributes, the visible text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == [], "unclosed elements"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def record(**findings: Finding) -> DiagnosisRecord:
    names = [name for name in reasoning_order() if name in findings]
    diagnosis = Diagnosis(
        scene=Scene(lighting="bright", layout="brighter_top"),
        findings={name: findings[name] for name in names},
        quality=Quality(technical=48, words="fair"),
        plan=[name for name in names if findings[name].present],
    )
    return DiagnosisRecord(diagnosis=diagnosis, picture_size=(8, 8), model="a model", model_hash="0123456789abcdef")


def entry(
    before: DiagnosisRecord, after: DiagnosisRecord | None = None, name: str = "x.png", notes: tuple = ()
) -> Entry:
    about = {"file": name, "sha256": "00ff", "width": 8, "height": 8, "format": "PNG", "bit_depth": 8}
    data = {
        "source": about,
        "output": name,
        "explanation": "" if after else "nothing found, left as it is",
        "notes": list(notes),
        "before": before.model_dump(mode="json"),
        "after": (after or before).model_dump(mode="json"),
        "restoration": {"model": "restorer", "model_hash": "fedc", "seed": 7, "tile": 512, "seconds": 1.5},
        "request": {"steps": 4, "only": [], "diagnosis": None},
        "versions": {"torch": "2"},
    }
    return Entry(name, "restored" if after else "untouched", data=data)


@pytest.fixture(scope="module")
def page(batch: Run) -> Page:
    return Page((batch.out / "report.html").read_text(encoding="utf-8"))


def test_the_real_report_needs_nothing_from_outside(page: Page, batch: Run):
    text = (batch.out / "report.html").read_text(encoding="utf-8")
    without_pictures = re.sub(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe", without_pictures.replace("// ", ""))
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    targets = [anchor["href"] or "" for anchor in page.all("a")]
    records = [unquote(target) for target in targets if not target.startswith("#")]
    assert sorted(records) == sorted(f"./{path.relative_to(batch.out)}" for path in batch.out.rglob("*.diagnosis.json"))
    assert not any("src" in script for script in page.all("script"))
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.all("meta"))


def test_the_real_report_tells_all(page: Page, batch: Run):
    assert len(page.all("article")) == 9 and len(page.all("figure")) == 5
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    data = json.loads((batch.out / "deep.diagnosis.json").read_text())
    finding = data["before"]["diagnosis"]["findings"]["noise"]
    assert finding["evidence"] in page.words
    for words in (
        "5 restored", "4 failed", "Chain of thought", "Second look", "too few photons", "192 × 160, 16-bit PNG",
        data["before"]["model_hash"], data["restoration"]["model_hash"], data["source"]["sha256"],
        "diagnose_tuned, version", "no such file", "check the spelling of the path", "a.png",
    ):  # fmt: skip
        assert words in page.words, words


def test_sliders_work_by_keyboard(page: Page):
    sliders = page.all("input")
    assert len(sliders) == 5
    assert all(slider["type"] == "range" and slider["aria-label"] for slider in sliders)


def test_a_quality_says_whose_it_is():
    before, after = record(), record()
    assert before.diagnosis
    scored = before.diagnosis.model_copy(update={"quality": Quality(technical=72, source="quality model")})
    after = after.model_copy(update={"diagnosis": scored})
    reported = Page(render([entry(before, after)])).words
    assert "48 before, fair, by the reasoner" in reported and "72 after, by the quality model" in reported
    assert "Quality 48 of 100, fair, by the reasoner" in reported and "72 of 100, by the quality model" in reported


def test_states_are_words_and_never_0():
    factors: dict[str, int | float | str] = {"type": "gaussian", "sigma": 20, "colour": "grey"}
    before = record(
        noise=Finding(evidence="grain", present=True, severity=42, factors=factors),
        haze=Finding(present=None, severity=None),
        blur=Finding(present=False, severity=0),
    )
    before.beliefs["noise"] = Belief(probability=0.97, severity_if_present=40, spread=5, interval=(33, 49))
    text = render([entry(before, record(noise=Finding(present=False, severity=0)))])
    rows = {words[0]: words for row in re.findall(r'<tr class="\w+">.*?</tr>', text, re.S) if (words := plain(row))}
    assert rows["noise"] == ["noise", "present → absent", "39 (33–49) → 0"]
    assert rows["haze"] == ["haze", "could not say → not asked", "could not say", "not asked", "– → –"]
    assert rows["blur"][:2] == ["blur", "absent → not asked"] and rows["blur"][-1] == "0 → –"
    assert rows["rain"] == ["rain", "not asked", "not asked", "not asked", "– → –"]
    reported = Page(text).words
    assert "noise present, probability 97%" in reported and "severity 39, 80% interval 33–49" in reported
    assert "sigma 20 8-bit levels" in reported and "cause too few photons" in reported
    assert "Not asked compression, low resolution, low light, snow, rain" in reported
    assert "lighting bright, layout brighter top" in reported and "Plan noise" in reported


def plain(row: str) -> list[str]:
    """The texts of a table row: title, states, words instead of bars, numbers with their intervals."""
    row = re.sub(r'<span class="range">(.*?)</span>', r" (\1)", row)
    row = re.sub(r"</?span( class=\"(muted|number)\")?>", "", row)
    return [" ".join(part.split()) for part in re.split(r"<[^>]+>", row) if part.strip()]


def test_what_comes_from_outside_is_escaped():
    before = record(noise=Finding(evidence=NASTY, present=False, severity=0))
    entries = [entry(before, name=NASTY, notes=(NASTY,)), Entry(NASTY, "failed", problem=NASTY, remedy=NASTY)]
    text = render(entries)
    page = Page(text)
    assert page.all("img") == [] and "onerror" in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)


def test_a_picture_left_alone_says_so():
    words = Page(render([entry(record(noise=Finding(present=False, severity=0)))])).words
    assert "nothing found, left as it is" in words and "as found" in words and "Second look" not in words


def test_an_interrupted_batch_says_so():
    failed = Entry("x.png", "failed", problem="broken", remedy="mend it")
    assert "interrupted before the end" in Page(render([failed], interrupted=True)).words


def test_a_second_look_that_failed_is_told():
    failed = DiagnosisRecord(diagnosis=None, error="ValueError: too strange")
    before = record(noise=Finding(present=True, severity=40))
    words = Page(render([entry(before, failed)])).words
    assert "ValueError: too strange" in words and "present → could not say" in words


def test_previews_are_small_and_show_where_it_changed():
    pixels = np.full((3000, 2000, 3), 30000, np.uint16)
    after = pixels.astype(np.float32) / 65535
    after[2500:2600, 100:200] = 1.0
    result = previews(Picture(pixels, mode="RGB;16"), after, 1400)
    assert (result.whole.width, result.whole.height) == (933, 1400)
    assert result.detail and (result.detail.width, result.detail.height) == DETAIL
    assert result.whole.before.startswith("data:image/jpeg") and result.whole.before != result.whole.after
    assert result.detail.before != result.detail.after, "the window lies on the change"


def test_small_pictures_stay_exact_and_transparent():
    pixels = np.zeros((20, 30, 3), np.uint8)
    result = previews(Picture(pixels, alpha_HW=pixels[..., 0]), None, 1400)
    assert result.whole.before.startswith("data:image/png") and result.whole.before is result.whole.after
    assert result.detail is None and result.whole.enlarged and result.whole.shown == 480


def test_many_pictures_share_one_page():
    assert limit_for(1) > limit_for(100) > limit_for(1000)
