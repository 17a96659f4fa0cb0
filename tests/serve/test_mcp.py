"""The MCP server as other programs meet it: a second process, the SDK's own client."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

from rnr.degradation.errors import SetupError
from rnr.images.files import PictureError
from rnr.serve.gate import Gate
from rnr.serve.local import Local
from tests.serve.conftest import ENVIRONMENT, KEY

ROOT = Path(__file__).parents[2]
PLAIN = {**os.environ, **ENVIRONMENT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, noisy: np.ndarray) -> Path:
    root = tmp_path_factory.mktemp("mcp")
    inside, outside = root / "in", root / "outside"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    Image.fromarray(noisy).save(inside / "photo.png")
    Image.fromarray(np.tile(noisy, (7, 5, 1))).save(inside / "large.png")
    Image.fromarray(noisy).save(inside / "sub" / "a b.jpg", quality=95)
    Image.fromarray(noisy).save(outside / "secret.png")
    (inside / "link.png").symlink_to(outside / "secret.png")
    (inside / "folder").symlink_to(outside)
    (inside / "text.png").write_text("root:x:0:0")
    with (inside / "huge.png").open("wb") as file:
        file.truncate(10 << 30)  # 10 GB, none of it on disk
    whole = (inside / "photo.png").read_bytes()
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + whole[24:29]  # 10 gigapixels in 20 kB
    bomb = whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
    (inside / "bomb.png").write_bytes(bomb)
    return inside


REFUSED = [
    "../../etc/passwd", "/etc/passwd", "../outside/secret.png", "link.png", "folder/secret.png", "https://example.org/a.png",
    "file:///etc/passwd", "sub", "", "\0", "photo.png\0.jpg", "a" * 5000, "nothing.png", "huge.png", "~/photo.png",
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_the_gate_refuses(folder: Path, path: str) -> None:
    with pytest.raises(PictureError) as refused:
        Gate([folder], 100).picture(path)
    assert "secret" not in str(refused.value) or "secret" in path


@pytest.mark.parametrize("path", ["photo.png", "./sub/../photo.png", "sub/a b.jpg"])
def test_the_gate_lets_in_what_ends_inside(folder: Path, path: str) -> None:
    assert Gate([folder], 100).picture(path) == (folder / path).resolve()
    assert Gate([folder], 100).read(str(folder / path)) == (Path(path).name, (folder / path).read_bytes())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="name folders that exist"):
        Gate([tmp_path / "no"], 100)


def arguments(folder: Path, *options: str) -> list[str]:
    settings = ["--device", "cpu", "--workers", "2", "--threads", "1", "--max-megapixels", "2", *options]
    return ["mcp", str(folder), "-o", str(folder.parent / "out"), *settings]


def talk(target: Any, conversation: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Client(target, read_timeout_seconds=200) as client:
            await conversation(client)

    anyio.run(main)


@contextlib.asynccontextmanager
async def cut_off(seconds: float) -> AsyncIterator[None]:
    """What is still going on inside after so long is cancelled, which the SDK tells the server."""
    with anyio.move_on_after(seconds) as scope:
        yield
    assert scope.cancelled_caught


def shown(result: Any) -> tuple[int, int]:
    """The size of the last image that a model is shown."""
    (*_, image) = [block for block in result.content if block.type == "image"]
    return Image.open(io.BytesIO(base64.b64decode(image.data))).size


def test_over_stdio(folder: Path) -> None:
    async def conversation(client: Any) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"diagnose", "restore", "agent", "explain"}
        seen = await client.call_tool("diagnose", {"picture": "photo.png"})
        assert not seen.is_error and "noise" in seen.structured_content["present"]
        for path in ("../../etc/passwd", "https://example.org/a.png", "huge.png", "bomb.png", "text.png", "link.png"):
            refused = await client.call_tool("diagnose", {"picture": path})
            assert refused.is_error, path
            assert "root:" not in refused.content[0].text and "Traceback" not in refused.content[0].text
        assert "megapixels" in (await client.call_tool("agent", {"picture": "bomb.png"})).content[0].text
        await restored(client)
        await bytes_instead_of_a_path(client)
        await agent(client)
        await side_by_side(client)
        await cancelled(client)

    async def restored(client: Any) -> None:
        done = await client.call_tool("restore", {"picture": "photo.png", "only": ["noise"]})
        assert not done.is_error, done.content[0].text
        (link,) = [block for block in done.content if block.type == "resource_link"]
        assert link.mime_type == "image/png" and shown(done) == (192, 160)
        (content,) = (await client.read_resource(done.structured_content["resource"])).contents
        assert content.mime_type == "image/png"
        written = Path(done.structured_content["picture"]).read_bytes()
        assert base64.b64decode(content.blob) == written
        assert (await client.call_tool("restore", {"picture": "photo.png", "num_inference_steps": 999})).is_error
        in_words = await client.call_tool("restore", {"picture": "photo.png", "instruct": "just the noise, please"})
        path = Path(in_words.structured_content["picture"])
        assert "words" in path.name and path.read_bytes() == written
        refused = await client.call_tool("restore", {"picture": "photo.png", "instruct": "turn it into a cartoon"})
        assert refused.is_error and "--only" in refused.content[0].text
        same = await client.call_tool("restore", {"picture": "photo.png", "strength": {"noise": 0}, "only": ["noise"]})
        path = Path(same.structured_content["picture"])
        assert "strength" in path.name and path.read_bytes() == (folder / "photo.png").read_bytes()

    async def bytes_instead_of_a_path(client: Any) -> None:
        data = base64.b64encode((folder / "photo.png").read_bytes()).decode()
        by_path, by_bytes = [await client.call_tool("diagnose", {key: value})
                             for key, value in (("picture", "photo.png"), ("data", data))]  # fmt: skip
        same = [result.structured_content["expected_severity"] for result in (by_path, by_bytes)]
        assert same[0] == same[1]
        assert "not base64" in (await client.call_tool("diagnose", {"data": "/etc/passwd"})).content[0].text

    async def agent(client: Any) -> None:
        run = (await client.call_tool("agent", {"picture": "sub/a b.jpg", "strategy": "one-pass"})).structured_content
        assert run["status"] == "done" and run["story"]
        assert (await client.read_resource(run["resource"])).contents[0].mime_type == "image/jpeg"
        report = (await client.read_resource(run["report"])).contents[0].text
        assert report.startswith("<!doctype html>") and "What happened" in report
        words = {"picture": "sub/a b.jpg", "strategy": "one-pass", "instruct": "remove the rain"}
        in_words = (await client.call_tool("agent", words)).structured_content
        assert in_words["run"] != run["run"] and in_words["reason"] == "nothing of what was to be removed was found"
        page = (await client.read_resource(in_words["report"])).contents[0].text
        assert "&#34;remove the rain&#34; is read as: remove rain" in page
        explained = (await client.call_tool("explain", {"run": run["run"]})).structured_content
        assert explained["story"] == run["story"]
        unknown = await client.call_tool("explain", {"run": "nobody"})
        assert unknown.is_error and "no thread 'nobody'" in unknown.content[0].text
        for uri in ("picture://..%2F..%2Fetc%2Fpasswd", "report://nobody", "picture://agent", "picture://nobody.png"):
            with pytest.raises(Exception, match=r"."):
                await client.read_resource(uri)

    async def side_by_side(client: Any) -> None:
        """The quick one does not wait for the slow one, which another worker has."""
        ended: list[str] = []

        async def call(tool: str, options: dict[str, Any]) -> None:
            assert not (await client.call_tool(tool, options)).is_error
            ended.append(tool)

        async with anyio.create_task_group() as group:
            group.start_soon(call, "restore", {"picture": "photo.png", "num_inference_steps": 12})
            await anyio.sleep(0.2)
            group.start_soon(call, "diagnose", {"picture": "photo.png"})
        assert ended == ["diagnose", "restore"]

    async def cancelled(client: Any) -> None:
        """Both workers are given minutes of work, which is called off: the next call is served at once."""
        async with cut_off(2.0), anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client.call_tool, "restore", {"picture": "large.png", "num_inference_steps": 100})
        started = time.monotonic()
        assert not (await client.call_tool("diagnose", {"picture": "photo.png"})).is_error
        assert time.monotonic() - started < 15  # without it: many minutes

    options = ["-m", "rnr", *arguments(folder)]
    talk(StdioServerParameters(command=sys.executable, args=options, env=PLAIN, cwd=str(ROOT)), conversation)


def test_the_server_ends_with_its_client_in_the_middle_of_a_call(folder: Path) -> None:
    command = [sys.executable, "-m", "rnr", *arguments(folder, "--workers", "1")]
    process = subprocess.Popen(
        command, env=PLAIN, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}
    call = {"name": "restore", "arguments": {"picture": "large.png", "num_inference_steps": 100}}
    for message in (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()
    assert b'"id":1' in process.stdout.readline()
    for line in process.stderr:  # the worker has its models, and begins
        if b"worker ready" in line:
            break
    time.sleep(1)
    pid = json.loads(line)["pid"]
    process.stdin.close()  # what is left of a client that was killed
    started = time.monotonic()
    process.wait(20)
    assert time.monotonic() - started < 5 and not os.path.exists(f"/proc/{pid}")


def test_over_http_with_a_key(folder: Path) -> None:
    command = tuple(arguments(folder, "--http", "--workers", "1"))
    with Local(command=command, env=ENVIRONMENT) as service:
        while b"running on" not in service.log_text().encode():
            assert service.process.poll() is None, service.log_text()
            time.sleep(0.1)
        assert service.get("/mcp").status == 401

        async def conversation(client: Any) -> None:
            assert {tool.name for tool in (await client.list_tools()).tools} >= {"diagnose", "restore"}
            refused = await client.call_tool("diagnose", {"picture": "link.png"})  # by the gate: no worker is needed
            assert refused.is_error and "no such picture in the allowed folders" in refused.content[0].text

        talk(with_key(f"http://127.0.0.1:{service.port}/mcp"), conversation)


def with_key(url: str) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    return streamable_http_client(
        url, http_client=httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=120)
    )
