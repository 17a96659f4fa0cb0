"""`rnr mcp`: the tasks of the service as tools of the Model Context Protocol, over the same pool and the same limits.

Tools: diagnose, restore, agent, explain. A picture is named by its path in an allowed folder (gate.py), or sent as
base64. Answers hold small copies as image content, and links to what was written: picture://NAME and report://RUN.
A call that is cancelled, or whose time is up, frees its worker; calls run side by side, one in each worker.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import ValidationError

from rnr import __version__
from rnr.degradation.files import short_hash
from rnr.degradation.strength import FULL
from rnr.images.files import PictureError
from rnr.serve.errors import ServiceError
from rnr.serve.gate import Gate
from rnr.serve.pool import Pool
from rnr.serve.wire import Message
from rnr.serve.work import MEDIA, Agent, Diagnose, Explain, Restore, Task

INSTRUCTIONS = (
    "Finds out what damaged a photograph (which kinds of degradation, severity 0-100) and undoes what can be undone. "
    "Name a picture by its path in the allowed folders, or send its bytes as base64 in `data`. `diagnose` first; "
    "`restore` is one pass; `agent` goes step by step, checks each and rolls back what did not help; `explain` says "
    "what a run did."
)
THUMBNAIL = 512  # px, longer side of the copies that a model is shown; a choice: 4 times the reasoner's overview
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass
class Tools:
    """What the tools do, without the protocol."""

    pool: Pool
    gate: Gate
    out: Path

    async def diagnose(self, picture: str, data: str) -> CallToolResult:
        name, found = await self._bytes(picture, data)
        done = await self._run(lambda: Diagnose(name=name), found)
        return _result({"picture": name, **done.head["summary"]})

    async def restore(self, picture: str, data: str, **options: Any) -> CallToolResult:
        name, found = await self._bytes(picture, data)
        done = await self._run(lambda: Restore(name=name, thumbnail=THUMBNAIL, **options), found)
        words = [Path(name).stem, hashlib.sha256(found).hexdigest()[:12], str(options["num_inference_steps"] or "own")]
        words += options["only"] or ["all"]
        words += [f"strength {options['strength']}"] if options["strength"] != FULL else []
        words += [f"words {short_hash(options['instruct'])}"] if options["instruct"] else []
        link = await self._kept(_plain("-".join(words)), done)
        said = {"untouched": done.head["record"]["untouched"], **done.head["summary"]}
        return _result({"picture": str(self.out / link.name), "resource": link.uri, **said}, done, [link])

    async def agent(self, picture: str, data: str, **options: Any) -> CallToolResult:
        name, found = await self._bytes(picture, data)
        plain = _plain(Path(name).stem) + Path(name).suffix  # the run is called by it, and its addresses hold it
        done = await self._run(lambda: Agent(name=plain, thumbnail=THUMBNAIL, report=True, **options), found)
        run = done.head["run"]
        link = await self._kept(run, done)
        await self._write(f"{run}.html", done.blobs[1])
        report = ResourceLink(uri=f"report://{run}", name=f"{run}.html", mime_type="text/html")
        said = {key: done.head[key] for key in ("run", "status", "reason", "story")}
        said |= {"picture": str(self.out / link.name), "resource": link.uri, "report": report.uri}
        return _result(said, done, [link, report])

    async def explain(self, run: str) -> CallToolResult:
        return _result((await self._run(lambda: Explain(run=run), b"")).head)

    async def _bytes(self, picture: str, data: str) -> tuple[str, bytes]:
        """(name, bytes) of a picture by its path or by base64. Raises ToolError."""
        if data:
            try:
                found = base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError):
                raise ToolError("data: not base64") from None
            if len(found) > self.gate.max_megabytes * 1e6:
                raise ToolError(f"more than {self.gate.max_megabytes:g} MB; make it smaller")
            return Path(picture or "picture").name, found
        try:
            return await anyio.to_thread.run_sync(self.gate.read, picture)
        except PictureError as error:
            raise ToolError(str(error)) from None

    async def _run(self, make: Callable[[], Task], data: bytes) -> Message:
        try:
            with self.pool.place():
                return await self.pool.run(make(), data)
        except (ServiceError, ValidationError) as error:
            raise ToolError(str(error)) from None

    async def _kept(self, stem: str, done: Message) -> ResourceLink:
        media = done.head["picture"]["media_type"]
        name = f"{stem[:90]}{Path(done.head['picture']['name']).suffix}"
        await self._write(name, done.blobs[0])
        return ResourceLink(uri=f"picture://{name}", name=name, mime_type=media)

    async def _write(self, name: str, data: bytes) -> None:
        from rnr.images.files import put

        try:
            await anyio.to_thread.run_sync(put, self.out / name, data)
        except PictureError as error:
            raise ToolError(str(error)) from None

    def file(self, stem: str, suffix: str) -> Path:
        """Something that a tool has written. Raises ResourceError."""
        path = self.out / f"{stem}{suffix}"
        if not _NAME.fullmatch(stem) or path.is_symlink() or not path.is_file():
            raise ResourceError(f"there is no {stem[:100]!r} here; tools say the addresses of what they wrote")
        return path


def _plain(text: str) -> str:
    return _PLAIN.sub("-", text)[:90] or "picture"


def _result(
    said: dict[str, Any], done: Message | None = None, links: list[ResourceLink] | None = None
) -> CallToolResult:
    """Words, small copies where there are any, links; `said` once more as data for programs."""
    content: list[ContentBlock] = [TextContent(type="text", text=json.dumps(said, indent=1, ensure_ascii=False))]
    for when, uri in (done.head.get("thumbnails", {}) if done else {}).items():
        media, data = re.fullmatch(r"data:(.+?);base64,(.+)", uri).groups()  # type: ignore[union-attr]
        content += [TextContent(type="text", text=f"{when}:"), ImageContent(type="image", data=data, mime_type=media)]
    return CallToolResult(content=[*content, *(links or [])], structured_content=said)


def server(tools: Tools) -> MCPServer:
    """The tools and resources."""
    mcp: MCPServer = MCPServer(
        "reason-and-restore", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
    )

    @mcp.tool()
    async def diagnose(picture: str = "", data: str = "") -> CallToolResult:
        """Say what happened to a picture: severity 0-100 of each kind of damage, evidence, physical factors."""
        return await tools.diagnose(picture, data)

    @mcp.tool()
    async def restore(
        picture: str = "",
        data: str = "",
        num_inference_steps: int | None = None,
        only: list[str] | None = None,
        strength: float | dict[str, float] = FULL,
        instruct: str | None = None,
    ) -> CallToolResult:
        """Restore a picture in one pass. `only` limits it to some kinds of damage; more steps give more texture.

        `strength` (0..100, or by kind) is how far to go; 0 gives the same pixels back. `instruct` says in words what
        is to go: "only remove the rain, keep the mist"; what is not understood is refused.
        """
        options: dict[str, Any] = {"num_inference_steps": num_inference_steps, "only": only or []}
        options |= {"strength": strength, "instruct": instruct or ""}
        return await tools.restore(picture, data, **options)

    @mcp.tool()
    async def agent(
        picture: str = "",
        data: str = "",
        strategy: Literal["auto", "one-pass", "stepwise"] = "auto",
        max_restorations: int = 6,
        candidates: int = 1,
        strength: float | dict[str, float] = FULL,
        instruct: str | None = None,
    ) -> CallToolResult:
        """Restore step by step, look again after each, roll back what did not help. The report shows all of it.

        `strength` (0..100, or by kind) is how far each step goes. `instruct` says in words what is to go, as in
        `restore`.
        """
        options: dict[str, Any] = {"strategy": strategy, "max_restorations": max_restorations, "candidates": candidates}
        options |= {"strength": strength, "instruct": instruct or ""}
        return await tools.agent(picture, data, **options)

    @mcp.tool()
    async def explain(run: str) -> CallToolResult:
        """Say what a run of `agent` did and why."""
        return await tools.explain(run)

    for suffix, media in MEDIA.items():
        mcp.resource(f"picture://{{name}}{suffix}", name=f"pictures{suffix}", mime_type=media)(_reader(tools, suffix))

    @mcp.resource("report://{run}", mime_type="text/html")
    def report(run: str) -> str:
        """The report of a run of `agent`, as HTML."""
        return tools.file(run, ".html").read_text(encoding="utf-8")

    return mcp


def _reader(tools: Tools, suffix: str) -> Callable[[str], bytes]:
    def picture(name: str) -> bytes:
        """A picture that a tool has written."""
        return tools.file(name, suffix).read_bytes()

    return picture
