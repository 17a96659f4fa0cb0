"""The report: one HTML file that holds everything (pictures, style, script) and opens from disk without a network."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from rnr.degradation.diagnosis import DiagnosisRecord, Quality
from rnr.degradation.files import short_hash
from rnr.degradation.kind import kinds
from rnr.judge.reading import Reading
from rnr.report.thoughts import SeverityRow, changes, scene_words, severity_rows, spoken, thoughts

if TYPE_CHECKING:
    from rnr.explain.page import Section
    from rnr.images.previews import Previews

TEMPLATES = Path(__file__).parent / "templates"
Status = Literal["restored", "untouched", "waiting", "failed"]
STATUS_WORDS: dict[Status, str] = {
    "restored": "restored",
    "untouched": "left as it is",
    "waiting": "waits for an answer",
    "failed": "failed",
}


@dataclass
class Pictured:
    """One picture of a report; one that was not worked on has a problem and a remedy instead of all else."""

    source: str  # as people may see it
    status: Status
    previews: Previews | None = None
    problem: str = ""
    remedy: str = ""
    again: bool = False  # an earlier run finished it
    record: str = ""  # the diagnosis as JSON, as a link from the page; empty where there is none

    @property
    def name(self) -> str:
        return Path(self.source).name

    @property
    def words(self) -> str:
        return STATUS_WORDS[self.status]

    @property
    def key(self) -> str:
        """Names the result, not its file: the same picture, settings and models again. Empty where there is none."""
        return ""


@dataclass
class Entry(Pictured):
    """A picture that was restored in one pass; `data` is its diagnosis JSON."""

    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return short_hash(self.data["source"]["sha256"], self.data["request"]) if self.data else ""

    @cached_property
    def before(self) -> DiagnosisRecord:
        return DiagnosisRecord.model_validate(self.data["before"])

    @cached_property
    def after(self) -> DiagnosisRecord | None:
        return None if self.status == "untouched" else DiagnosisRecord.model_validate(self.data["after"])

    @property
    def given(self) -> bool:
        """Restored by a diagnosis that a person gave."""
        return self.data["request"]["diagnosis"] is not None

    @property
    def explanation(self) -> str:
        return self.data.get("explanation", "")

    @property
    def rows(self) -> list[SeverityRow]:
        return severity_rows(self.before, self.after)

    @property
    def changes(self) -> list[tuple[str, Reading, Reading]]:
        return changes(self.before, self.after or self.before)

    @property
    def headline(self) -> str:
        """haze 62 → 8, noise 40 → 3; the reasoner is not sure: rain (probability 0.70) left alone; ..."""
        found = [f"{title} {a.number or a.words} → {b.number or b.words}" for title, a, b in self.changes]
        parts = [", ".join(found), self.explanation] if self.status == "restored" else [self.explanation]
        return "; ".join(filter(None, parts)) or self.words

    @property
    def quality(self) -> list[tuple[str, Quality]]:
        records = [("before" if self.after else "as found", self.before), ("after", self.after)]
        return [(when, record.diagnosis.quality) for when, record in records if record and record.diagnosis]

    @property
    def about(self) -> str:
        """Size, depth, format."""
        source = self.data["source"]
        several = f", {source['frames']} {'frames' if source['animated'] else 'pages'}" if "frames" in source else ""
        return f"{source['width']} × {source['height']}, {source['bit_depth']}-bit {source['format']}{several}"

    @property
    def seconds(self) -> float:
        again = self.after.seconds if self.after else 0.0
        return self.before.seconds + self.data["restoration"]["seconds"] + again

    @property
    def notes(self) -> list[str]:
        return self.data.get("notes", [])

    @property
    def facts(self) -> list[tuple[str, str]]:
        """How it was made, for whoever wants to make it again."""
        return [(label, value) for label, value in _facts(self) if value]


def _facts(entry: Entry) -> list[tuple[str, str]]:
    before, after = entry.before, entry.after
    restoration, source = entry.data["restoration"], entry.data["source"]
    passes = f", {before.forward_passes} forward passes" if before.forward_passes else ""
    skipped = entry.status == "untouched"
    settings = {"seed": "Seed", "tile": "Tile, px", "eta": "Noise of the sampler"}
    return [
        ("Diagnosed by", _identity(before.model, before.model_hash)),
        ("Prompt", f"{before.prompt}, version {before.prompt_version}" if before.prompt else ""),
        ("Restored by", "" if skipped else _identity(restoration.get("model", ""), restoration.get("model_hash", ""))),
        ("Steps", "" if skipped else str(entry.data["request"]["steps"])),
        ("Asked to remove", ", ".join(map(spoken, entry.data["request"]["only"]))),
        *((label, "" if skipped else str(restoration.get(key, ""))) for key, label in settings.items()),
        ("First diagnosis", f"{before.seconds:.2f} s{passes}" if before.seconds else ""),
        ("Restoration", "" if skipped else f"{restoration['seconds']:.2f} s"),
        ("Second diagnosis", f"{after.seconds:.2f} s" if after else ""),
        ("Source, sha256", source["sha256"]),
        ("Versions", ", ".join(f"{name} {version}" for name, version in entry.data["versions"].items())),
    ]


def _identity(model: str, model_hash: str) -> str:
    return f"{model} ({model_hash})" if model_hash else model


@dataclass(frozen=True)
class Average:
    """One kind over all pictures in which it was found."""

    title: str
    count: int
    before: float
    after: float


def averages(entries: Sequence[Entry]) -> list[Average]:
    """Mean severity before and after, of the kinds that were found; readings without a number do not count."""
    found: dict[str, list[tuple[float, float]]] = {kind.words.title: [] for kind in kinds().values()}
    for entry in entries:
        if entry.status == "restored":
            for title, before, after in entry.changes:
                if before.severity is not None and after.severity is not None:
                    found[title].append((before.severity, after.severity))
    rows = ((title, len(pairs), *(mean(side) for side in zip(*pairs))) for title, pairs in found.items() if pairs)
    return [Average(*row) for row in rows]


def render(entries: Sequence[Entry], interrupted: bool = False) -> str:
    """The whole page. Everything that comes from file names or models is escaped by the template engine."""
    return page("report.html", entries, interrupted, averages=averages(entries))


def page(template: str, entries: Sequence[Pictured], interrupted: bool, **values: Any) -> str:
    """A page of pictures, with all that these pages share."""
    return rendered(
        template,
        entries=entries,
        interrupted=interrupted,
        keys=[entry.key for entry in entries if entry.key],
        counts=Counter(entry.status for entry in entries),
        status_words=STATUS_WORDS,
        made=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        thoughts=thoughts,
        scene_words=scene_words,
        titles={kind.name: kind.words.title for kind in kinds().values()},
        **values,
    )


def rendered(template: str, **values: Any) -> str:
    """A page of `rnr/templates`: one file that needs no network."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def explanation(title: str, what: str, sentence: str, sections: Sequence[Section]) -> str:
    """The page of an explanation or an intervention."""
    return rendered("explain.html", title=title, what=what, sentence=sentence, sections=sections)
