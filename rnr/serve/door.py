"""What every request passes before it reaches an endpoint, and on its way out.

    key       constant-time; without it nothing of the body is read (but see LINGER)
    size      by its header, and counted while it comes, whatever the header says
    place     taken before the body is read, so that a full service refuses at once and holds no more than it can serve
    deadline  of the whole request, a slow upload included
    gone      a client that hangs up cancels its work
    log line, metrics, X-Request-Id

Plain ASGI: the body must be counted as it streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rnr.serve.errors import ServiceError, hung_up
from rnr.serve.pool import Pool
from rnr.serve.settings import Keys

OPEN = {"/health", "/ready", "/docs", "/redoc", "/openapi.json"}  # need no key: they tell nothing and cost nothing
OPEN_BELOW = "/static-offline-docs/"
WORK = {"/diagnose", "/restore", "/agent"}
LINGER = 2.0  # seconds in which a refused body is read away: a client that is still sending would not see the answer
log = logging.getLogger("rnr.serve")

if TYPE_CHECKING:
    from rnr.serve.metrics import Metrics  # prometheus-client, which MCP does without


@dataclass
class Visit:
    """One request on its way through."""

    receive: Receive
    most_bytes: int
    deadline: float  # loop time
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    received: int = 0
    key: str | None = None
    code: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)  # the whole body
    answered: bool = False

    async def body(self) -> Message:
        """ASGI's receive, counted. Raises ServiceError for too many bytes or too slow ones."""
        if self.arrived.is_set():  # only the client's going can still come
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError:
            raise ServiceError(408, "too_slow", "the request did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise hung_up()
        self.received += len(message.get("body", b""))
        if self.received > self.most_bytes:
            raise too_large(self.most_bytes)
        if not message.get("more_body"):
            self.arrived.set()
        return message

    async def hung_up(self) -> None:
        """Returns when the client has gone, once its request has arrived."""
        await self.arrived.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def linger(self) -> None:
        """Read what is still coming and drop it, for a short while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (message := await self.receive())["type"] == "http.request" and message.get("more_body"):
                    self.received += len(message.get("body", b""))


class Door:
    def __init__(self, app: ASGIApp, pool: Pool, keys: Keys, metrics: Metrics | None = None) -> None:
        self.app, self.pool, self.keys, self.metrics = app, pool, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        settings = self.pool.settings
        visit = Visit(receive, settings.most_bytes, asyncio.get_running_loop().time() + settings.seconds)
        scope.setdefault("state", {})["visit"] = visit
        try:
            await self._let_in(scope, visit, _noting(visit, send))
        finally:
            self._note(scope, visit)

    async def _let_in(self, scope: Scope, visit: Visit, send: Send) -> None:
        try:
            self._check(scope, visit)
            if scope["path"] not in WORK or scope["method"] != "POST":
                await self.app(scope, visit.receive, send)
                return
            with self.pool.place():
                await self._unless_gone(scope, visit, send)
        except ServiceError as error:
            await visit.linger()
            await answer(error, visit)(scope, visit.receive, send)

    def _check(self, scope: Scope, visit: Visit) -> None:
        """Raises ServiceError."""
        headers = Headers(scope=scope)
        if self.keys and not is_open(scope["path"]):
            visit.key = self.keys.named(key_of(headers))
            if visit.key is None:
                raise ServiceError(401, "no_key", "send an API key: Authorization: Bearer KEY, or X-API-Key: KEY")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > visit.most_bytes:
            raise too_large(visit.most_bytes)

    async def _unless_gone(self, scope: Scope, visit: Visit, send: Send) -> None:
        """The endpoint, cancelled when the client hangs up."""
        work = asyncio.ensure_future(self.app(scope, visit.body, send))
        gone = asyncio.ensure_future(visit.hung_up())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not visit.answered:
                raise hung_up()
            await work
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _note(self, scope: Scope, visit: Visit) -> None:
        seconds = time.monotonic() - visit.started
        path = scope["path"] if scope["path"] in WORK | OPEN | {"/metrics"} else "other"
        if self.metrics:
            self.metrics.ended(path, visit.status or 500, seconds, visit.received)
        about = {"id": visit.id, "method": scope["method"], "path": path, "status": visit.status or 500}
        about |= {"seconds": round(seconds, 3), "bytes": visit.received, "key": visit.key, "code": visit.code}
        log.log(logging.DEBUG if path in OPEN else logging.INFO, "request", extra=about)


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def key_of(headers: Headers) -> str:
    bearer = re.fullmatch(r"[Bb]earer +(\S+)", headers.get("authorization", ""))
    return bearer[1] if bearer else headers.get("x-api-key", "")


def too_large(most_bytes: int) -> ServiceError:
    return ServiceError(
        413, "request_too_large", f"more than {most_bytes / 1e6:.0f} MB in one request; send a smaller file"
    )


def answer(error: ServiceError, visit: Visit) -> JSONResponse:
    """An error as every endpoint says it."""
    visit.code = error.code
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    headers |= {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    said = {"code": error.code, "message": str(error), "request": visit.id}
    return JSONResponse({"error": said}, error.status, headers)


def _noting(visit: Visit, send: Send) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            visit.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = visit.id
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            visit.answered = True

    return noted
