"""Reason and Restore: say what happened to a picture, then undo it.

    import rnr
    diagnosis = rnr.diagnose("photo.jpg")      # .present, .findings["haze"].severity, .expected_severity("haze")
    result = rnr.restore("photo.jpg")          # .image (PIL), .before, .after, .save("restored.jpg")
    result = rnr.agent("photo.jpg")            # the same step by step, checked and rolled back; .story says how
    score = rnr.quality("photo.jpg")           # .technical 0-100 with its .interval, .ladder, .words

`import rnr` loads no torch; the models load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import lazy_names

__version__ = "0.2.0"

if TYPE_CHECKING:
    from rnr.agent_api import AgentResult, agent
    from rnr.api import Diagnosed, Result, diagnose, quality, restore
    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
    from rnr.degradation.errors import Error, SetupError
    from rnr.degradation.intent import Intent
    from rnr.images.files import Picture, PictureError

__getattr__, _ = lazy_names(
    __name__,
    {
        "rnr.agent_api": ("AgentResult", "agent"),
        "rnr.api": ("Diagnosed", "Result", "diagnose", "quality", "restore"),
        "rnr.degradation.diagnosis": ("Diagnosis", "DiagnosisRecord", "Finding"),
        "rnr.degradation.errors": ("Error", "SetupError"),
        "rnr.degradation.intent": ("Intent",),
        "rnr.images.files": ("Picture", "PictureError"),
    },
)

__all__ = [
    "AgentResult",
    "Diagnosed",
    "Diagnosis",
    "DiagnosisRecord",
    "Error",
    "Finding",
    "Intent",
    "Picture",
    "PictureError",
    "Result",
    "SetupError",
    "__version__",
    "agent",
    "diagnose",
    "quality",
    "restore",
]


def __dir__() -> list[str]:
    return __all__
