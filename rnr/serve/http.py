"""`rnr serve`: the endpoints.

    POST /diagnose   picture -> record
    POST /restore    picture -> picture and record; Accept chooses application/json, image/* or multipart/mixed
    POST /agent      picture -> server-sent events, the last one the result
    GET  /health /ready /metrics /docs /openapi.json

What holds for all of them (key, limits, places, cancellation, log) is done by the door before they are reached.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from rnr import __version__
from rnr.serve.answers import as_sse, happenings, pictured
from rnr.serve.door import Door, Visit, answer
from rnr.serve.errors import ServiceError
from rnr.serve.metrics import Metrics
from rnr.serve.pool import Pool
from rnr.serve.requests import body_schema, taken
from rnr.serve.settings import Keys
from rnr.serve.work import Agent, Diagnose, Restore, Task

ABOUT = """Says what damaged a photograph (which degradations, severity 0-100, physical cause) and restores it.

Send the picture itself: PNG, JPEG, TIFF, WebP, AVIF, JPEG 2000, BMP, PPM or GIF, 8 or 16 bits.
The service opens no path and no address."""
KNOWN = {400: "not_json", 404: "not_found", 405: "not_allowed"}
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no valid API key"},
    408: {"description": "the request did not arrive in time"},
    413: {"description": "too many bytes or megapixels"},
    415: {"description": "neither a form nor JSON"},
    422: {"description": "the picture or an option is refused; the message says why"},
    429: {"description": "all places are taken; Retry-After says when to come again"},
    503: {"description": "a worker was lost; send it again"},
    504: {"description": "not done in time; the work was stopped"},
}
# For the button of the documentation page; the door checks keys, before any body is read.
_KEYS = [Depends(HTTPBearer(auto_error=False)), Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]
log = logging.getLogger("rnr.serve")


def application(pool: Pool, keys: Keys) -> Door:
    """The ASGI application over a pool that somebody else starts and ends."""
    app = FastAPIOffline(redoc_url=None, title="Reason and Restore", version=__version__, description=ABOUT)
    metrics = Metrics(pool)
    _add_work(app, pool)
    _add_state(app, pool, metrics)
    _add_errors(app)
    return Door(app, pool, keys, metrics)


def _add_work(app: FastAPI, pool: Pool) -> None:
    most = pool.settings.megabytes * 1e6

    def post(path: str, kind: type[Task], words: str, media: list[str]) -> Any:
        content: dict[str, Any] = {"content": {name: {} for name in media}, "description": "done"}
        documented: dict[int | str, dict[str, Any]] = {200: content, **ERRORS}
        extra = body_schema(kind)
        return app.post(
            path, summary=words, tags=["pictures"], responses=documented, openapi_extra=extra, dependencies=_KEYS,
            response_model=None,
        )  # fmt: skip

    @post("/diagnose", Diagnose, "What happened to a picture", ["application/json"])
    async def diagnose(request: Request) -> Response:
        """What happened to the picture: severity 0-100 of each kind of damage, evidence, physical factors, scene."""
        task, data = await taken(request, Diagnose, most)
        return JSONResponse((await pool.run(task, data, deadline=_deadline(request))).head)

    media = ["application/json", "image/png", "image/jpeg", "image/tiff", "multipart/mixed"]

    @post("/restore", Restore, "Diagnose, restore, diagnose again", media)
    async def restore(request: Request) -> Response:
        """Diagnose, restore, diagnose again. A picture in which nothing is found comes back byte for byte."""
        task, data = await taken(request, Restore, most)
        done = await pool.run(task, data, deadline=_deadline(request))
        return pictured(done, request.headers.get("accept", ""))

    @post("/agent", Agent, "Restore step by step, with events", ["text/event-stream"])
    async def agent(request: Request) -> Response:
        """Step by step; each step is checked and kept, or rolled back. Events as they happen, the last one `result`."""
        task, data = await taken(request, Agent, most)
        events = happenings(pool, task, data, _deadline(request))
        first = await anext(events)  # what is refused is refused before 200 is said
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(as_sse(first, events), media_type="text/event-stream", headers=headers)


def _deadline(request: Request) -> float:
    visit: Visit = request.state.visit
    return visit.deadline


def _add_state(app: FastAPI, pool: Pool, metrics: Metrics) -> None:
    @app.get("/health", tags=["state"], summary="Does it run?")
    async def health() -> dict[str, str]:
        """200 as long as the service answers at all."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready", tags=["state"], summary="Can it work?")
    async def ready() -> Response:
        """200 when at least one worker has its models loaded, otherwise 503."""
        count = len(pool.workers)
        state = {"ready": count > 0, "workers": {"ready": count, "wanted": pool.settings.workers}}
        return JSONResponse(state, 200 if count else 503)

    @app.get("/metrics", tags=["state"], summary="Prometheus", dependencies=_KEYS)
    async def page() -> Response:
        """For Prometheus."""
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    async def ours(request: Request, error: ServiceError) -> Response:
        return answer(error, request.state.visit)

    @app.exception_handler(HTTPException)
    async def theirs(request: Request, error: HTTPException) -> Response:
        code = KNOWN.get(error.status_code, "refused")
        return answer(ServiceError(error.status_code, code, str(error.detail)), request.state.visit)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request failed", extra={"id": request.state.visit.id}, exc_info=error)
        said = ServiceError(500, "internal", f"unexpected {type(error).__name__}; the service's log has it")
        return answer(said, request.state.visit)
