"""Requests to an OpenAI-compatible server by OpenAI's own client (extra `server`), with errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rnr.degradation._lazy import need
from rnr.degradation.errors import Error

KEY = "RNR_SERVER_KEY"  # environment variable: sent as a bearer token where it is set
BUSY = (408, 409, 429)  # and 500 and above: the client has tried again


class ServerError(Error, ValueError):
    """The server cannot be reached, refuses, or answers what is no answer."""


@dataclass
class Client:
    """Models and chat completions of a server.

    Attributes:
        url: The server's address, with or without /v1.
        retries: Of a request that finds nobody, or a server that is busy; the pauses grow from 0.5 to 8 s.
        timeout: Seconds for one answer.
        down: The last request failed for good: the next ones are tried once.
    """

    url: str
    retries: int = 5
    timeout: float = 300.0
    down: bool = False
    _openai: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/").removesuffix("/v1")

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_openai": None}  # processes that are sent this make connections of their own

    @property
    def openai(self) -> Any:
        """OpenAI's client, made at the first request of a process; after a failure for good it does not try again."""
        if self._openai is None:
            key = os.environ.get(KEY) or "none"  # the client sends one in any case
            self._openai = need("openai", "server").OpenAI(
                base_url=f"{self.url}/v1", api_key=key, timeout=self.timeout, max_retries=self.retries
            )
        return self._openai.with_options(max_retries=0) if self.down else self._openai

    def models(self) -> list[dict[str, Any]]:
        """What is served. Raises ServerError."""
        served = self._asked(lambda client: client.models.list()).get("data")
        if not served:
            raise ServerError(f"{self.url}: serves no model")
        return served

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of a chat completion. Raises ServerError."""
        messages, model = body["messages"], body["model"]
        rest = {name: value for name, value in body.items() if name not in ("messages", "model")}
        answer = self._asked(
            lambda client: client.chat.completions.create(messages=messages, model=model, extra_body=rest)
        )
        if not answer.get("choices"):
            raise ServerError(f"{self.url}: the answer holds no choices; is it an OpenAI-compatible server?")
        return answer["choices"][0]

    def _asked(self, call: Callable[[Any], Any]) -> dict[str, Any]:
        """What a call of the client gives, as plain data."""
        openai = need("openai", "server")
        try:
            answer = call(self.openai)
        except openai.APIStatusError as error:
            problem = f"HTTP {error.status_code}: {_message(error)}"
            if error.status_code not in BUSY and error.status_code < 500:
                raise ServerError(f"{error.request.url}: refused ({problem})") from None
            raise self._gone(problem) from None
        except openai.APIConnectionError as error:  # a timeout is one
            raise self._gone(str(error.__cause__ or error)) from None
        except ValueError:  # no JSON
            answer = None
        self.down = False
        if not hasattr(answer, "to_dict"):
            raise ServerError(f"{self.url}: the answer is not JSON; is it an OpenAI-compatible server?")
        return answer.to_dict()

    def _gone(self, problem: str) -> ServerError:
        self.down = True
        return ServerError(f"{self.url}: no answer ({problem}); is the server running, and at this address?")


def served_by(client: Any, name: str | None) -> dict[str, Any]:
    """The entry of the model of this name, of the first one by default. Raises ServerError."""
    found = {model["id"]: model for model in client.models()}
    if name and name not in found:
        raise ServerError(f"{client.url}: serves no {name!r}; it serves {', '.join(found)}")
    return found[name or next(iter(found))]


def _message(error: Any) -> str:
    """What the server says, in one line."""
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.response.text).split())[:300]
