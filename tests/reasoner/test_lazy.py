"""Importing the package is cheap, and loading wrong weights says what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rnr.reasoner.export import export, mean, record_of, total
from rnr.reasoner.reasoner import Reasoner


def test_importing_loads_no_torch() -> None:
    heavy = "any(name in sys.modules for name in ('torch', 'transformers', 'numpy'))"
    code = f"import sys, rnr.reasoner, rnr.prompts, rnr.reasoner.grammar, rnr.reasoner.views; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unknown_names_are_attribute_errors() -> None:
    from rnr import reasoner

    assert "Reasoner" in reasoner.__all__
    with pytest.raises(AttributeError):
        _ = reasoner.no_such_thing


def test_weights_survive_export(reasoner, tmp_path) -> None:
    from rnr import prompts
    from tests.reasoner.conftest import picture

    folder = export(reasoner.model, reasoner.processor, tmp_path / "weights", prompts.load("diagnose_tuned"))
    loaded = Reasoner.from_pretrained(folder)
    record = loaded.diagnose([picture()])[0]
    assert record.error is None and record.model_hash and record.prompt == "diagnose_tuned"
    assert loaded.kinds == reasoner.kinds


def test_the_mean_of_weights(reasoner, tmp_path) -> None:
    import copy

    from rnr import prompts

    other = copy.deepcopy(reasoner.model)
    name, weight = next((n, p) for n, p in other.named_parameters() if n.endswith("mlp.down_proj.weight"))
    before = weight.detach().clone()
    weight.data += 0.5
    record = {"license": "CC-BY-4.0", "seed": 1, "photographs": "x", "samples": 30, "samples_before": 12, "hours": 1.5}
    folders = [
        export(model, reasoner.processor, tmp_path / str(i), prompts.load("diagnose_tuned"), record)
        for i, model in enumerate((reasoner.model, other))
    ]
    loaded = Reasoner.from_pretrained(mean(folders, None, tmp_path / "mean"))
    assert torch.allclose(dict(loaded.model.named_parameters())[name], before + 0.25, atol=2e-3)
    assert total(record_of(tmp_path / "mean")) == 42
    card = (tmp_path / "mean" / "README.md").read_text()
    assert card.startswith("---\n") and "\nlicense: cc-by-4.0\n" in card
    assert "in 1.5 hours" in card and "after 42 and 42 regions" in card


def test_missing_and_broken_weights(tmp_path, reasoner) -> None:
    from rnr import prompts

    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(ValueError, match="no weights here"):
        Reasoner.from_pretrained(tmp_path / "empty")
    folder = export(reasoner.model, reasoner.processor, tmp_path / "weights", prompts.load("diagnose_tuned"))
    card = (folder / "reasoner.json").read_text()
    (folder / "reasoner.json").write_text(card.replace('"blur"', '"scratches"'))
    with pytest.raises(ValueError, match="scratches"):
        Reasoner.from_pretrained(folder)
    (folder / "reasoner.json").write_text(card)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded"):
        Reasoner.from_pretrained(folder)
