"""`rnr quality`, and the quality in a diagnosis: what the scorer says of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import PictureError
from rnr.images.frames import Frames
from rnr.work.console import reason_of
from rnr.work.each import Files
from rnr.work.models import Models

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.degradation.protocols import Scored


@dataclass(frozen=True)
class ScoredFile:
    """A file, or one of its pages or frames, and its score; one that failed has `error` and no score."""

    file: str
    score: Scored | None
    frame: int = 1
    place: str = ""  # page 2 of 3
    error: str | None = None

    @property
    def title(self) -> str:
        return f"{self.file}, {self.place}" if self.place else self.file

    def as_json(self) -> dict[str, Any]:
        """One object; numbers that are missing are null and `missing` says why."""
        from rnr.quality.model import Score

        empty = Score(None, missing={"technical": self.error or "", "aesthetic": self.error or ""})
        shown: Any = self.score or empty
        return {"file": self.file, "frame": self.frame, **shown.as_json(), "error": self.error}


def score_pixels(models: Models, pixels_HWC3: NDArray[Any], name: str) -> Scored:
    """The score of one picture. Raises PictureError where it has none, SetupError without a scorer."""
    if models.scorer is None:
        raise SetupError("no scorer is named")
    try:
        return models.scorer.score([pixels_HWC3])[0]
    except ValueError as error:
        raise PictureError(name, f"could not be scored ({error})", "repair it first") from None


def with_quality(models: Models, record: DiagnosisRecord, pixels_HWC3: NDArray[Any]) -> DiagnosisRecord:
    """The record with the scorer's quality in its diagnosis; as it was where there is no scorer, or no number."""
    from rnr.degradation.diagnosis import Quality, quality_words

    if record.diagnosis is None or models.scorer is None:
        return record
    found = models.scorer.score([pixels_HWC3])[0]
    if found.technical is None:
        return record
    technical = round(found.technical)
    aesthetic = None if found.aesthetic is None else round(found.aesthetic)
    quality = Quality(technical=technical, aesthetic=aesthetic, words=quality_words(technical), source=found.source)
    return record.model_copy(update={"diagnosis": record.diagnosis.model_copy(update={"quality": quality})})


def score_all(files: Files, models: Models) -> Iterator[ScoredFile]:
    """Every picture once. Raises SetupError."""

    def rows_of(path: Path, frames: Frames) -> list[ScoredFile]:
        scores = [score_pixels(models, picture.pixels_HWC3, str(path)) for picture in frames.pictures]
        return [ScoredFile(printable(path), each, i, frames.words(i)) for i, each in enumerate(scores, 1)]

    return files.each(rows_of, _failed)


def _failed(problem: PictureError) -> ScoredFile:
    return ScoredFile(printable(problem.file), None, error=reason_of(problem))
