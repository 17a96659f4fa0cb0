"""`rnr degrade`: damage a clean picture in known ways and write the true diagnosis beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import Picture, PictureError, read_picture, write_picture
from rnr.work.models import versions
from rnr.work.outputs import Job, digest, record_beside


def parse_settings(settings: Sequence[str]) -> dict[str, float]:
    """`haze=40` to {"haze": 40.0}. Raises SetupError for another form, an unknown kind or a severity out of range."""
    from rnr.degradation.kind import kind_named

    requests: dict[str, float] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        try:
            kind, severity = kind_named(name.strip()), float(value)
        except ValueError as error:
            form = "write --set KIND=SEVERITY, such as haze=40"
            problem = str(error) if equals and "unknown kind" in str(error) else form
            raise SetupError(f"--set {setting}: {problem}") from None
        if not 0 < severity <= kind.top:
            raise SetupError(f"--set {setting}: the severity of {kind.name} must lie in 1..{kind.top:g}")
        if kind.name in requests:
            raise SetupError(f"--set {setting}: {kind.name} is set twice")
        requests[kind.name] = severity
    return requests


LEAST = 16  # px a side


def degrade_file(
    source: Path, requests: dict[str, float], out: Path, seed: int, overwrite: bool, max_megapixels: float
) -> tuple[Path, Any]:
    """The damaged picture's path and its true Diagnosis; both are written. Raises PictureError.

    The output is an 8-bit PNG whatever the source was: any lossy format would add damage that nobody asked for.
    """
    from rnr.degradation.kind import PHYSICS

    picture = read_picture(source, max_megapixels)
    if min(picture.size) < LEAST:
        raise PictureError(source, f"{' x '.join(map(str, picture.size))} px are too few to damage and measure",
                           f"give one of at least {LEAST} px a side")  # fmt: skip
    damaged, truth = _damage(picture, requests, seed)
    job = Job(source, source.stem)
    target, record = out / f"{job.name}.png", job.record(out)
    for path in (target, record):
        if path.exists() and not overwrite:
            raise PictureError(path, "already exists", "choose another output folder or allow --overwrite")
    if target.exists() and target.samefile(source):
        raise PictureError(target, "the result would take the place of the original", "choose another output folder")
    width, height = picture.size
    about = {"file": printable(source.name), "sha256": digest(source), "width": width, "height": height}
    made = {"set": requests, "seed": seed, "physics": PHYSICS}
    data = {"diagnosis": truth.model_dump(), "source": about, "made": made, "versions": versions()}
    with record_beside(record, data):
        write_picture(_as_8_bits(picture), damaged, target, overwrite)
    return target, truth


def _damage(picture: Picture, requests: dict[str, float], seed: int) -> tuple[Any, Any]:
    """(float32 HWC3, Diagnosis)."""
    import torch

    from rnr.degradation.synthesize import degrade, prescribe, truths

    clean = torch.from_numpy(picture.as_float()).permute(2, 0, 1)[None]
    with torch.no_grad():
        mixture = prescribe(requests, seed)
        damaged = degrade(clean, mixture)
        truth = truths(clean, damaged, mixture)[0]
    return damaged[0].permute(1, 2, 0).contiguous().numpy(), truth


def _as_8_bits(picture: Picture) -> Picture:
    """Damage is rounded to 8 bits as a file would be; a 16-bit file would only pretend to more."""
    if picture.bit_depth == 8:
        return picture
    alpha = None if picture.alpha_HW is None else (picture.alpha_HW >> 8).astype("uint8")
    mode = picture.mode.replace("I;16", "L").replace(";16", "")
    return replace(picture, pixels_HWC3=(picture.pixels_HWC3 >> 8).astype("uint8"), alpha_HW=alpha, mode=mode)
