"""What every bench command does around its measurement: load, show progress, print, save, say what went wrong."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser, Restorer
    from rnr.evaluation.tables import Table


def photographs(folder: Path, limit: int | None, spread: bool = False) -> dict[str, np.ndarray]:
    """`limit` photographs by name, the first or, `spread`, evenly from all names; uint8 HWC."""
    from rnr.degradation.photographs import read_folder

    return read_folder(folder, limit, spread)


def gathered(folders: Sequence[Path], limit: int | None, spread: bool = False) -> dict[str, np.ndarray]:
    """`photographs` of each folder, by FOLDER/NAME. ValueError for two folders of one name."""
    if len({folder.name for folder in folders}) < len(folders):
        raise ValueError(f"--images: two folders are called {', '.join(folder.name for folder in folders)}")
    return {f"{folder.name}/{n}": p for folder in folders for n, p in photographs(folder, limit, spread).items()}


def use_threads(threads: int | None) -> int | None:
    """From here on; None: as many as there are cores."""
    if threads:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    return threads


def identity(reasoner: Diagnoser | None = None, restorer: Restorer | None = None) -> dict[str, Any]:
    """Which weights were measured, on which forward models."""
    from rnr.degradation.kind import PHYSICS

    about: dict[str, Any] = {"physics": PHYSICS}  # of the damage, whatever the weights were trained on
    if reasoner is not None:
        about |= {"reasoner": reasoner.identity["model"], "reasoner_hash": reasoner.identity["model_hash"]}
        about |= {"reasoner_kinds": reasoner.kinds, "reasoner_physics": reasoner.physics}
    if restorer is not None:
        about |= {"restorer": restorer.identity["model"], "restorer_hash": restorer.identity["model_hash"]}
    return about


def publish(
    tables: dict[str, Table], out: Path, settings: dict[str, Any], started: float, silent: Sequence[str] = ()
) -> None:
    """Print the tables (but for the `silent` ones), save each as CSV and markdown, and beside them what was run."""
    from importlib.metadata import version

    from rich.console import Console

    console = Console()
    for name, table in tables.items():
        table.save(out, name)
        if name not in silent:
            console.print(table.rich(console.width))
    import torch

    machine = {"machine": platform.machine(), "python": platform.python_version(), "threads": torch.get_num_threads()}
    packages = {package: version(package) for package in ("torch", "transformers", "diffusers")}
    run = {"settings": settings, "seconds": round(time.monotonic() - started, 1), "made": time.strftime("%Y-%m-%d")}
    (out / "run.json").write_text(json.dumps(run | machine | packages, indent=1, default=str) + "\n")
    typer.echo(f"tables and plots: {out}")


@contextmanager
def errors() -> Iterator[None]:
    """Mistakes of the user as one line and exit code 2; anything else is ours and keeps its traceback."""
    from rnr.degradation.errors import MissingExtra

    try:
        yield
    except (ValueError, OSError, MissingExtra) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; rows that were measured are kept, --resume (where there is one) goes on", err=True)
        raise typer.Exit(130) from None


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar with time left on stderr; yields `report(done)`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def chosen(names: str | None, known: Sequence[str]) -> list[str]:
    """A comma-separated list from the command line; all by default. Raises ValueError that lists what there is."""
    if not names:
        return list(known)
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return wanted
