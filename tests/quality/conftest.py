"""Trainings of seconds."""

from __future__ import annotations

import pytest


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that channels are standardised by and that a training validates on; making them is most of its time."""
    monkeypatch.setattr("rnr.quality.train.FITTED", 32)
    monkeypatch.setattr("rnr.quality.train.HELD", 32)
