"""The routes of `rnr view`. Ids are looked up, never made into paths: no request names a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rnr.degradation.errors import Error, SetupError
from rnr.images.files import PictureError
from rnr.view.again import NAME, Again, Runner
from rnr.view.guard import Guard
from rnr.view.library import Library
from rnr.view.pages import STATIC, Pages
from rnr.view.pictures import Pictures, browser_copy
from rnr.work.models import Models

MOST = 64_000  # bytes of a request's body


class Site:
    """What answers the requests."""

    def __init__(self, library: Library, models: Models) -> None:
        self.library = library
        self.pictures = Pictures(library)
        self.pages = Pages(library, self.pictures, alive=True)
        self.runner = Runner(library, self.pictures, models)

    def index(self, request: Request) -> Response:
        self.library.refresh()
        return HTMLResponse(self.pages.index())

    def compare(self, request: Request) -> Response:
        self.library.refresh()
        return HTMLResponse(self.pages.compare())

    def picture(self, request: Request) -> Response:
        return HTMLResponse(self.pages.picture(request.path_params["identity"]))

    def rows(self, request: Request) -> Response:
        return Response(self.library.rows(), media_type="text/javascript")

    def image(self, request: Request) -> Response:
        """img/RUN-KEY-ROLE.SUFFIX: the suffix is for people."""
        identity, role = _named(request.path_params["name"])
        return _picture(*self.pictures.shown(identity, role))

    def thumbnail(self, request: Request) -> Response:
        identity, role = _named(request.path_params["name"])
        return _picture(*self.pictures.thumbnail(identity, role))

    def views(self, request: Request) -> Response:
        return _picture(*self.pictures.views(request.path_params["name"].removesuffix(".png")))

    def figure(self, request: Request) -> Response:
        """fig/RUN-PLACE.png: a picture of a whole run."""
        run, _, place = request.path_params["name"].removesuffix(".png").partition("-")
        figure = self.library.runs[int(run)].source.figures[int(place)]
        path = self.library.finder.allowed(figure)
        if path is None:
            raise KeyError(figure.name)
        return _picture(*browser_copy(path.read_bytes(), figure.name))

    def again_picture(self, request: Request) -> Response:
        name = request.path_params["name"]
        for run in self.library.runs if NAME.fullmatch(name) else ():
            path = self.library.finder.allowed(run.source.again / name)
            if path:
                return _picture(*browser_copy(path.read_bytes(), name))
        raise KeyError(name)

    def notes(self, request: Request) -> Response:
        run, key, _ = self.library.item(request.path_params["identity"])
        return JSONResponse(run.notes.of(key))

    async def add_note(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        run, key, item = self.library.item(request.path_params["identity"])
        await run_in_threadpool(run.notes.add, key, item.name, await _body(request))
        return JSONResponse(run.notes.of(key), 201)

    async def run_again(self, request: Request) -> Response:
        body = await _body(request)
        severities, steps, seed = body.get("severities"), body.get("steps"), body.get("seed", 0)
        if not isinstance(severities, dict) or type(seed) is not int or not (steps is None or type(steps) is int):
            raise Error("ask for {severities: {KIND: 0-100}, steps: a number or null, seed: a number}")
        job = self.runner.start(request.path_params["identity"], severities, steps, seed)
        return JSONResponse({"job": job.id}, 202)

    def explain(self, request: Request) -> Response:
        return JSONResponse({"job": self.runner.explain(request.path_params["identity"]).id}, 202)

    def job(self, request: Request) -> Response:
        job = self.runner.jobs.all[request.path_params["job"]]
        result = vars_of(job.result) if isinstance(job.result, Again) else job.result
        return JSONResponse({"stage": job.stage, "error": job.error, "result": result})


def vars_of(again: Again) -> dict[str, Any]:
    """As the page gets it."""
    return {"name": again.name, "address": f"../again/{again.file}", "words": again.words, "left": again.left}


def _named(name: str) -> tuple[str, str]:
    """0-3f…-before.png -> (0-3f…, before)."""
    stem = name.rpartition(".")[0] or name
    run, key, role = (*stem.split("-", 2), "", "")[:3]
    return f"{run}-{key}", role


def _picture(data: bytes, mime: str) -> Response:
    return Response(data, media_type=mime)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises Error."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MOST:
            raise Error(f"more than {MOST // 1000} kB were sent; send less")
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Error("send one JSON object")
    return body


def _missing(request: Request, error: Exception) -> Response:
    return PlainTextResponse("there is nothing at this address; go back to the table", 404)


def _no_picture(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 404)


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def application(library: Library, models: Models, guard: Guard) -> Starlette:
    """The whole site behind its guard."""
    site = Site(library, models)

    def get(path: str, answer: Callable[[Request], Any]) -> Route:
        return Route(path, answer, methods=["GET"])

    routes: list[Any] = [
        get("/", site.index), get("/index.html", site.index), get("/compare.html", site.compare),
        get("/p/{identity}.html", site.picture), get("/data/rows.js", site.rows),
        get("/img/{name}", site.image), get("/thumb/{name}", site.thumbnail), get("/views/{name}", site.views),
        get("/fig/{name}", site.figure), get("/again/{name}", site.again_picture),
        get("/api/notes/{identity}", site.notes), get("/api/jobs/{job}", site.job),
        Route("/api/notes/{identity}", site.add_note, methods=["POST"]),
        Route("/api/again/{identity}", site.run_again, methods=["POST"]),
        Route("/api/explain/{identity}", site.explain, methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]  # fmt: skip
    problems: dict[Any, Any] = {
        KeyError: _missing, IndexError: _missing, FileNotFoundError: _missing,
        PictureError: _no_picture, SetupError: _refused, Error: _refused, ValueError: _refused,
    }  # fmt: skip
    return Starlette(
        routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)], exception_handlers=problems
    )
