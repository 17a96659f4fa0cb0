"""What people see in the terminal: errors and progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from rnr.degradation.files import printable
from rnr.images.files import PictureError, SkippedFile


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

    def counted(self, what: str) -> None:
        """One more is done, and this is what it was."""
        self.tell(what)
        self.done()


@contextlib.contextmanager
def stages(first: str) -> Iterator[Callable[[str], None]]:
    """What one long piece of work is at, and its seconds so far, on a terminal; yields what shows a stage."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(first, total=None)
        yield lambda stage: progress.update(task, description=stage)


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


def hush() -> None:
    """Silence the libraries' notices to developers."""
    import warnings

    warnings.simplefilter("ignore")


def problem_of(file: str, error: Exception, with_traceback: bool) -> PictureError:
    """What a row says of an error; the traceback of an unexpected one goes to stderr where it is wanted."""
    if isinstance(error, PictureError):
        return error
    if with_traceback:
        err.print("".join(traceback.format_exception(error)), markup=False)
    return PictureError(file, f"unexpected {type(error).__name__}: {error}", "run again with --traceback and report it")


def reason_of(problem: PictureError) -> str:
    """The `error` of a row; what has not been counted in one line before goes to stderr, too."""
    if not isinstance(problem, SkippedFile):
        complain(problem)
    return f"{problem.problem}; {problem.remedy}"
