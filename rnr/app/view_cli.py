"""`rnr view` and `rnr gallery`: the options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnr.degradation.errors import Error, SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.work.console import Meter, plain_stdout, remark, stop
from rnr.work.models import Models

EVERY = 500  # records between two words on progress


def view(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders of results, .jsonl, .json, .parquet, folders of images.",
                                   show_default=False)
    ],
    export: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pages as a folder that needs no server, and leave.")
    ] = None,
    host: Annotated[str, typer.Option(help="Listen there; any but the default asks for a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    no_views: Annotated[bool, typer.Option("--no-views", help="With --export: without the models' views.")] = False,
    reasoner: Annotated[str, typer.Option(help="For what is run again on a page.")] = BUILT_IN,
    restorer: Annotated[str, typer.Option(help="For what is run again on a page.")] = BUILT_IN,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:  # fmt: skip
    """See many diagnoses in a browser: sort, filter, compare two runs, write notes, edit a severity and run again.

    Reads what rnr diagnose, restore, agent and rl write. No file outside of the given folders is served.
    """
    from rnr.degradation._lazy import need

    try:
        for module in ("starlette", "uvicorn", "filelock"):
            need(module, "view")
        from rnr.view.library import Library

        with Meter(1, "reading") as meter:
            library = Library(paths, lambda n: meter.tell(f"{n} records read") if n % EVERY == 0 else None)
        if export:
            _export(library, export, not no_views)
        else:
            _serve(library, Models(reasoner, restorer, device), host, port)
    except Error as error:
        stop(str(error))


def gallery(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders that rnr restore wrote, and those of the photographs.",
                                   show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make, with index.html.", show_default=False)],
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Before and after",
) -> None:  # fmt: skip
    """Make a page of restored photographs, before and after, to share: small copies without metadata."""
    try:
        from rnr.view.gallery import gallery as written
        from rnr.view.library import Library

        library = Library(paths)
        with Meter(sum(len(run.items) for run in library.runs), "copying") as meter:
            problems = written(library, out, title, meter.counted)
    except Error as error:
        stop(str(error))
    _finish(problems, f"Open {out / 'index.html'} in a browser.")


def _export(library, out: Path, with_views: bool) -> None:  # type: ignore[no-untyped-def]
    from rnr.view.export import export

    count = sum(len(run.items) for run in library.runs)
    with Meter(count, "writing") as meter:
        problems = export(library, out, with_views, meter.counted)
    _finish(problems, f"{count} records. Open {out / 'index.html'} in a browser.")


def _finish(problems: list[str], words: str) -> None:
    """Say what was written, and what could not be shown: exit code 1 then."""
    for problem in problems:
        remark(problem)
    plain_stdout(words)
    if problems:
        raise typer.Exit(1)


def _serve(library, models: Models, host: str, port: int) -> None:  # type: ignore[no-untyped-def]
    import socket

    import uvicorn

    from rnr.view.guard import Guard
    from rnr.view.server import application

    guard = Guard(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # before the address is printed: whoever opens it at once waits
    except OSError as error:
        remedy = "choose another --port, or 0 for any that is free"
        raise SetupError(f"{host}:{port}: cannot be listened on ({error.strerror}); {remedy}") from error
    count = sum(len(run.items) for run in library.runs)
    plain_stdout(f"{count} records at {guard.address(listening.getsockname()[1])}  (Ctrl-C ends it)")
    app = application(library, models, guard)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listening])
