"""The Python API: `rnr.diagnose` and `rnr.restore`, for a path, a PIL image or an array."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnr.core import BUILT_IN, Models, Request, SetupError, diagnose_pixels, read_diagnosis, restore_picture
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding, Quality, Scene
from rnr.pictures import MAX_MEGAPIXELS, Picture, from_any, write_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_models = lru_cache(maxsize=2)(Models)


class Diagnosed(DiagnosisRecord):
    """The record of a diagnosis (beliefs, text, trace, model, timing) that can also be read as the Diagnosis itself."""

    diagnosis: Diagnosis

    @property
    def scene(self) -> Scene:
        return self.diagnosis.scene

    @property
    def findings(self) -> dict[str, Finding]:
        return self.diagnosis.findings

    @property
    def quality(self) -> Quality:
        return self.diagnosis.quality

    @property
    def plan(self) -> list[str]:
        return self.diagnosis.plan

    @property
    def present(self) -> list[str]:
        return self.diagnosis.present

    def state(self, kind: str) -> Literal["present", "absent", "unknown", "not_asked"]:
        return self.diagnosis.state(kind)


@dataclass(repr=False)
class Result:
    """A restored picture and how it came about."""

    pixels_HWC3: NDArray[Any]  # uint8 or uint16, as deep as the picture that came in
    picture: Picture  # what came in: alpha, colour profile, EXIF, notes
    records: tuple[DiagnosisRecord, DiagnosisRecord]  # before and after
    untouched: bool  # nothing was found: the same pixels
    settings: dict[str, Any]  # of the restorer
    seconds: float  # of the restoration alone

    def __repr__(self) -> str:
        width, height = self.picture.size
        head = f"{type(self).__name__} {width} x {height}, {self.picture.bit_depth} bits, {self.seconds:.2f} s"
        parts = [f"before: {self.records[0]!r}", "untouched" if self.untouched else f"after: {self.records[1]!r}"]
        return "\n".join([head, *parts])

    @property
    def before(self) -> Diagnosis | None:
        return self.records[0].diagnosis

    @property
    def after(self) -> Diagnosis | None:
        """None where the second diagnosis failed; `records[1].error` says why."""
        return self.records[1].diagnosis

    @property
    def image(self) -> Image.Image:
        """8 bits a channel (PIL knows no 16-bit colour; `pixels_HWC3` and `save` do), with alpha if there was some."""
        from PIL import Image

        shift = self.picture.bit_depth - 8
        image = Image.fromarray((self.pixels_HWC3 >> shift).astype("uint8"))
        if self.picture.alpha_HW is not None:
            image.putalpha(Image.fromarray((self.picture.alpha_HW >> shift).astype("uint8")))
        if self.picture.icc_profile:
            image.info["icc_profile"] = self.picture.icc_profile
        return image

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write it in the format of the suffix, with depth, alpha, profile and EXIF. Raises PictureError."""
        scale = 2**self.picture.bit_depth - 1
        return write_picture(self.picture, self.pixels_HWC3.astype("float32") / scale, path, overwrite)


def diagnose(
    picture: object, *, reasoner: str = BUILT_IN, device: str = "auto", max_megapixels: float = MAX_MEGAPIXELS
) -> Diagnosed:
    """What happened to a picture: a path, a PIL image or a uint8/uint16 array (RGB order).

    Raises PictureError for a picture and SetupError for weights or a device that cannot be used, TypeError otherwise.
    """
    source = from_any(picture, max_megapixels)
    record = diagnose_pixels(_models(reasoner, BUILT_IN, device), source.pixels_HWC3, _name(picture))
    return Diagnosed(**dict(record))


def restore(
    picture: object,
    diagnosis: Diagnosis | DiagnosisRecord | str | os.PathLike[str] | None = None,
    *,
    only: Iterable[str] = (),
    steps: int | None = None,
    seed: int = 0,
    strength: float | Mapping[str, float] = 100.0,
    reasoner: str = BUILT_IN,
    restorer: str = BUILT_IN,
    device: str = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Result:
    """Diagnose a picture (see `diagnose`), restore it, diagnose it again.

    `diagnosis` (an object or a file) replaces the reasoner's own: edit it to steer. `only` limits the removal to these
    kinds. `steps`: the built-in restorer takes 1 by itself, nearest to the clean image on average; more (up to 8 or
    so) give more texture. Same seed, same result. `strength` (0..100, or by kind): how far to go; 0 gives
    the same pixels back.
    """
    source, models = from_any(picture, max_megapixels), _models(reasoner, restorer, device)
    only = (only,) if isinstance(only, str) else tuple(only)
    request = Request(steps, seed, only, _diagnosis(diagnosis), _origin(diagnosis), strength).check()
    outcome = restore_picture(models, source, request, _name(picture))
    pixels = source.pixels_HWC3 if outcome.untouched else _quantised(outcome.pixels_HWC3, source)
    records = (outcome.before, outcome.after)
    return Result(pixels, source, records, outcome.untouched, outcome.settings, outcome.seconds)


def _quantised(pixels: NDArray[Any], source: Picture) -> NDArray[Any]:
    import numpy as np

    top = 2**source.bit_depth - 1
    return np.rint(pixels.clip(0, 1) * np.float32(top)).astype(source.pixels_HWC3.dtype)


def _diagnosis(source: object) -> Diagnosis | None:
    if source is None:
        return None
    if isinstance(source, str | os.PathLike):
        return read_diagnosis(Path(source))
    inner = source.diagnosis if isinstance(source, DiagnosisRecord) else source  # its beliefs would overrule an edit
    if isinstance(inner, Diagnosis):
        return Diagnosis.from_json(inner.to_json())  # fields may have been set to anything since it was made
    if isinstance(source, DiagnosisRecord):
        raise SetupError(f"the record holds no diagnosis ({source.error or 'empty'})")
    raise TypeError(f"a diagnosis is a Diagnosis, a DiagnosisRecord or the path of one, not {type(source).__name__}")


def _origin(source: object) -> str:
    return Path(source).name if isinstance(source, str | os.PathLike) else ""


def _name(picture: object) -> str:
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else "the picture"
