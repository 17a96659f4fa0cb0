"""`rnr weights`: what is there, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnr.degradation.errors import SetupError
from rnr.work.console import complain_of, json_stdout, out, plain_stdout, stages, stop

if TYPE_CHECKING:
    from rich.table import Table

    from rnr.work.weights import Weights

NOTE = """M: million parameters; samples: pictures, crops or instructions seen in
training. Licence "other": WEIGHTS-NOTICE.md. -: the weights do not say."""
FIGURES = """hash: first digits of the SHA-256. Figures as the cards have them: F1 of presence
by kind (reasoner, detector), PSNR in dB by kind and severity (experts)."""


def weights(
    path: Annotated[
        Path | None, typer.Argument(metavar="folder", help="Weights of your own, or one file.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare hashes, read cards, load; 1 if broken.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
) -> None:  # fmt: skip
    """List the weights that came with the package or were fetched from a hub: size, training, licence, figures, hash.

    With a folder, its weights instead. Nothing is loaded unless --check is given.
    """
    from rnr.work.weights import built_in, cached, of_folder

    if path is not None and not path.exists():
        stop(f"{path}: is not there; name a folder that holds weights, or none for those of the package")
    try:
        found = built_in() + cached() if path is None else of_folder(path)
    except SetupError as error:
        stop(str(error))
    problems, done = _checked(found, path is None) if check else ([each.error for each in found if each.error], "")
    if as_json:
        json_stdout([each.as_json() for each in found], indent=1)
    else:
        for table in (overview(found), figures(found)):
            out.print(table, soft_wrap=False)
    for problem in problems:
        file, _, text = problem.partition(": ")
        complain_of(file, text)
    if problems:
        raise typer.Exit(1)
    if done and not as_json:
        plain_stdout(done)


def _checked(found: Sequence[Weights], whole: bool) -> tuple[list[str], str]:
    """What is wrong, and what is said where nothing is."""
    from rnr.work.console import hush
    from rnr.work.weights_check import compared, missing, problems_of, recorded

    hush()
    known = recorded()
    problems = missing(known) if whole else []
    with stages("checking") as tell:
        for each in found:
            tell(f"checking {each.name}")
            problems += problems_of(each, known)
    hashes = compared(found, known)
    said = f"the hashes of {hashes} are as recorded" if hashes else "there is no record to compare their hashes with"
    return problems, f"{len(found)} weights checked: all are whole, and {said}"


def overview(found: Sequence[Weights]) -> Table:
    """A row for each: what it is, how large, and how it was trained."""
    table = _table("Weights", NOTE)
    for column in ("M", "MB", "Physics", "Samples", "Hours"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Licence", overflow="fold")
    for each, room in zip(found, [each.room for each in found[1:]] + [""]):
        size = "-" if each.parameters is None else f"{each.parameters / 1e6:.2f}"
        samples = "-" if each.samples is None else f"{each.samples:,}"
        hours = "-" if each.hours is None else f"{each.hours:.1f}"
        cells = (size, f"{each.bytes / 1e6:.1f}", str(each.physics or "-"), samples, hours, each.license or "-")
        table.add_row(_title(each), *cells, end_section=each.room != room)
    total = f"{sum(each.parameters or 0 for each in found) / 1e6:.2f}"
    table.add_row("all", total, f"{sum(each.bytes for each in found) / 1e6:.1f}")
    return table


def figures(found: Sequence[Weights]) -> Table:
    """A row for each: its hash, and what was measured of it."""
    table = _table("Weights", FIGURES)
    table.add_column("Hash", no_wrap=True)
    table.add_column("Figures", overflow="fold")
    for each in found:
        table.add_row(_title(each), each.hash, _words(each.figures))
    return table


def _table(first: str, note: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=Text(note, "dim"), caption_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first, overflow="fold", min_width=12)
    return table


def _title(weights: Weights) -> str:
    """With the number of its kinds where it has several; of a cached model with its name on the hub."""
    more = f", {len(weights.kinds)} kinds" if len(weights.kinds) > 1 else ""
    name = f"{weights.name.replace('_', ' ')}{more}"
    return f"{weights.room}: {name}" if weights.source == "cached" else name


def _words(figures: Mapping[str, Any]) -> str:
    """As they stand; of kinds that have several numbers each, F1."""
    flat = {name: value.get("f1") if isinstance(value, Mapping) else value for name, value in figures.items()}
    shown = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in flat.items()
             if value is not None}  # fmt: skip
    return ", ".join(f"{name}: {value}".removeprefix(": ") for name, value in shown.items()) or "-"
