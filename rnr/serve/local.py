"""`rnr serve` as a process of its own on a free port of loopback, and a client for it: for tests and the load drill."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnr.degradation.errors import SetupError
from rnr.serve.hostile import Upload

START = 300.0  # seconds until a worker must be ready: torch and the models, on a busy machine


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Local:
    """with Local("--workers", "2") as service: service.post("/diagnose", Upload(...))"""

    def __init__(
        self, *options: str, command: tuple[str, ...] = ("serve",), env: dict[str, str] | None = None, key: str = ""
    ) -> None:
        self.key = {"X-API-Key": key} if key else {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.log_file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rnr", *command, "--port", str(self.port), *options],
            stderr=self.log_file, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})},
        )  # fmt: skip

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> int:
        """Ask it to end, as a container runtime does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait_ready(self, workers: int) -> Local:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.get("/ready").json["workers"]["ready"] >= workers:
                    return self
            time.sleep(0.1)
        self.end()
        raise SetupError(f"the service did not become ready:\n{self.log_text()[-2000:]}")

    def log_text(self) -> str:
        """What the service has logged, in whole lines.

        Read without `seek`: the service writes at the place that both processes share.
        """
        log = self.log_file.fileno()
        text = os.pread(log, os.fstat(log).st_size, 0).decode("utf-8", "replace")
        return text[: text.rfind("\n") + 1]

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines about an event."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def workers(self) -> list[int]:
        """Process ids (Linux)."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, b"", headers)

    def post(self, path: str, upload: Upload, **headers: str) -> Answer:
        body, media = encoded(upload)
        return self._ask("POST", path, body, {"Content-Type": media, **headers})

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        headers = {**self.key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def encoded(upload: Upload) -> tuple[bytes, str]:
    """(body, media type)"""
    if upload.media:
        return upload.data, upload.media
    border = secrets.token_hex(16)
    lines = [_part(border, f'name="{key}"', value.encode()) for key, value in upload.fields.items()]
    name = upload.name.replace('"', "%22").replace("\r", "").replace("\n", "")
    lines.append(_part(border, f'name="picture"; filename="{name}"', upload.data))
    return b"".join([*lines, f"--{border}--\r\n".encode()]), f"multipart/form-data; boundary={border}"


def _part(border: str, disposition: str, data: bytes) -> bytes:
    return f"--{border}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"
