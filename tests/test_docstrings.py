"""The examples in the docstrings of public names run."""

from __future__ import annotations

import doctest
import importlib

import pytest

GROUND = ("diagnosis", "errors", "intent", "kind", "schema", "synthesize", "strength")
MODULES = (
    *(f"degradation.{name}" for name in GROUND),
    *("judge.reading", "images.files", "reasoner.grammar", "reasoner.loading", "reasoner.reasoner"),
    *("restorer.bridge", "restorer.condition", "graph.build", "graph.context", "graph.threads", "graph.state"),
    *("graph.store", "explain.statistics", "evaluation.tables", "rl.rewards", "training.config"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"rnr.{name}"))
    assert found.attempted and not found.failed
