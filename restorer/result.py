"""What a restoration gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput

from rnr.restorer.chain import Leg


@dataclass
class RestoreResult(BaseOutput):
    """What `RestorePipeline.restore` gives.

    Attributes:
        pixels_HWC3: float32 in [0, 1], of the size that came in.
        untouched: Nothing was to be removed: the very array that came in.
        settings: All that the result follows from, with what was left alone and why.
        seconds: Of the restoration.
        legs: What each finding did.

    Example:
        >>> import rnr.restorer
        >>> diagnosis = rnr.Diagnosis(findings={"noise": rnr.Finding(present=True, severity=30)})
        >>> result = rnr.restorer.load().restore(np.full((64, 64, 3), 0.5, np.float32), diagnosis)
        >>> [leg.kinds for leg in result.legs]
        [('noise',)]
    """

    pixels_HWC3: np.ndarray  # float32 in [0, 1]
    untouched: bool  # nothing was found: the very array that came in
    settings: dict[str, Any]
    seconds: float
    legs: list[Leg] = field(default_factory=list)


@dataclass
class RestorePipelineOutput(BaseOutput):
    images: Any  # by `output_type`
    legs: list[list[Leg]]  # of each image
