"""What is decided before the service starts: models, limits, who may call."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN

KEYS = "RNR_API_KEYS"  # environment variable: keys, separated by commas
SHORTEST_KEY = 16  # characters; a choice: 16 random hex digits are 64 bits


@dataclass(frozen=True)
class Settings:
    """Of the pool and of every request.

    Attributes:
        workers: processes, each with its own models.
        queue: requests that may wait beside those that are worked on.
        seconds: of a request, from its first byte to its answer.
        megabytes, megapixels: of a picture; the latter is checked before a pixel is decoded.
        threads: CPU threads of a worker; 0 shares the cores out.
        agent_folder: where runs of the agent stay; empty: they are deleted with their answer.
    """

    reasoner: str = BUILT_IN
    restorer: str = BUILT_IN
    device: str = "auto"
    workers: int = 2
    queue: int = 16
    seconds: float = 300.0
    megabytes: float = 100.0
    megapixels: float = 25.0
    threads: int = 0
    agent_folder: str = ""

    def as_plain(self) -> dict[str, Any]:
        """For a worker. `threads` is settled."""
        return asdict(self) | {"threads": self.threads or max(1, (os.cpu_count() or 1) // self.workers)}

    @property
    def places(self) -> int:
        """Requests that are taken in at the same time."""
        return self.workers + self.queue

    @property
    def most_bytes(self) -> int:
        """Of a request: base64 makes 4 bytes of 3, and the other fields need some."""
        return int(self.megabytes * 1e6 * 4 / 3) + (1 << 20)


class Keys:
    """API keys, kept as digests. Without any, everybody may call."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def named(self, key: str) -> str | None:
        """The name of a valid key for the log (8 hex digits), None for another. Time does not depend on the key."""
        given, found = _digest(key), None
        for known in self._digests:  # all of them: how long it takes must not say which one it was
            if hmac.compare_digest(given, known):
                found = known.hex()[:8]
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(file: Path | None) -> Keys:
    """The keys of a file (one a line, # begins a remark) and of RNR_API_KEYS. Raises SetupError."""
    lines = os.environ.get(KEYS, "").split(",")
    if file:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SetupError(f"{file}: API keys cannot be read from here ({error})") from error
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise SetupError(f"an API key has fewer than {SHORTEST_KEY} characters; make one with `openssl rand -hex 24`")
    if file and not keys:
        raise SetupError(f"{file}: holds no API key; write one a line into it")
    return Keys(keys)


def check_exposure(host: str, keys: Keys, insecure: bool) -> None:
    """Raises SetupError where strangers could call: beyond loopback, without a key, and nobody has said so."""
    if not (keys or insecure or is_loopback(host)):
        raise SetupError(
            f"--host {host} lets others in, and there is no API key: name a file with --keys, set {KEYS}, "
            "or say --insecure if something in front of the service checks who calls"
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False
