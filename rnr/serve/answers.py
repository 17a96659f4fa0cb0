"""From a worker's answer to an HTTP response: JSON, the picture alone, both side by side, or a stream of events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from rnr.serve.errors import ServiceError
from rnr.serve.pool import Pool
from rnr.serve.wire import Message
from rnr.serve.work import Task

PING = 15.0  # seconds of silence after which a stream says that it lives; proxies often cut at 30 or 60


def pictured(answer: Message, accept: str) -> Response:
    """By the first media type of the Accept header that is known: JSON, image/*, or multipart/mixed."""
    for wanted in (part.partition(";")[0].strip().lower() for part in accept.split(",")):
        if wanted.startswith("image/"):
            return _alone(answer)
        if wanted == "multipart/mixed":
            return _both(answer)
        if wanted in ("application/json", "*/*"):
            break
    return JSONResponse(with_picture(answer))


def with_picture(answer: Message) -> dict[str, Any]:
    """The head with the picture's bytes in base64."""
    picture = {**answer.head["picture"], "data": base64.b64encode(answer.blobs[0]).decode()}
    more = {"report": answer.blobs[1].decode()} if len(answer.blobs) > 1 else {}
    return {**answer.head, **more, "picture": picture}


def _alone(answer: Message) -> Response:
    """The picture; what fits into headers says the rest."""
    seen = answer.head["summary"]
    headers = {f"X-RNR-Severity-{when.title()}": _severities(seen[when]) for when in ("before", "after")}
    headers["X-RNR-Untouched"] = str(answer.head["record"]["untouched"]).lower()
    headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(answer.head['picture']['name'])}"
    return Response(answer.blobs[0], headers=headers, media_type=answer.head["picture"]["media_type"])


def _severities(summary: dict[str, Any]) -> str:
    """haze=36.1, noise=17.0: the kinds that are present."""
    return ", ".join(f"{kind}={summary['expected_severity'][kind]}" for kind in summary.get("present", {}))


def _both(answer: Message) -> Response:
    """multipart/mixed (RFC 2046): the record, and the picture beside it."""
    border, picture = f"rnr-{secrets.token_hex(16)}", answer.head["picture"]
    name = f"attachment; filename*=UTF-8''{quote(picture['name'])}"
    parts = [("application/json", "inline; name=record", json.dumps(answer.head, ensure_ascii=False).encode())]
    parts.append((picture["media_type"], name, answer.blobs[0]))
    lines = []
    for media, disposition, data in parts:
        lines += [f"--{border}\r\nContent-Type: {media}\r\nContent-Disposition: {disposition}\r\n\r\n".encode(), data]
        lines.append(b"\r\n")
    return Response(b"".join([*lines, f"--{border}--\r\n".encode()]), media_type=f"multipart/mixed; boundary={border}")


Happening = dict[str, Any] | None  # None: nothing for PING seconds
_END: dict[str, Any] = {}


async def happenings(pool: Pool, task: Task, data: bytes, deadline: float) -> AsyncGenerator[Happening]:
    """The events of a task and, last, its result. Raises ServiceError; closed or cancelled, it cancels the task."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    work = asyncio.ensure_future(pool.run(task, data, events.put_nowait, deadline))
    work.add_done_callback(lambda done: events.put_nowait(_END))
    try:
        while (happening := await _within(PING, events)) is not _END:
            yield happening
        yield {"event": "result", **with_picture(await work)}
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _within(seconds: float, events: asyncio.Queue[dict[str, Any]]) -> Happening:
    try:
        async with asyncio.timeout(seconds):
            return await events.get()
    except TimeoutError:
        return None


async def as_sse(first: Happening, rest: AsyncGenerator[Happening]) -> AsyncIterator[bytes]:
    """Server-sent events (WHATWG HTML, section 9.2). An error comes as the event `error`, since 200 has been said."""
    async with contextlib.aclosing(rest):
        yield _sse(first)
        try:
            async for happening in rest:
                yield _sse(happening)
        except ServiceError as error:
            yield _sse({"event": "error", "status": error.status, "code": error.code, "message": str(error)})


def _sse(happening: Happening) -> bytes:
    if happening is None:
        return b": still at work\n\n"
    return f"event: {happening['event']}\ndata: {json.dumps(happening)}\n\n".encode()
