"""Trackers by name: one that is named and missing is an error, before any time is spent.

accelerate leaves out what is not installed without a word, and transformers says so only where the training begins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from rnr.degradation._lazy import install
from rnr.degradation.errors import MissingExtra

TRACKERS = ("tensorboard", "trackio", "wandb")  # what the extra `trackers` installs
OTHERS = ("aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab")  # those that accelerate and transformers know


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that would not report.

    Raises:
        ValueError: For a name that is no tracker.
        MissingExtra: For a tracker that is not installed.
    """
    for name in names:
        if name not in TRACKERS + OTHERS:
            raise ValueError(f"report_to: unknown tracker {name}; there are {', '.join(TRACKERS + OTHERS)}")
        if importlib.util.find_spec(name) is None:
            command = install("trackers") if name in TRACKERS else f"pip install {name}"
            raise MissingExtra(f"report_to names {name}, which is not installed: {command}, or leave it out")
