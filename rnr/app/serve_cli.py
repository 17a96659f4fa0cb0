"""`rnr serve`, `rnr mcp` and `rnr bench serve`: their options. Everything heavy is imported when they run."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnr.app.options import Device, Megapixels, Out, ReasonerName, RestorerName
from rnr.degradation.errors import MissingExtra, SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.evaluation import options as bench
from rnr.work.console import hush, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

Host = Annotated[str, typer.Option(help="Beyond loopback only with API keys, or --insecure.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes; each loads its own models.")]
Queue = Annotated[int, typer.Option(min=0, max=10000, help="Requests that may wait; further ones get 429.")]
Seconds = Annotated[float, typer.Option(min=1, help="For each request, upload included; then its work is stopped.")]
Megabytes = Annotated[float, typer.Option(min=0.001, help="Refuse larger files.")]
KeyFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="API keys, one a line; RNR_API_KEYS adds to them.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without an API key.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of a worker; 0 shares the cores out.")]


def register(app: typer.Typer, bench: typer.Typer) -> None:
    app.command()(serve)
    app.command()(mcp)
    bench.command("serve")(drill)
    bench.command("hostile")(hostile)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (SetupError, MissingExtra) as error:
        stop(str(error))


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 2,
    queue: Queue = 16,
    seconds: Seconds = 300.0,
    max_megabytes: Megabytes = 100.0,
    max_megapixels: Megapixels = 25.0,
    keys: KeyFile = None,
    insecure: Insecure = False,
    threads: Threads = 0,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
) -> None:
    """Serve diagnose, restore and agent over HTTP: POST /diagnose, /restore, /agent; GET /ready, /metrics, /docs.

    Logs are JSON lines on stderr. A worker that dies is replaced; a client that hangs up frees its worker.
    """
    with _explained():
        _need("serve", "fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "uvicorn")
        hush()
        from rnr.serve.http import application
        from rnr.serve.process import serve_http
        from rnr.serve.settings import Settings, read_keys

        settings = Settings(reasoner, restorer, device, workers, queue, seconds, max_megabytes, max_megapixels, threads)
        serve_http(settings, read_keys(keys), host, port, insecure, application)


def mcp(
    folders: Annotated[list[Path], typer.Argument(help="Folders whose images may be read.", show_default=False)],
    out: Out,
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of stdin and stdout.")] = False,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 2,
    queue: Queue = 16,
    seconds: Seconds = 300.0,
    max_megapixels: Megapixels = 25.0,
    max_megabytes: Megabytes = 100.0,
    keys: KeyFile = None,
    insecure: Insecure = False,
    threads: Threads = 0,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
) -> None:
    """Serve diagnose, restore and agent to programs over the Model Context Protocol.

    Reads images inside FOLDERS, writes to OUT, and nothing else. Ends with its client.
    """
    with _explained():
        _need("mcp", "mcp.server")
        hush()
        from rnr.serve.gate import Gate
        from rnr.serve.process import serve_mcp
        from rnr.serve.settings import Settings, read_keys

        settings = Settings(
            reasoner,
            restorer,
            device,
            workers,
            queue,
            seconds,
            max_megabytes,
            max_megapixels,
            threads,
            str(out / "agent"),
        )
        gate = Gate(folders, max_megabytes)
        serve_mcp(settings, gate, out, (host, port) if http else None, read_keys(keys), insecure)


def drill(
    images: bench.Images,
    out: bench.Out,
    seconds: Annotated[float, typer.Option(min=10, help="Of load; then half as long against one worker.")] = 600.0,
    clients: Annotated[int, typer.Option(min=1, max=256, help="That ask at the same time.")] = 16,
    workers: Workers = 2,
    kill: Annotated[bool, typer.Option("--kill/--no-kill", help="kill -9 one worker in the middle.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Put the service under load: latency, throughput against one worker, memory; hostile uploads, one worker killed.

    Exit code 1 if an answer was wrong or missing. Linux.
    """
    from rnr.evaluation import command

    with command.errors():
        _need("serve", "fastapi", "prometheus_client")
        from rnr.serve.bench import run

        phases = run(images, out, clients, seconds, workers, kill, seed)
    wrong = [ended for phase in phases for ended in phase.ended if ended.wrong]
    for ended in wrong[:10]:
        typer.echo(f"wrong: {ended.what}, {ended.megapixels:.1f} MP: {ended.wrong}", err=True)
    if wrong or any(phase.unanswered for phase in phases):
        raise typer.Exit(1)


def hostile(
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the files and hostile.json.")],
    count: Annotated[int, typer.Option(min=1, help="Files.")] = 5000,
    seed: bench.Seed = 0,
) -> None:
    """Send damaged, lying and exploding files through `rnr restore`: no crash, no traceback, nothing opened outside.

    Exit code 1 if there was any of these.
    """
    from rnr.app.hostile_files import run

    if out.exists():
        stop(f"{out}: is there already; name a new folder")
    drilled = run(out, count, seed)
    done = sum(answers.get("done", 0) for answers in drilled.answers.values())
    typer.echo(f"{count} files in {drilled.seconds:.0f} s: {done} read, {count - done} refused, "
               f"{len(drilled.faults)} faults; {out / 'hostile.json'}")  # fmt: skip
    for fault in drilled.faults[:20]:
        typer.echo(fault, err=True)
    if drilled.faults:
        raise typer.Exit(1)


def _need(extra: str, *modules: str) -> None:
    from rnr.degradation._lazy import need

    for module in modules:
        need(module, extra)
