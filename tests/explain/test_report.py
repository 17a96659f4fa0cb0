"""The explanation of one picture, and interventions: on small random models, where every number is cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnr.degradation.errors import Error
from rnr.degradation.kind import kinds
from rnr.explain import Internals, Intervention
from rnr.explain.counterfactual import intervene, intervention
from rnr.explain.report import Known, as_json, explain
from rnr.reasoner.reasoner import Reasoner
from rnr.report.plain import explanation
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.pipeline import RestorePipeline
from tests.explain.conftest import Damaged


@pytest.fixture(scope="module")
def restorer() -> RestorePipeline:
    """Two untrained experts: their legs run and change nothing."""
    networks = {kind: ExpertNetwork(kind, (8, 16), (1, 1)).eval() for kind in ("noise", "haze")}
    return RestorePipeline(None, BridgeScheduler(), Experts(networks))


def test_an_intervention_is_read_from_words() -> None:
    found = intervention(
        ["noise.severity=30", "haze=0", "noise.sigma=20", "scene.lighting=dark"], ["rain=no rain"], ["blur"], []
    )
    assert found.severities == {"noise": 30, "haze": 0} and found.factors == {"noise.sigma": "20"}
    assert found.forced == {"scene.lighting": "dark", "rain.evidence": "no rain"} and found.without == ("blur",)
    assert found.words().startswith("forced scene.lighting = dark; ") and Intervention().words() == "nothing"
    for words, message in ((["noise"], "write NAME=VALUE"), (["noise=x"], "whole number"), (["fog=3"], "unknown kind")):
        with pytest.raises(Error, match=message):
            intervention(words, [], [], [])


def test_the_counterfactual_beside_the_original(
    random_qwen: Internals, restorer: RestorePipeline, damaged: Damaged
) -> None:
    pixels = damaged.picture.astype(np.float32) / 255
    change = intervention(["noise.severity=30", "noise.sigma=20"], ["haze=dark channel above 65 %"], ["rain"], [])
    stages: list[str] = []
    found = intervene(random_qwen.reasoner, restorer, pixels, change, tell=stages.append)
    assert stages[0] == "diagnosing" and "restoring by the changed diagnosis" in stages
    diagnosis = found.changed.record.diagnosis
    assert diagnosis is not None and diagnosis.findings["noise"].severity == 30
    assert diagnosis.findings["noise"].factors["sigma"] == 20 and not diagnosis.findings["rain"].present
    assert diagnosis.findings["haze"].evidence == "dark channel above 65 %"
    assert found.changed.record.expected_severity("noise") == 30 and found.changed.record.expected_severity("rain") == 0
    table = found.table(random_qwen.reasoner.kinds)
    assert [row["kind"] for row in table.rows] == random_qwen.reasoner.kinds
    assert "without rain" in table.note


def test_wrong_interventions_name_the_remedy(random_qwen: Internals, restorer: Any, damaged: Damaged) -> None:
    pixels = damaged.picture.astype(np.float32) / 255
    top = kinds()["noise"].highest
    for change, message in (
        (Intervention(severities={"noise": 100}), f"0..{top}"),
        (Intervention(severities={"noise": 0}, factors={"noise.sigma": 3}), "noise is not present"),
        (Intervention(forced={"noise.evidence": "grain"}), "legal: fine residual"),
    ):
        with pytest.raises(Error, match=message):
            intervene(random_qwen.reasoner, restorer, pixels, change, again=False)
    served: Any = object()
    with pytest.raises(Error, match="behind a server"):
        intervene(served, restorer, pixels, Intervention(forced={"noise.evidence": "grain"}))


class Certain(Reasoner):
    """A reasoner that is made to find noise."""

    def diagnose(self, images, settings=None, forced=None):  # type: ignore[no-untyped-def]
        return super().diagnose(images, settings, {"noise.severity": 40} | dict(forced or {}))


def test_an_explanation_has_all_parts(
    random_qwen: Internals, restorer: RestorePipeline, damaged: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnr.explain.attribution.OCCLUDED", 64)  # 8 squares instead of 32
    old = random_qwen.reasoner
    reasoner = Certain(old.model, old.processor, old.card | {"kinds": ["noise", "haze"]}, "certain")
    stages: list[str] = []
    known = Known(damaged.clean, damaged.mixture)
    found = explain(reasoner, restorer, damaged.picture, known, tell=stages.append)
    assert stages[0] == "diagnosing" and "dose and response: noise 0 of" in " ".join(stages)
    data = as_json(found)
    assert "noise 40 of 100, because fine residual" in found.sentence
    fields = {row["field"]: row for row in data["fields"]["fields"]}
    assert (
        fields["findings.noise.severity"]["value"] == "40"
        and len(data["fields"]["severity_if_present"]["noise"]) == 100
    )
    assert [row["leg"] for row in data["legs"]][0] == "noise" and data["effects"][0]["removed"] == "noise"
    assert f"at {kinds()['noise'].highest}" in data["doses"][0]
    methods = {row["method"]: row for row in data["attribution"] if row["kind"] == "noise"}
    assert set(methods) == {"gradient x input", "occlusion", "leg of the restorer", "random"}
    assert -1 <= methods["random"]["rank correlation"] <= 1
    page = explanation("photo.png", "an explanation", found.sentence, found.sections)
    assert (
        page.count("<section>") == 5
        and page.count('src="data:image/png;base64,') > 10
        and "http:" not in page
        and "https:" not in page
    )
