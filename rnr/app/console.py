"""What people see in the terminal: errors and progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from rnr.images.files import PictureError, SkippedFile
from rnr.work.outputs import printable

if TYPE_CHECKING:
    from rich.table import Table

    from rnr.degradation.diagnosis import DiagnosisRecord


class Terminal(Console):
    """A console whose reader may go away, or may not know a letter: the work goes on."""

    def on_broken_pipe(self) -> None:
        _silence(sys.stderr if self.stderr else sys.stdout)


out = Terminal(highlight=False, soft_wrap=True)
err = Terminal(stderr=True, highlight=False, soft_wrap=True)


def tolerant() -> None:
    """Letters that an output cannot spell (cp1252, ASCII) are written as escapes instead of ending the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence(stream: TextIO | None) -> None:
    """What is still to be written goes nowhere: nobody reads it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def stop(message: str, code: int = 2) -> NoReturn:
    """Print an error and leave."""
    import typer

    err.print(Text.assemble(("error: ", "bold red"), message))
    raise typer.Exit(code)


def complain(error: PictureError) -> None:
    """One picture failed: which, why, what to do."""
    complain_of(error.file, f"{error.problem}; {error.remedy}")


def complain_of(file: str, text: str) -> None:
    err.print(Text.assemble(("error: ", "bold red"), f"{printable(file)}: {text}"))


def remark(text: str) -> None:
    err.print(Text(text, "yellow"))


def tell_skipped(skipped: Sequence[Path], allowed: bool) -> list[SkippedFile]:
    """Say which files are skipped; those that may be pictures, unless that is allowed."""
    from rnr.images.skipped import problems, summary

    if skipped:
        remark(summary(skipped))
    return [] if allowed else problems(skipped)


def remark_frames(name: str, notes: Sequence[str]) -> None:
    """Say it where a file holds more pictures than are used."""
    for note in notes:
        if note.endswith(("is used", "left out")):
            remark(f"{printable(name)}: {note}")


class Meter:
    """Progress over pictures: a bar on a terminal, a line for each picture otherwise."""

    def __init__(self, total: int, title: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        label = TextColumn("{task.description}", markup=False)
        columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(compact=True), label)
        self.progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self.task = self.progress.add_task(title, total=total)

    def __enter__(self) -> Meter:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal belongs to somebody else: a question, an editor."""
        self.progress.stop()
        try:
            yield
        finally:
            self.progress.start()

    def tell(self, what: str) -> None:
        self.progress.update(self.task, description=what)

    def done(self, line: Text | None = None) -> None:
        if line is not None:
            err.print(line)
        self.progress.advance(self.task)


def plain_stdout(text: str) -> None:
    """For programs: no colours, no wrapping, each line flushed. Where nobody reads any more it goes nowhere."""
    if sys.stdout is None:  # a program without a console
        return
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def json_stdout(data: Any, indent: int | None = None) -> None:
    """JSON; with escapes where the output cannot spell its letters (`backslashreplace` would not be JSON)."""
    import json

    text = json.dumps(data, ensure_ascii=False, indent=indent)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=indent)
    plain_stdout(text)


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
        lines.append(f"quality: {quality.technical} of 100, {quality.words or ''}".rstrip(", "))
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


def hush() -> None:
    """Silence the libraries' notices to developers."""
    import warnings

    warnings.simplefilter("ignore")
