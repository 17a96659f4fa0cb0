"""The MCP server as other programs meet it: a second process, the SDK's own client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

from rnr.core import SetupError
from rnr.gate import Gate
from rnr.pictures import PictureError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(tmp_path: Path, crop: np.ndarray) -> Path:
    inside, outside = tmp_path / "in", tmp_path / "outside"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    Image.fromarray(crop).save(inside / "photo.png")
    Image.fromarray(crop).save(inside / "sub" / "a b.jpg", quality=95)
    Image.fromarray(crop).save(outside / "secret.png")
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
    assert Gate([folder], 100).picture(str(folder / path)) == (folder / path).resolve()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="name folders that exist"):
        Gate([tmp_path / "no"], 100)


def talk(target: Any, conversation: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Client(target, read_timeout_seconds=200) as client:
            await conversation(client)

    anyio.run(main)


def server(folder: Path, *options: str) -> list[str]:
    return ["-m", "rnr", "mcp", str(folder), "-o", str(folder.parent / "out"), "--device", "cpu", *options]


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

        done = await client.call_tool("restore", {"picture": "photo.png", "only": ["noise"]})
        assert not done.is_error, done.content[0].text
        again = await client.read_resource(done.structured_content["resource"])
        assert again.contents[0].blob and Path(done.structured_content["picture"]).is_file()
        assert (await client.call_tool("restore", {"picture": "photo.png", "steps": 999})).is_error

        run = (await client.call_tool("agent", {"picture": "sub/a b.jpg", "strategy": "one-pass"})).structured_content
        assert run["status"] == "done" and run["story"]
        report = (await client.read_resource(run["report"])).contents[0].text
        assert report.startswith("<!doctype html>") and "What happened" in report
        told = (await client.call_tool("explain", {"run": run["run"]})).structured_content
        assert told["story"] == run["story"]
        unknown = await client.call_tool("explain", {"run": "nobody"})
        assert unknown.is_error and "no thread 'nobody'" in unknown.content[0].text
        for uri in ("picture://..%2F..%2Fetc%2Fpasswd", "report://nobody", "picture://agent"):
            with pytest.raises(Exception, match=r"."):
                await client.read_resource(uri)

    talk(
        StdioServerParameters(command=sys.executable, args=server(folder), env=ENVIRONMENT, cwd=str(ROOT)), conversation
    )


def test_over_http_and_within_its_time(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = server(folder, "--http", "--port", str(port), "--max-megapixels", "0.02")
    process = subprocess.Popen([sys.executable, *options], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.2)

        async def conversation(client: Any) -> None:
            refused = await client.call_tool("diagnose", {"picture": "photo.png"})
            assert refused.is_error and "0.02 allowed" in refused.content[0].text

        talk(f"http://127.0.0.1:{port}/mcp", conversation)
    finally:
        process.terminate()
        process.wait(30)


def test_a_busy_server_still_refuses_at_once_and_says_that_it_is_busy(folder: Path, tmp_path: Path) -> None:
    from rnr.core import Models
    from rnr.serving import Service

    service = Service(Models(), Gate([folder], 1.0), tmp_path / "out", 1.0, seconds=0.2)
    with service._turn():
        with pytest.raises(PictureError):
            service.diagnose(str(folder / "text.png"))
        with pytest.raises(SetupError, match="steps"):
            service.restore(str(folder / "photo.png"), 1000, [])
        with pytest.raises(ValueError, match="busy with an earlier picture"):
            service.diagnose(str(folder / "photo.png"))
