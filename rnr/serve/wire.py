"""Messages between the front and a worker: a JSON head and any number of blobs, each with its length before it.

No pickle: a worker decodes what strangers send, so that what it answers is data and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_LENGTH = struct.Struct(">I")


@dataclass
class Message:
    head: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)

    def packed(self) -> bytes:
        text = json.dumps({**self.head, "blobs": [len(blob) for blob in self.blobs]}, ensure_ascii=False).encode()
        return b"".join([_LENGTH.pack(len(text)), text, *self.blobs])


def read(stream: BinaryIO) -> Message | None:
    """The next message; None where the other side has gone."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    head = json.loads(stream.read(*_LENGTH.unpack(length)))
    return _message(head, [stream.read(size) for size in head["blobs"]])


async def receive(stream: asyncio.StreamReader) -> Message | None:
    """`read`, for the front."""
    try:
        length = await stream.readexactly(_LENGTH.size)
        head = json.loads(await stream.readexactly(*_LENGTH.unpack(length)))
        return _message(head, [await stream.readexactly(size) for size in head["blobs"]])
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _message(head: dict[str, Any], blobs: Sequence[bytes]) -> Message:
    del head["blobs"]
    return Message(head, list(blobs))
