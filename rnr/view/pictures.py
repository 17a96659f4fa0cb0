"""Pictures as a browser shows them: as they are where it can, else as PNG; thumbnails; the views of the model."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from rnr.images.files import PictureError, read_stream
from rnr.view.explained import maps_in
from rnr.view.files import Files, more_files_of

if TYPE_CHECKING:
    from rnr.view.library import Library

THUMBNAIL = 192  # px, longer side: shown at 96 px, sharp on a phone
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
VIEWS = ("the whole", "richest crop", "smoothest crop")
DRAWN = {
    "spectrum": "spectrum and tones", "fine": "fine spectrum", "marks": "lines, spots and veil",
    "maps": "where each kind is",
}  # fmt: skip
Shown = tuple[bytes, str]  # the file and its MIME type


class Pictures:
    """Reads what items hold. Everything goes through the finder: nothing outside the given folders is opened."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._small = lru_cache(maxsize=4096)(self._thumbnail)  # 5 kB each
        self._seen = lru_cache(maxsize=64)(self._views)

    def roles(self, identity: str) -> Files:
        """The pictures of an item that lie in files of their own. Raises KeyError."""
        run, key, item = self.library.item(identity)
        if item.error:
            return item.files
        data, truth = item.read(), item.truth() if item.truth else None
        return item.files | more_files_of(item, data, truth, self.library.finder) | maps_in(run.source.again, key)

    def bytes_of(self, identity: str, role: str) -> bytes:
        """The file, or the part of one, that is the picture in this role.

        Raises:
            KeyError: For an unknown item.
            PictureError: If it is not there, or is another picture than the record's.
        """
        item, finder = self.library.item(identity)[2], self.library.finder
        if role in item.pictures:
            path, part = item.pictures[role]
            allowed = finder.allowed(path)
            if allowed:
                return part(allowed)
        paths, sha256 = item.files.get(role) or self.roles(identity).get(role) or ([], "")
        found = finder.same(paths, sha256)
        if found is None:
            problem = "is not the file that the record speaks of" if paths else "is not in the given folders"
            raise PictureError(item.name, problem, "name the folder that holds it: rnr view RUN FOLDER")
        return found.read_bytes()

    def shown(self, identity: str, role: str) -> Shown:
        """What a browser gets. Raises KeyError, PictureError."""
        return browser_copy(self.bytes_of(identity, role), identity)

    def thumbnail(self, identity: str, role: str) -> Shown:
        """JPEG, longer side at most THUMBNAIL px. Raises KeyError, PictureError."""
        return self._small(identity, role, self.library.version)

    def views(self, identity: str) -> Shown:
        """The square views that the built-in reasoner looks at, side by side. Raises KeyError, PictureError."""
        return self._seen(identity, self.library.version)

    def _thumbnail(self, identity: str, role: str, version: int) -> Shown:
        return small_jpeg(self.shown(identity, role)[0], THUMBNAIL, 82)[0], "image/jpeg"

    def _views(self, identity: str, version: int) -> Shown:
        data = self.bytes_of(identity, "before")  # first: it may not be there, and torch takes seconds to load
        import numpy as np
        from PIL import Image

        from rnr.reasoner.card import BUILT_IN, read_card
        from rnr.reasoner.reasoner import shown

        pixels = read_stream(io.BytesIO(data), identity).pixels_HWC3
        out = io.BytesIO()
        Image.fromarray(np.concatenate(list(shown(pixels, read_card(BUILT_IN))), 1)).save(out, "PNG")
        return out.getvalue(), "image/png"


def names_of_views() -> tuple[str, ...]:
    """What the built-in reasoner's views show, in their order."""
    from rnr.reasoner.card import BUILT_IN, read_card

    wanted = read_card(BUILT_IN)["views"]
    return *VIEWS, *(name for key, name in DRAWN.items() if wanted.get(key))


def small_jpeg(data: bytes, side: int, quality: int, colours: bool = False) -> tuple[bytes, tuple[int, int]]:
    """A copy of at most `side` px without metadata, or with that of its `colours` alone, and its width and height."""
    from PIL import Image, ImageOps

    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (side, side))
        profile = image.info.get("icc_profile") if colours and image.mode != "CMYK" else None  # it becomes RGB
        small = ImageOps.exif_transpose(image)
        small.thumbnail((side, side))
        small.convert("RGB").save(out, "JPEG", quality=quality, icc_profile=profile)
        return out.getvalue(), small.size


def browser_copy(data: bytes, name: str) -> Shown:
    """The same bytes where a browser shows them, else a PNG of 8 bits. Raises PictureError for what is no picture."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            mime = MIME.get(image.format or "")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(name, f"is no picture ({error})", "look at the file") from None
    if mime:
        return data, mime
    picture = read_stream(io.BytesIO(data), name)
    out = io.BytesIO()
    pixels = (picture.pixels_HWC3 >> (picture.bit_depth - 8)).astype("uint8")
    Image.fromarray(pixels).save(out, "PNG", **({"icc_profile": picture.icc_profile} if picture.icc_profile else {}))
    return out.getvalue(), "image/png"
