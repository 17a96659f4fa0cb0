"""Reason and Restore: say what happened to a picture, then undo it.

    import rnr
    diagnosis = rnr.diagnose("photo.jpg")      # .present, .findings["haze"].severity, .expected_severity("haze")
    result = rnr.restore("photo.jpg")          # .image (PIL), .before, .after, .save("restored.jpg")
    result = rnr.agent("photo.jpg")            # the same, step by step, checked and taken back; .story says how

`import rnr` loads no torch; the models load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from degradation._lazy import lazy_names

if TYPE_CHECKING:
    from rnr.agent_api import AgentResult, agent
    from rnr.api import Diagnosed, Result, diagnose, restore
    from rnr.core import SetupError
    from rnr.pictures import Picture, PictureError

__getattr__, _ = lazy_names(
    __name__,
    {
        "rnr.agent_api": ("AgentResult", "agent"),
        "rnr.api": ("Diagnosed", "Result", "diagnose", "restore"),
        "rnr.core": ("SetupError",),
        "rnr.pictures": ("Picture", "PictureError"),
    },
)

__all__ = [
    "AgentResult",
    "Diagnosed",
    "Picture",
    "PictureError",
    "Result",
    "SetupError",
    "agent",
    "diagnose",
    "restore",
]


def __dir__() -> list[str]:
    return __all__
