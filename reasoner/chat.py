"""Requests to an OpenAI-compatible server: retried with backoff, errors that say what to do; standard library only."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from rnr.degradation.errors import Error

KEY = "RNR_SERVER_KEY"  # environment variable: sent as a bearer token where it is set
BUSY = (408, 425, 429, 500, 502, 503, 504)
GONE = (OSError, http.client.HTTPException, TimeoutError)  # URLError is an OSError


class ServerError(Error, ValueError):
    """The server cannot be reached, refuses, or answers what is no answer."""


@dataclass
class Client:
    """JSON over HTTP. `url` is the server's address, with or without /v1."""

    url: str
    retries: int = 5
    pause: float = 0.5  # seconds before the first retry; doubles, at most 8
    timeout: float = 300.0  # seconds for one answer
    down: bool = False  # the last request failed for good: the next ones are tried once

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/").removesuffix("/v1")

    def models(self) -> list[dict[str, Any]]:
        """What is served. Raises ServerError."""
        served = self._call("/v1/models", None).get("data")
        if not served:
            raise ServerError(f"{self.url}: serves no model")
        return served

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of a chat completion. Raises ServerError."""
        answer = self._call("/v1/chat/completions", body)
        try:
            return answer["choices"][0]
        except (KeyError, IndexError, TypeError):
            raise ServerError(f"{self.url}: the answer holds no choices; is it an OpenAI-compatible server?") from None

    def _call(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        problem = ""
        for attempt in range(1 if self.down else self.retries + 1):
            if attempt:
                time.sleep(min(8.0, self.pause * 2 ** (attempt - 1)))
            try:
                answer = self._once(path, body)
                self.down = False
                return answer
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {_message(error)}"
                if error.code not in BUSY:
                    raise ServerError(f"{self.url}{path}: refused ({problem})") from None
            except GONE as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
        self.down = True
        raise ServerError(f"{self.url}: no answer ({problem}); is the server running, and at this address?")

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as reply:
            text = reply.read()
        try:
            return json.loads(text)
        except ValueError:
            raise ServerError(f"{self.url}{path}: the answer is not JSON; is it an OpenAI-compatible server?") from None


def served_by(client: Any, name: str | None) -> dict[str, Any]:
    """The entry of the model of this name, of the first one by default. Raises ServerError."""
    found = {model["id"]: model for model in client.models()}
    if name and name not in found:
        raise ServerError(f"{client.url}: serves no {name!r}; it serves {', '.join(found)}")
    return found[name or next(iter(found))]


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says, in one line."""
    text = error.read().decode("utf-8", "replace")
    try:
        data = json.loads(text)
        text = str(data.get("message") or data["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return " ".join(text.split())[:300]
