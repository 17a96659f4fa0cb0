"""Diagnoses and scores as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.work.console import out
from rnr.work.diagnosing import Row
from rnr.work.scoring import ScoredFile

if TYPE_CHECKING:
    from rich.table import Table

IN_DETAIL = 3  # pictures up to which each gets a table of its own


def print_for_people(rows: Sequence[Row]) -> None:
    """A table in detail for each of a few pictures, one table with a row each for many."""
    good = [(row.title, row.record) for row in rows if row.record.diagnosis]
    if len(good) <= IN_DETAIL:
        for name, record in good:
            out.print(detail_table(name, record), soft_wrap=False)
    elif good:
        short = [Path(name).name for name, _ in good]
        unique = len(set(short)) == len(short)
        out.print(overview_table([(Path(n).name if unique else n, r) for n, r in good]), soft_wrap=False)


def detail_table(name: str, record: DiagnosisRecord) -> Table:
    """One picture: a row per kind, in the order of the reasoning."""
    from rich import box
    from rich.table import Table

    from rnr.report.thoughts import thoughts

    title, caption = Text(name, "bold"), _caption(record)
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    for column, side in (("Kind", "left"), ("State", "left"), ("Probability", "right"), ("Severity", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("Evidence and factors", overflow="fold")
    for thought in thoughts(record):
        factors = "\n".join(f"{f.name} {f.value} {f.unit}".rstrip() for f in thought.factors)
        severity = f"{thought.severity} ({thought.interval})" if thought.interval else thought.severity or "–"
        because = "\n".join(part for part in (thought.evidence, factors) if part)
        style = "bold" if thought.state == "present" else "dim"
        cells = (thought.title, thought.words, thought.probability or "–", severity)
        table.add_row(*(Text(cell, style) for cell in cells), Text(because, "" if style == "bold" else "dim"))
    return table


def _caption(record: DiagnosisRecord) -> Text:
    from rnr.report.thoughts import scene_words

    diagnosis = record.diagnosis
    if diagnosis is None:
        return Text("")
    quality = diagnosis.quality
    scene = ", ".join(f"{label} {words}".strip() for label, words in scene_words(diagnosis.scene))
    lines = [f"scene: {scene}" if scene else ""]
    if quality.technical is not None:
        by = "" if quality.source == "model" else f" ({quality.source})"
        lines.append(f"quality: {quality.technical} of 100, {quality.words or ''}".rstrip(", ") + by)
    lines += [f"plan: {' → '.join(diagnosis.plan) or 'nothing to undo'}"]
    lines += [f"model: {record.model} {record.model_hash}, {record.seconds:.2f} s"]
    return Text("\n".join(line for line in lines if line), "dim")


def overview_table(rows: Sequence[tuple[str, DiagnosisRecord]]) -> Table:
    """Several pictures: one row each, expected severity per kind; found kinds stand out."""
    from rich import box
    from rich.table import Table

    from rnr.degradation.kind import kinds
    from rnr.judge.reading import severity

    caption = "expected severity 0-100; bold: present; a single picture is listed in detail"
    table = Table(caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("Picture", overflow="fold", min_width=12)
    table.add_column("Quality", justify="right")
    for kind in kinds().values():
        table.add_column(kind.words.title.capitalize(), justify="right", no_wrap=True)
    for name, record in rows:
        quality = record.diagnosis.quality.technical if record.diagnosis else None
        cells = [Text(name), Text("–" if quality is None else str(quality))]
        for kind_name in kinds():
            seen = severity(record, kind_name)
            text = seen.words if seen.severity is None else seen.number
            cells.append(Text(text, "bold" if seen.state == "present" else "dim"))
        table.add_row(*cells)
    return table


def print_scores(rows: Sequence[ScoredFile]) -> None:
    """A row each: the numbers, the ladder's words with their probabilities, the nearest words."""
    good = [row for row in rows if row.score]
    if good:
        out.print(score_table(good), soft_wrap=False)


def score_table(rows: Sequence[ScoredFile]) -> Table:
    """Quality 0-100 of several pictures; a number that is missing is a dash, and the caption says why."""
    from rich import box
    from rich.table import Table

    why = {f"{name}: {text}" for row in rows if row.score for name, text in row.score.missing.items()}
    caption = "\n".join(["technical: 100 = nothing lost; in brackets the central 80%", *sorted(why)])
    table = Table(caption=Text(caption, "dim"), caption_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("Picture", overflow="fold", min_width=12)
    for column in ("Technical", "Aesthetic"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Ladder", overflow="fold")
    table.add_column("Nearest words", overflow="fold")
    for row in rows:
        found = row.score
        assert found is not None
        ladder = ", ".join(f"{word} {100 * p:.0f}%" for word, p in found.ladder.items() if p >= 0.01)
        around = f" ({found.interval[0]:.0f}-{found.interval[1]:.0f})" if found.interval else ""
        numbers = [_number(found.technical) + around, _number(found.aesthetic)]
        table.add_row(*map(Text, (row.title, *numbers, ladder, ", ".join(found.words))))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
