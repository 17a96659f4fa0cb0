"""`rnr mcp`: the reasoner, the restorer and the agent for programs that speak the Model Context Protocol.

Tools: diagnose, restore, agent, explain. Resources: picture://NAME and report://RUN, of what the tools made. It reads
pictures in the allowed folders only (see rnr/gate.py), writes to one folder only, one call at a time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from rnr import __version__
from rnr.agents import AgentRequest, Desk, story
from rnr.core import Models, Request, SetupError, diagnose_pixels, restore_picture
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import kind_named
from rnr.gate import Gate
from rnr.outputs import Job, digest, write_text
from rnr.pictures import PictureError, read_picture, write_picture
from rnr.thoughts import reading

INSTRUCTIONS = (
    "Finds out what damaged a photograph ({kinds}; severity 0-100) and undoes what can be undone. Paths are those of "
    "the allowed folders. `diagnose` first; `restore` is one pass; `agent` goes step by step, checks each and takes "
    "back what did not help; `explain` tells the story of a run."
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}(\.(png|jpg|tif|webp|bmp))?")
_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass
class Service:
    """What the tools do, without the protocol. `seconds` bounds each call."""

    models: Models
    gate: Gate
    out: Path
    max_megapixels: float
    seconds: float

    def __post_init__(self) -> None:
        self._lane = threading.Lock()

    async def call(self, work: Callable[[], Any]) -> Any:
        """In a thread. Raises ToolError with words for the caller."""
        try:
            with anyio.fail_after(self.seconds):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except TimeoutError:
            raise ToolError(f"not done within {self.seconds:g} seconds; try a smaller picture") from None
        except (PictureError, ValueError) as error:
            raise ToolError(str(error)) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The models, one call after the other. Requests are checked before: what is wrong is said at once."""
        if not self._lane.acquire(timeout=0.9 * self.seconds):
            raise ValueError("busy with an earlier picture; ask again later")
        try:
            yield
        finally:
            self._lane.release()

    def diagnose(self, path: str) -> dict[str, Any]:
        file = self.gate.picture(path)
        picture = read_picture(file, self.max_megapixels)
        with self._turn():
            record = diagnose_pixels(self.models, picture.pixels_HWC3, file.name)
        return {"picture": file.name, **spoken(record)}

    def restore(self, path: str, steps: int, only: list[str]) -> dict[str, Any]:
        file = self.gate.picture(path)
        request = Request(steps, 0, tuple(only)).check()
        picture = read_picture(file, self.max_megapixels)
        with self._turn():
            outcome = restore_picture(self.models, picture, request, file.name)
        name = f"{_plain(file)}-{digest(file)[:12]}-{steps}-{'-'.join(request.only) or 'all'}"[:90] + picture.suffix
        write_picture(picture, outcome.pixels_HWC3, self.out / name, overwrite=True)
        told = {"untouched": outcome.untouched, "before": spoken(outcome.before), "after": spoken(outcome.after)}
        return {"picture": str(self.out / name), "resource": f"picture://{name}", **told}

    def agent(self, path: str, strategy: str, steps: int, candidates: int) -> dict[str, Any]:
        from rnr.agent_report import AgentEntry, render

        file = self.gate.picture(path)
        request = AgentRequest(strategy, steps, self.seconds * 0.8, candidates).check()
        picture = read_picture(file, self.max_megapixels)
        with self._turn(), Desk(self.out / "agent", request) as desk:
            run = desk.run(self.models, picture, _plain(file))
            name = run.thread + picture.suffix
            write_picture(picture, desk.result(run), self.out / name, overwrite=True)
            entry = AgentEntry.of(Job(file, file.stem), picture, desk, run, name)
        write_text(self.out / f"{run.thread}.html", render([entry]))
        resources = {"resource": f"picture://{name}", "report": f"report://{run.thread}"}
        told = {"run": run.thread, "status": run.status, "reason": run.reason, "story": story(run)}
        return {**told, "picture": str(self.out / name), **resources}

    def explain(self, run: str) -> dict[str, Any]:
        with Desk(self.out / "agent", AgentRequest()) as desk:
            held = desk.held(run)
            first, best = desk.records(held)
        seen = {"found_at_first": spoken(first), "left_in_the_best": spoken(best)}
        return {"run": run, "status": held.status, "reason": held.reason, "story": story(held), **seen}

    def file(self, name: str) -> Path:
        """Something that a tool has written."""
        path = self.out / name
        if not _NAME.fullmatch(name.removesuffix(".html")) or path.is_symlink() or not path.is_file():
            raise ResourceError(f"there is no {name[:120]!r} here; tools say the addresses of what they wrote")
        return path


def _plain(file: Path) -> str:
    return _PLAIN.sub("-", file.stem)[:40] or "picture"


def spoken(record: DiagnosisRecord) -> dict[str, Any]:
    """A diagnosis for a model to read: severity by kind, with evidence and factors of what is present."""
    diagnosis = record.diagnosis
    if diagnosis is None:
        return {"error": record.error or "no diagnosis"}
    severity = {kind: reading(record, kind).severity for kind in diagnosis.findings}
    present = {kind: {"evidence": f.evidence, "factors": f.factors}
               for kind, f in diagnosis.findings.items() if f.present}  # fmt: skip
    rounded = {kind: None if value is None else round(value, 1) for kind, value in severity.items()}
    return {
        "expected_severity": rounded,
        "present": present,
        "quality": diagnosis.quality.technical,
        "plan": diagnosis.plan,
    }


def server(service: Service) -> MCPServer:
    """The tools and resources over a service."""
    titles = ", ".join(kind_named(name).words.title for name in service.models.reasoner.kinds)
    instructions = INSTRUCTIONS.format(kinds=titles)
    mcp: MCPServer = MCPServer(
        "reason-and-restore", instructions=instructions, version=__version__, log_level="WARNING"
    )

    @mcp.tool()
    async def diagnose(picture: str) -> dict[str, Any]:
        """Say what happened to a picture: severity 0-100 of each kind of damage, evidence, physical factors."""
        return await service.call(lambda: service.diagnose(picture))

    @mcp.tool()
    async def restore(picture: str, steps: int = 1, only: list[str] | None = None) -> dict[str, Any]:
        """Restore a picture in one pass. steps: 1 is nearest to the truth; `only` limits it to some kinds."""
        return await service.call(lambda: service.restore(picture, steps, only or []))

    @mcp.tool()
    async def agent(
        picture: str,
        strategy: Literal["auto", "one-pass", "stepwise"] = "auto",
        steps: int = 6,
        candidates: int = 1,
    ) -> dict[str, Any]:
        """Restore step by step, look again after each, take back what did not help. The report tells all of it."""
        return await service.call(lambda: service.agent(picture, strategy, steps, candidates))

    @mcp.tool()
    async def explain(run: str) -> dict[str, Any]:
        """Tell what a run of `agent` did and why."""
        return await service.call(lambda: service.explain(run))

    @mcp.resource("picture://{name}", mime_type="application/octet-stream")
    def picture(name: str) -> bytes:
        """A picture that a tool has written."""
        return service.file(name).read_bytes()

    @mcp.resource("report://{run}", mime_type="text/html")
    def report(run: str) -> str:
        """The report of a run of `agent`, as HTML."""
        return service.file(f"{run}.html").read_text(encoding="utf-8")

    return mcp


def serve(service: Service, http: bool, host: str, port: int) -> None:
    """Until it is interrupted. Models are loaded first, so that the first call is not the slow one."""
    service.models.load()
    try:
        service.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{service.out}: cannot write here ({error.strerror}); choose another folder") from error
    if http:
        server(service).run("streamable-http", host=host, port=port)
    else:
        server(service).run("stdio")
