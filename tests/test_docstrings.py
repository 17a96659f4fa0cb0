"""The examples in the docstrings of public names run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("diagnosis", "intent", "kind", "synthesize", "strength")


@pytest.mark.parametrize("name", [*(f"rnr.degradation.{name}" for name in MODULES), "rnr.judge.reading"])
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
