"""The Python API: `rnr.diagnose`, `rnr.restore` and `rnr.quality`, for a path, a PIL image or an array."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding, Quality, Scene
from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.degradation.strength import Strength
from rnr.images.files import MAX_MEGAPIXELS, Picture, write_picture
from rnr.images.inputs import name_of, picture_of, several
from rnr.work.models import shared_models
from rnr.work.request import Request, read_diagnosis
from rnr.work.restoring import diagnose_pixels, restore_picture
from rnr.work.scoring import score_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from rnr.degradation.protocols import Scored


class Diagnosed(DiagnosisRecord):
    """The record of a diagnosis (beliefs, text, trace, model, timing) that can also be read as the Diagnosis itself.

    Attributes:
        diagnosis: What was written; `.present`, `.findings`, `.scene`, `.quality` and `.plan` are its.
        beliefs: By kind, P(present) and the distribution of severity.

    Example:
        >>> import rnr
        >>> found = rnr.diagnose("photo.jpg")
        >>> found.present, found.expected_severity("noise") > 30  # 0-100
        (['noise'], True)
    """

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
    """A restored picture and how it came about.

    Attributes:
        pixels_HWC3: RGB, uint8 or uint16, as deep as the picture that came in.
        picture: What came in: alpha, colour profile, EXIF, notes.
        records: The diagnoses before and after.
        untouched: Nothing was found or asked for: the same pixels.
        settings: Of the restorer, with what each leg did (`legs`) and what was left alone (`left_alone`).
        seconds: Of the restoration alone.

    Example:
        >>> import rnr
        >>> result = rnr.restore("photo.jpg")
        >>> result.before.present, result.after.present
        (['noise'], [])
    """

    pixels_HWC3: NDArray[Any]
    picture: Picture
    records: tuple[DiagnosisRecord, DiagnosisRecord]
    untouched: bool
    settings: dict[str, Any]
    seconds: float

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


@overload
def diagnose(  # type: ignore[overload-overlap]
    picture: list[Any] | tuple[Any, ...], *, reasoner: str = ..., device: str = ..., max_megapixels: float = ...
) -> list[Diagnosed]: ...
@overload
def diagnose(picture: object, *, reasoner: str = ..., device: str = ..., max_megapixels: float = ...) -> Diagnosed: ...
def diagnose(
    picture: object, *, reasoner: str = BUILT_IN, device: str = "auto", max_megapixels: float = MAX_MEGAPIXELS
) -> Diagnosed | list[Diagnosed]:
    """What happened to a picture, or to each of a list; safe to call from several threads.

    Args:
        picture: A path, a PIL image, bytes or a file object; an array (H, W) or (H, W, C) or a tensor (C, H, W) or
            (H, W, C), RGB, of uint8, uint16 or float in [0, 1]; or a list, or a batch (B, ...) of them.
        reasoner: built-in, a weights folder, a hub name, a server's URL, a recipe.
        device: auto, cpu, cuda, ...
        max_megapixels: Refuse larger pictures.

    Returns:
        The record; for a list or a batch a list of what single calls give.

    Raises:
        PictureError: For a picture that cannot be used; NaN and infinity are counted.
        SetupError: For weights or a device that cannot be used.
        TypeError: For what is no picture.

    Example:
        >>> import rnr
        >>> rnr.diagnose("photo.jpg").state("haze")
        'absent'
    """
    if (batch := several(picture)) is not None:
        options: dict[str, Any] = {"reasoner": reasoner, "device": device, "max_megapixels": max_megapixels}
        return [diagnose(one, **options) for one in batch]
    source = picture_of(picture, max_megapixels)
    record = diagnose_pixels(shared_models(reasoner, BUILT_IN, device), source.pixels_HWC3, name_of(picture))
    return Diagnosed(**dict(record))


@overload
def restore(  # type: ignore[overload-overlap]
    picture: list[Any] | tuple[Any, ...],
    diagnosis: list[Any] | Diagnosis | DiagnosisRecord | str | os.PathLike[str] | None = ...,
    *,
    only: Iterable[str] = ...,
    force: bool = ...,
    num_inference_steps: int | None = ...,
    seed: int = ...,
    strength: Strength = ...,
    quality: float | None = ...,
    task: str | None = ...,
    instruct: str | None = ...,
    reasoner: str = ...,
    restorer: str = ...,
    device: str = ...,
    max_megapixels: float = ...,
) -> list[Result]: ...
@overload
def restore(
    picture: object,
    diagnosis: Diagnosis | DiagnosisRecord | str | os.PathLike[str] | None = ...,
    *,
    only: Iterable[str] = ...,
    force: bool = ...,
    num_inference_steps: int | None = ...,
    seed: int = ...,
    strength: Strength = ...,
    quality: float | None = ...,
    task: str | None = ...,
    instruct: str | None = ...,
    reasoner: str = ...,
    restorer: str = ...,
    device: str = ...,
    max_megapixels: float = ...,
) -> Result: ...
def restore(
    picture: object,
    diagnosis: list[Any] | Diagnosis | DiagnosisRecord | str | os.PathLike[str] | None = None,
    *,
    only: Iterable[str] = (),
    force: bool = False,
    num_inference_steps: int | None = None,
    seed: int = 0,
    strength: Strength = 100.0,
    quality: float | None = None,
    task: str | None = None,
    instruct: str | None = None,
    reasoner: str = BUILT_IN,
    restorer: str = BUILT_IN,
    device: str = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Result | list[Result]:
    """Diagnose a picture, or each of a list, restore it, diagnose it again; safe to call from several threads.

    Args:
        picture: As in `diagnose`.
        diagnosis: An object or a file that replaces the reasoner's own: edit it to steer. A list for a list.
        only: Limits the removal to these kinds.
        force: Remove also what the reasoner is not sure of (P(present) below 0.7).
        num_inference_steps: Of the bridge, for each leg. The built-in restorer takes 1 by itself, nearest to the clean
            image on average; more (up to 8 or so) give more texture.
        seed: Same seed, same result.
        strength: How far to go, 0-100, or by kind, {"haze": 20}; 0 gives the same pixels back.
        quality: Score 0-100 that the result is to have, of a restorer that can be asked for one (docs/latent.md).
        task: What the result is for, of a restorer that has prompts of tasks: perception, classification, reading
            (docs/tasks.md).
        instruct: What is to go, in English words: "only remove the rain, keep the mist".
        reasoner: built-in, a weights folder, a hub name, a server's URL, a recipe.
        restorer: built-in, a weights folder, a hub name, a recipe.
        device: auto, cpu, cuda, ...
        max_megapixels: Refuse larger pictures.

    Returns:
        The result; for a list or a batch a list of what single calls give.

    Raises:
        PictureError: For a picture that cannot be used.
        SetupError: For weights, a device or a diagnosis that cannot be used, or an instruction that is not understood.
        TypeError: For what is no picture or no diagnosis.

    Example:
        >>> import rnr
        >>> half = rnr.restore("photo.jpg", rnr.diagnose("photo.jpg").edit("noise", severity=10))
        >>> half.save("half.jpg").name
        'half.jpg'
    """
    if (batch := several(picture)) is not None:
        given = list(diagnosis) if isinstance(diagnosis, list | tuple) else [diagnosis] * len(batch)
        if len(given) != len(batch):
            raise SetupError(f"{len(batch)} pictures need as many diagnoses, not {len(given)}")
        options: dict[str, Any] = {"only": only, "force": force, "seed": seed, "strength": strength}
        options |= {"num_inference_steps": num_inference_steps, "quality": quality, "task": task}
        options |= {"instruct": instruct}
        options |= {"reasoner": reasoner, "restorer": restorer, "device": device, "max_megapixels": max_megapixels}
        return [restore(one, each, **options) for one, each in zip(batch, given)]
    source, models = picture_of(picture, max_megapixels), shared_models(reasoner, restorer, device)
    only = (only,) if isinstance(only, str) else tuple(only)
    held, origin = _diagnosis(diagnosis), _origin(diagnosis)
    dials: dict[str, Any] = {"force": force, "quality": quality, "task": task, "instruct": instruct}
    request = Request(num_inference_steps, seed, only, held, origin, strength, **dials).check()
    outcome = restore_picture(models, source, request, name_of(picture))
    pixels = source.pixels_HWC3 if outcome.untouched else source.rounded(outcome.pixels_HWC3)
    records = (outcome.before, outcome.after)
    return Result(pixels, source, records, outcome.untouched, outcome.settings, outcome.seconds)


@overload
def quality(  # type: ignore[overload-overlap]
    picture: list[Any] | tuple[Any, ...], *, scorer: str = ..., device: str = ..., max_megapixels: float = ...
) -> list[Scored]: ...
@overload
def quality(picture: object, *, scorer: str = ..., device: str = ..., max_megapixels: float = ...) -> Scored: ...
def quality(
    picture: object, *, scorer: str = BUILT_IN, device: str = "auto", max_megapixels: float = MAX_MEGAPIXELS
) -> Scored | list[Scored]:
    """How good a picture is, or each of a list: `.technical` and `.aesthetic` 0-100, `.interval`, `.ladder`, `.words`.

    Args:
        picture: As in `diagnose`.
        scorer: built-in, a folder or hub name of a CLIP or SigLIP, pyiqa:METRIC, reasoner:NAME.
        device: auto, cpu, cuda, ...
        max_megapixels: Refuse larger pictures.

    Returns:
        The score; for a list or a batch a list of what single calls give. A number that the scorer does not have is
        None, and `.missing` says why: the built-in one has no aesthetic.

    Raises:
        PictureError: For a picture that cannot be used.
        SetupError: For a scorer or a device that cannot be used.
        TypeError: For what is no picture.

    Example:
        >>> import rnr
        >>> 0 <= rnr.quality("photo.jpg").technical <= 100
        True
    """
    if (batch := several(picture)) is not None:
        options: dict[str, Any] = {"scorer": scorer, "device": device, "max_megapixels": max_megapixels}
        return [quality(one, **options) for one in batch]
    source = picture_of(picture, max_megapixels)
    return score_pixels(shared_models(BUILT_IN, BUILT_IN, device, scorer), source.pixels_HWC3, name_of(picture))


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
