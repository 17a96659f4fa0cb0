"""The service as a process: what is checked before it listens, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from rnr.degradation.errors import SetupError
from rnr.serve.gate import Gate
from rnr.serve.logs import log_as_json
from rnr.serve.pool import Pool
from rnr.serve.settings import Keys, Settings, check_exposure

LAST_REQUESTS = 30  # seconds that requests get when the service is asked to end; a choice
log = logging.getLogger("rnr.serve")


def serve_http(
    settings: Settings, keys: Keys, host: str, port: int, insecure: bool, make: Callable[[Pool, Keys], ASGIApp]
) -> None:
    """Listen until a signal comes. Raises SetupError for a port, a host or models that cannot be had."""
    check_exposure(host, keys, insecure)
    log_as_json()

    async def main(pool: Pool) -> None:
        config = uvicorn.Config(
            make(pool, keys), host=host, port=port, log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=LAST_REQUESTS, lifespan="on",
        )  # fmt: skip
        await uvicorn.Server(config).serve()

    _run(settings, main)


def serve_mcp(
    settings: Settings, gate: Gate, out: Path, address: tuple[str, int] | None, keys: Keys, insecure: bool
) -> None:
    """MCP on stdin and stdout until the client goes, or at http://ADDRESS/mcp until a signal. Raises SetupError."""
    from rnr.serve.door import Door
    from rnr.serve.mcp import Tools, server

    if address:
        check_exposure(address[0], keys, insecure)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{out}: cannot write here ({error.strerror}); choose another folder") from error

    def over_http(pool: Pool, keys: Keys) -> ASGIApp:
        app = server(Tools(pool, gate, out)).streamable_http_app(
            host=host, max_request_body_size=settings.most_bytes, streamable_http_path="/mcp"
        )
        return Door(app, pool, keys)

    async def over_stdio(pool: Pool) -> None:
        await server(Tools(pool, gate, out)).run_stdio_async()

    if address:
        host, port = address
        serve_http(settings, keys, host, port, insecure, over_http)
    else:
        log_as_json()
        _run(settings, over_stdio)


def _run(settings: Settings, main: Callable[[Pool], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with Pool(settings) as pool:
            work = asyncio.ensure_future(main(pool))
            pool.broken.add_done_callback(lambda broken: work.cancel())
            try:
                await work
            finally:
                if pool.broken.done() and not pool.broken.cancelled():
                    raise pool.broken.result()

    try:
        asyncio.run(all_of_it())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SystemExit as error:  # uvicorn's, where it cannot listen; it has logged the reason
        raise SetupError("the service could not listen; is the port in use?") from error
