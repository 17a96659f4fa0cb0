"""What a picture file carries beside its pixels: XMP, comments, PNG text, resolution, IPTC; read, and written again.

EXIF and the colour profile are the business of `rnr.images.codecs`. What a format cannot hold is listed by `lost`.
Sources: XMP specification part 3 (2020), PNG third edition (iTXt, pHYs), JFIF, TIFF 6.0, Adobe's TIFF notes, IIM 4.2.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from PIL import Image

XMP_KEY = "XML:com.adobe.xmp"  # the keyword of XMP in a PNG
NAMESPACE = "urn:reason-and-restore:record:1"
LONGEST_SEGMENT = 65_502  # bytes of XMP in one segment of a JPEG
_IPTC, _XMP_TAG, _IPTC_TAG, _GPS_TABLE, _X_RESOLUTION = 0x0404, 700, 33723, 0x8825, 282
_HOLDS = {
    "PNG": {"XMP", "resolution", "comment", "text"},
    "JPEG": {"XMP", "resolution", "comment", "IPTC"},
    "TIFF": {"XMP", "resolution", "IPTC"},
    "WEBP": {"XMP"},
    "AVIF": {"XMP"},
    "BMP": {"resolution"},
}


@dataclass(frozen=True)
class Extras:
    """Attributes:
    xmp: The packet.
    dpi: Pixels an inch, across and down.
    comment: Of a JPEG or a GIF.
    text: Keywords and texts of a PNG.
    iptc: The IIM records.
    """

    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes = b""
    text: Mapping[str, str] = field(default_factory=dict)
    iptc: bytes = b""

    def lost(self, format: str) -> list[str]:
        """What a file of this format cannot hold."""
        there = {"XMP": self.xmp, "resolution": self.dpi, "comment": self.comment, "text": self.text, "IPTC": self.iptc}
        holds = set(_HOLDS.get(format, ()))
        if format == "JPEG":
            holds -= {"XMP"} if len(self.xmp) > LONGEST_SEGMENT else set()
            holds -= {"IPTC"} if not _app13(self.iptc) else set()
        return [name for name, value in there.items() if value and name not in holds]

    def turned(self, orientation: int) -> Extras:
        """Of the picture after its orientation (EXIF 1..8) was undone."""
        dpi = self.dpi[::-1] if self.dpi and orientation in (5, 6, 7, 8) else self.dpi
        upright = re.sub(rb'(tiff:Orientation(?:=["\']|>))[2-8]', rb"\g<1>1", self.xmp)
        return replace(self, xmp=upright, dpi=dpi)

    def without_gps(self) -> Extras:
        return replace(self, xmp=_no_gps(self.xmp))

    def stamped(self, record: Mapping[str, Any]) -> Extras:
        """With the record as an attribute `record` in our namespace, in place of an earlier one."""
        text = quoteattr(json.dumps(record, ensure_ascii=True, separators=(",", ":")))
        ours = f'<rdf:Description rdf:about="" xmlns:rnr="{NAMESPACE}" rnr:record={text}/>'.encode()
        packet = re.sub(rb"<rdf:Description[^<>]*" + NAMESPACE.encode() + rb"[^<>]*/>", b"", self.xmp)
        before, end, after = packet.rpartition(b"</rdf:RDF>")
        return replace(self, xmp=before + ours + end + after if end else _PACKET % ours)

    def options(self, format: str) -> dict[str, Any]:
        """What Pillow's `save` takes for it."""
        found: dict[str, Any] = {"dpi": self.dpi} if self.dpi and format in ("JPEG", "PNG", "BMP") else {}
        if self.xmp and format in ("JPEG", "WEBP", "AVIF") and (format != "JPEG" or len(self.xmp) <= LONGEST_SEGMENT):
            found["xmp"] = self.xmp
        if format == "JPEG":
            found |= {"comment": self.comment} if self.comment else {}
            found |= {"extra": _app13(self.iptc)} if self.iptc else {}
        if format == "PNG":
            found["pnginfo"] = self._png_info()
        return found

    def _texts(self) -> dict[str, str]:
        comment = {"Comment": self.comment.decode("utf-8", "replace")} if self.comment else {}
        return {**comment, **self.text, **({XMP_KEY: self.xmp.decode("utf-8", "replace")} if self.xmp else {})}

    def _png_info(self) -> Any:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        for kind, data in self._text_chunks():
            info.add(kind, data)
        return info

    def _text_chunks(self) -> list[tuple[bytes, bytes]]:
        """tEXt where that can spell it, which more programs read, else iTXt."""
        found = []
        for key, text in self._texts().items():
            name = key.encode("latin-1", "replace")[:79]
            plain = key != XMP_KEY and text.encode("latin-1", "ignore").decode("latin-1") == text and "\0" not in text
            data = b"\0" + text.encode("latin-1") if plain else b"\0" * 5 + text.encode("utf-8", "replace")
            found.append((b"tEXt" if plain else b"iTXt", name + data))
        return found

    def chunks(self) -> list[tuple[bytes, bytes]]:
        """Chunks of a PNG, to stand before its pixels."""
        found = self._text_chunks()
        if self.dpi:
            across, down = (round(each / 0.0254) for each in self.dpi)
            found.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
        return found

    def tags(self) -> dict[int, Any]:
        """Tags of a TIFF."""
        from PIL.TiffImagePlugin import IFDRational

        found: dict[int, Any] = {_XMP_TAG: self.xmp} if self.xmp else {}
        found |= {_IPTC_TAG: self.iptc} if self.iptc else {}
        if self.dpi:
            across, down = (IFDRational(round(each * 1000), 1000) for each in self.dpi)
            found |= {282: across, 283: down, 296: 2}
        return found


_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%s</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def extras_of(image: Image.Image) -> Extras:
    """What an opened and loaded Pillow image carries; parts that cannot be understood are left out."""
    info, tags = image.info, getattr(image, "tag_v2", {})
    text = {str(key): str(value) for key, value in (getattr(image, "text", None) or {}).items()}
    xmp = info.get("xmp") or text.get(XMP_KEY, "").encode() or tags.get(_XMP_TAG) or b""
    return Extras(
        _bytes(xmp),
        _resolution(info.get("dpi") if _X_RESOLUTION in tags or image.format != "TIFF" else None),
        _bytes(info.get("comment") or b""),
        {key: value for key, value in text.items() if key != XMP_KEY},
        _bytes((info.get("photoshop") or {}).get(_IPTC) or tags.get(_IPTC_TAG) or b""),
    )


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray | tuple) and all(_octet(v) for v in value) else b""


def _octet(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 256


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(each) for each in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across < 1e6 and 1 <= down < 1e6 else None


def _app13(iptc: bytes) -> bytes:
    """A segment with one of Photoshop's resources; nothing if it is too long for one."""
    body = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body if len(body) < 65_534 else b""


def _no_gps(xmp: bytes) -> bytes:
    """A packet without the properties exif:GPS..., as attributes and as elements."""
    plain = re.sub(rb"\s+exif:GPS\w+\s*=\s*(\"[^\"]*\"|'[^']*')", b"", xmp)
    return re.sub(rb"<(exif:GPS\w+)\b[^>]*?(/>|>.*?</\1>)", b"", plain, flags=re.DOTALL)


def exif_without_gps(exif: bytes | None) -> bytes | None:
    """The same EXIF without its table of positions; nothing where it cannot be read."""
    from PIL import Image

    if not exif:
        return exif
    table = Image.Exif()
    try:
        table.load(exif)
        if _GPS_TABLE not in table:
            return exif
        del table[_GPS_TABLE]
        table._ifds.pop(_GPS_TABLE, None)
        return b"Exif\0\0" + table.tobytes().removeprefix(b"Exif\0\0")
    except Exception:  # Pillow's parser has no closed list of errors for damaged EXIF
        return None


def jpeg_without_gps(data: bytes) -> bytes:
    """The bytes of a JPEG, its pictures untouched, without positions in EXIF and XMP.

    Segments keep their length, so that what is found by its offset (the further pictures of an MPO) stays in place.
    """
    parts, at = [], 0
    while (start := data.find(b"\xff\xd8\xff", at)) >= 0:  # within the pixels no such three bytes can stand
        parts.append(data[at : start + 2])
        at = start + 2
        while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] not in (0xDA, 0xD9):
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            parts.append(_segment(data[at : at + 4], data[at + 4 : end]) if data[at + 1] == 0xE1 else data[at:end])
            at = end
    return b"".join([*parts, data[at:]])


def _segment(head: bytes, body: bytes) -> bytes:
    """One of EXIF or XMP without positions; EXIF that cannot be read, or grows as it is written anew, is blanked."""
    if body.startswith(b"Exif\0\0"):
        bare = exif_without_gps(body) or b""
        return head + (bare if len(bare) <= len(body) else b"").ljust(len(body), b"\0")
    return head + (_no_gps(body).ljust(len(body)) if body.startswith(b"http://ns.adobe.com/") else body)
