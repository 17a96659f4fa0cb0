"""Reason and Restore: say what happened to a picture, then undo it.

    import rnr
    diagnosis = rnr.diagnose("photo.jpg")      # .present, .findings["haze"].severity, .expected_severity("haze")
    result = rnr.restore("photo.jpg")          # .image (PIL), .before, .after, .save("restored.jpg")

`import rnr` loads no torch; the models load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnr.api import Diagnosed, Result, diagnose, restore
    from rnr.core import SetupError
    from rnr.pictures import Picture, PictureError

_HOMES = {
    "rnr.api": ("Diagnosed", "Result", "diagnose", "restore"),
    "rnr.core": ("SetupError",),
    "rnr.pictures": ("Picture", "PictureError"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["Diagnosed", "Picture", "PictureError", "Result", "SetupError", "diagnose", "restore"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rnr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
