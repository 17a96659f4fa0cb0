"""Adding a kind is adding one file: everything else follows from it, and what is older is left as it was."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation import Diagnosis, calibrate, degrade, diagnosis_schema, draw_mixture, kind_named, kinds, truths
from rnr.degradation.describe import document
from rnr.degradation.synthesize import prescribe
from tests.degradation import test_kinds

OLD = '{"schema_version":"1","findings":{"noise":{"present":true,"severity":25}},"plan":["noise"]}'


def test_one_file_is_enough(new_kind: str, clean: torch.Tensor) -> None:
    order = list(kinds())  # by its place in the order of formation
    assert order.index("low_resolution") < order.index(new_kind) < order.index("compression")
    assert new_kind in diagnosis_schema()["properties"]["findings"]["properties"]
    assert "## Stripes" in document() and "row contrast" in document()
    mixture = prescribe({new_kind: 40, "noise": 20}, 0, batch=len(clean))
    assert [step.kind.name for step in mixture.steps] == ["noise", new_kind]
    degraded = degrade(clean, mixture)
    for diagnosis in truths(clean, degraded, mixture):
        assert diagnosis.plan == [new_kind, "noise"]
        finding = diagnosis.findings[new_kind]
        assert (finding.severity, finding.factors["loss"]) == (40, 26)
        assert finding.evidence is not None and finding.evidence.startswith("row contrast")
        assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis


def promises() -> list[Callable]:
    """What every kind promises: the tests of test_kinds that take any kind."""
    found = [value for name, value in vars(test_kinds).items() if name.startswith("test_")]
    return [test for test in found if "kind" in inspect.signature(test).parameters]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.__name__)
def test_it_keeps_what_every_kind_promises(promise: Callable, new_kind: str, clean: torch.Tensor) -> None:
    kind = kind_named(new_kind)
    given = {"kind": kind, "clean": clean, "size": (16, 17)}
    if "undo" in promise.__name__ and kind not in test_kinds.invertible():
        return  # it has no inverse, which is allowed
    promise(**{name: given[name] for name in inspect.signature(promise).parameters})


def test_it_is_calibrated_by_the_command(
    new_kind: str,
    photographs: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = kind_named(new_kind)
    monkeypatch.setattr(type(kind), "curve", ())  # as its author begins
    Image.fromarray(photographs["coffee"]).save(tmp_path / "coffee.png")
    monkeypatch.setattr(
        sys, "argv", ["calibrate", "--images", str(tmp_path), "--kind", new_kind, "--out", str(tmp_path)]
    )
    calibrate.main()
    line, plot = capsys.readouterr().out.splitlines()
    assert (
        line.startswith("stripes: curve = ((0, 0), (") and "no curve is frozen yet" in line and "severity.png" in plot
    )


def test_the_draws_of_a_benchmark_stay(request: pytest.FixtureRequest) -> None:
    def drawn() -> list[tuple[str, list[bool], list[float]]]:
        mixture = draw_mixture(8, torch.Generator().manual_seed(1), "high_order", ["noise", "haze", "rain"])
        return [
            (step.kind.name, step.mask_B.tolist(), mixture.severity(step.kind.name).tolist()) for step in mixture.steps
        ]

    before = drawn()
    assert request.getfixturevalue("new_kind") in kinds() and drawn() == before


def test_the_curriculum_draws_it(new_kind: str) -> None:
    mixture = draw_mixture(200, torch.Generator().manual_seed(0), "single")
    assert 0.05 < float((mixture.severity(new_kind) > 0).float().mean()) < 0.3


def test_older_diagnoses_did_not_ask_for_it(new_kind: str) -> None:
    old = Diagnosis.from_json(OLD)
    assert old.state(new_kind) == "not_asked" and old.state("noise") == "present"
    assert new_kind not in old.to_json()


def test_older_kinds_make_the_same_pictures(clean: torch.Tensor, request) -> None:
    def pictures() -> torch.Tensor:
        return degrade(clean, prescribe({"haze": 40, "rain": 30, "compression": 20}, 3, batch=len(clean)))

    before = pictures()
    name = request.getfixturevalue("new_kind")
    assert name in kinds() and torch.equal(pictures(), before)


def test_the_file_removed_the_kind_is_gone() -> None:
    assert "stripes" not in kinds() and "rnr.degradation.stripes" not in sys.modules
