"""What the house asks of a model that diagnoses, of one that restores and of one that scores, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
    from rnr.degradation.intent import Intent

    Picture = NDArray[Any] | Image.Image


class Diagnoser(Protocol):
    """Image -> Diagnosis: `Reasoner`, `ServerReasoner`.

    Attributes:
        kinds: The degradation types it is asked about.
        physics: Version of the forward models in which its severities and factors speak.
        identity: `model`, `model_hash`, `prompt`, `prompt_version`: by these its answers are known again.
    """

    @property
    def kinds(self) -> list[str]: ...

    @property
    def physics(self) -> int: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def diagnose(self, images: Iterable[Picture], /) -> list[DiagnosisRecord]:
        """A record per image (uint8, uint16 or float in [0, 1]); one that failed has `error` and no diagnosis."""


class Restored(Protocol):
    """A restored image. `untouched`: nothing was to be removed, `pixels_HWC3` is the array that came in."""

    @property
    def pixels_HWC3(self) -> NDArray[np.float32]: ...

    @property
    def untouched(self) -> bool: ...

    @property
    def settings(self) -> dict[str, Any]: ...

    @property
    def seconds(self) -> float: ...


class Restorer(Protocol):
    """Image + Diagnosis -> image: `RestorePipeline`, `QwenEditRestorer`, `DiffusersRestorer`.

    Attributes:
        identity: `model`, `model_hash` and what else its results follow from.
        steps: Steps where nobody asks for another number.
    """

    @property
    def identity(self) -> Mapping[str, Any]: ...

    @property
    def steps(self) -> int: ...

    def restore(
        self,
        pixels_HWC3: NDArray[Any],
        source: DiagnosisRecord | Diagnosis | None,
        intent: Intent | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        *,
        callback_on_step_end: Callable[[Any, int, float, dict[str, Any]], None] | None = None,
    ) -> Restored:
        """Remove what the diagnosis names from an image, float in [0, 1]."""


class Scored(Protocol):
    """What is said of one image's quality; None where there is no number, and `missing` says why.

    Attributes:
        technical, aesthetic: 0-100.
        interval: The central 80% around `technical`.
        ladder: Probability of each word, from worst to best.
        words: What is said of the image, the surest first.
        source: Who says so, as `Diagnosis.quality.source` names it.
    """

    @property
    def technical(self) -> float | None: ...

    @property
    def aesthetic(self) -> float | None: ...

    @property
    def interval(self) -> tuple[float, float] | None: ...

    @property
    def ladder(self) -> dict[str, float]: ...

    @property
    def words(self) -> list[str]: ...

    @property
    def missing(self) -> dict[str, str]: ...

    @property
    def source(self) -> str: ...


class Scorer(Protocol):
    """Image -> quality: `QualityModel`, `PyiqaScorer`, `LanguageScorer`.

    Attributes:
        identity: `model` and `model_hash`.
    """

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def score(self, images: Iterable[Picture], /) -> Sequence[Scored]:
        """A score per image (uint8, uint16 or float in [0, 1]), the same alone and among others."""
