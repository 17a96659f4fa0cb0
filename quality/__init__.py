"""Image -> technical and aesthetic quality from one space of pictures and words (UniQA). Loads no torch by itself.

The name of the room is also that of the front door's function: `rnr.quality(picture)`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.quality.loading": ("load",),
        "rnr.quality.model": ("QualityModel",),
        "rnr.quality.captions": ("LADDERS", "captions_of"),
        "rnr.quality.purify": ("purified",),
    },
)


class _Room(ModuleType):
    """A package that can be called: `rnr.quality` is both, and `import rnr.quality` puts the package in its place."""

    def __call__(self, picture: object, **options: Any) -> Any:
        """See `rnr.api.quality`."""
        return importlib.import_module("rnr.api").quality(picture, **options)


sys.modules[__name__].__class__ = _Room
