"""What is judged once for all: severity as it is read, whether the content is the same, what a restoration changed.

The agent accepts by `judge.change`, the reward pays by it, reports print it. Loads no torch by itself.
"""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.judge.reading": ("Reading", "severities", "severity"),
        "rnr.judge.content": ("same",),
        "rnr.judge.change": ("Change", "Seen"),
    },
)
