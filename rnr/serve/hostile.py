"""Uploads that a service on the open net gets: cut, flipped, lying and exploding pictures, and requests that are none.

`hostile(seed, count)` is used by the tests and by `rnr bench serve`. Each must be answered by 4xx, or by 200 where the
file can be read after all; never by 5xx, and never by silence.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image

Generator = np.random.Generator
HUGE = 60_000  # px, the side that lying headers claim: 3600 megapixels
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


@dataclass(frozen=True)
class Upload:
    """A request: a form with a file, or a raw body of some media type."""

    what: str
    data: bytes
    name: str = "picture.png"
    fields: dict[str, str] = field(default_factory=dict)
    media: str = ""  # of a raw body; empty: a form


def hostile(seed: int, count: int) -> Iterator[Upload]:
    """`count` uploads, the kinds in turn, each another one."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](rng)


def picture(rng: Generator, form: str = "PNG", size: int = 48) -> bytes:
    """A small good one."""
    pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, packed: bytes, *more: bytes) -> bytes:
    """A PNG of 8-bit grey with this IDAT, true or not, and more chunks before it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@lru_cache
def _zeros(count: int) -> bytes:
    """So many, packed."""
    return zlib.compress(bytes(count))


def _cut(rng: Generator) -> Upload:
    form = str(rng.choice(FORMATS))
    whole = picture(rng, form)
    return Upload("cut short", whole[: int(rng.integers(1, len(whole)))], f"cut.{form.lower()}")


def _flipped(rng: Generator) -> Upload:
    form = str(rng.choice(FORMATS))
    data = bytearray(picture(rng, form))
    for place in rng.integers(0, len(data), 1 + len(data) // 200):
        data[place] ^= 1 << int(rng.integers(8))
    return Upload("bits flipped", bytes(data), f"flipped.{form.lower()}")


def _head_flipped(rng: Generator) -> Upload:
    form = str(rng.choice(FORMATS))
    data = bytearray(picture(rng, form))
    for place in rng.integers(0, 64, 6):
        data[place] = int(rng.integers(256))
    return Upload("header overwritten", bytes(data), f"head.{form.lower()}")


def _noise(rng: Generator) -> Upload:
    return Upload("random bytes", rng.bytes(int(rng.integers(0, 4000))))


def _foreign(rng: Generator) -> Upload:
    texts = [
        b"",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\3\4" + bytes(60),
        b"root:x:0:0:/root",
    ]
    texts += [b"<!doctype html><script>1</script>", b"\x7fELF" + bytes(200), b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0"]
    return Upload("not a picture", texts[int(rng.integers(len(texts)))])


def _lying(rng: Generator) -> Upload:
    """Headers that claim 3600 megapixels."""
    side = struct.pack("<I", HUGE - 1)[:3]
    gif = b"GIF89a" + struct.pack("<HH", HUGE, HUGE) + picture(rng, "GIF")[10:]
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    bmp = bytearray(picture(rng, "BMP"))
    bmp[18:26] = struct.pack("<II", HUGE, HUGE)
    jpeg = bytearray(picture(rng, "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", HUGE, HUGE)
    files = [png(HUGE, HUGE, zlib.compress(bytes(100))), gif, webp, bytes(bmp), bytes(jpeg)]
    return Upload("claims 3600 megapixels", files[int(rng.integers(len(files)))])


def _bomb(rng: Generator) -> Upload:
    """A true one: 64 MB of zeros in 64 kB, 64 megapixels."""
    side = 8000 + int(rng.integers(100))
    return Upload("decompression bomb", png(side, side, _zeros(8100 * 8101)))


def _text_bomb(rng: Generator) -> Upload:
    """Chunks beside the pixels that unpack to 50 MB each."""
    name = rng.bytes(4).hex().encode()
    more = [chunk(kind, name + b"\0\0" + _zeros(50_000_000)) for kind in (b"zTXt", b"iCCP")]
    return Upload("bomb in a text chunk", png(8, 8, zlib.compress(bytes(72)), *more))


def _endless_tiff(rng: Generator) -> Upload:
    """A directory that names itself as the next one, with counts beyond the file."""
    entries = [struct.pack("<HHII", tag, 4, int(rng.integers(1, 2**31)), 8) for tag in (256, 257, 258, 273, 279, 700)]
    return Upload(
        "endless TIFF", b"II*\0\x08\0\0\0" + struct.pack("<H", 6) + b"".join(entries) + b"\x08\0\0\0", "a.tif"
    )


def _named(rng: Generator) -> Upload:
    names = [
        "../../../etc/passwd",
        "/etc/passwd",
        "a" * 5000 + ".png",
        "C:\\boot.ini",
        "\u202egnp.exe",
        "photo.nef",
        "~",
    ]
    names += ["%00.png", "$(reboot).png", "{{7*7}}.png", "<script>.png"]
    return Upload("a strange name", b"nothing in it", names[int(rng.integers(len(names)))])


def _options(rng: Generator) -> Upload:
    wrong = [
        {"num_inference_steps": "-1"},
        {"num_inference_steps": "1e9"},
        {"seed": "x"},
        {"only": "everything"},
        {"format": "exe"},
        {"unknown": "1"},
    ]
    wrong += [
        {"diagnosis": "[" * 5000},
        {"diagnosis": '{"findings": {"haze": {"severity": 1e999}}}'},
        {"seed": "9" * 400},
        {"strength": "nan"},
        {"strength": "fog=50"},
    ]
    return Upload("wrong options", picture(rng), fields=wrong[int(rng.integers(len(wrong)))])


def _not_a_request(rng: Generator) -> Upload:
    paths = ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "picture.png"]
    path = paths[int(rng.integers(len(paths)))]
    bodies = [b"{", b"[" * 100_000, b'{"picture": 1}', json.dumps({"picture": path}).encode(), b"\xff\xfe", b"null"]
    bodies.append(json.dumps({"picture": base64.b64encode(rng.bytes(50)).decode()}).encode())
    return Upload("no request", bodies[int(rng.integers(len(bodies)))], media="application/json")


def _media(rng: Generator) -> Upload:
    kinds = ["text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "image/png", "application/xml"]
    return Upload("wrong media type", picture(rng), media=kinds[int(rng.integers(len(kinds)))])


def _frames(rng: Generator) -> Upload:
    """Pages and frames of which a later one is broken."""
    form = str(rng.choice(["PNG", "GIF", "WEBP", "TIFF", "MPO", "AVIF"]))
    frames = [Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)) for _ in range(int(rng.integers(2, 6)))]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=50)
    data = bytearray(buffer.getvalue())
    for place in rng.integers(len(data) // 3, len(data), int(rng.integers(1, 9))):
        data[place] ^= 1 << int(rng.integers(8))
    cut = len(data) if rng.random() < 0.5 else int(rng.integers(len(data) // 3, len(data)))
    return Upload("a later frame broken", bytes(data[:cut]), f"frames.{form.lower()}")


def _frame_bomb(rng: Generator) -> Upload:
    """16 megapixels in each of hundreds of frames, in some kB; or a count of frames that nobody has seen."""
    if rng.random() < 0.5:
        control = chunk(b"acTL", struct.pack(">II", int(rng.integers(2, 2**31)), 0))
        return Upload("bomb of frames", png(8, 8, zlib.compress(bytes(72)), control))
    head = b"GIF89a" + struct.pack("<HH", 4000, 4000) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    frame = b"!\xf9\4\0\1\0\0\0," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2D\1\0"
    return Upload("bomb of frames", head + frame * int(rng.integers(100, 900)) + b";", "bomb.gif")


KINDS: list[Callable[[Generator], Upload]] = [
    _cut, _flipped, _head_flipped, _noise, _foreign, _lying, _bomb, _text_bomb, _endless_tiff, _named, _options,
    _not_a_request, _media, _frames, _frame_bomb,
]  # fmt: skip
