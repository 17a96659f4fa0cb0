"""Adding a kind is adding one file: everything else follows from it, and what is older is left as it was."""

from __future__ import annotations

import sys

import torch

from rnr.degradation import Diagnosis, degrade, diagnosis_schema, draw_mixture, kinds, truths
from rnr.degradation.describe import document
from rnr.degradation.synthesize import prescribe

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
