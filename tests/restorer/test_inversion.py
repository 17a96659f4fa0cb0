"""The network's second opinion: what physics undoes by the given diagnosis."""

import pytest
import skimage.data
import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer.condition import Layout, encode
from rnr.restorer.inversion import invert
from rnr.restorer.network import REACH, RestorerNetwork

LAYOUT = Layout.of(kinds())
CLEAN = to_tensor(skimage.data.chelsea()[60:188, 120:248])


@pytest.mark.parametrize(
    "source", [None, Diagnosis(findings={"haze": Finding(present=False, severity=0)})], ids=["blind", "absent"]
)
def test_what_is_not_told_is_not_undone(source):
    assert torch.equal(invert(CLEAN, encode(LAYOUT, source), LAYOUT), CLEAN)


@pytest.mark.parametrize("request_", [{"haze": 50}, {"blur": 50}, {"low_light": 60}, {"blur": 40, "haze": 50}])
def test_the_true_diagnosis_undoes_much(request_):
    mixture = prescribe(request_, seed=5)
    degraded = degrade(CLEAN, mixture)
    restored = invert(degraded, encode(LAYOUT, truths(CLEAN, degraded, mixture)[0]), LAYOUT)
    assert psnr(restored.clamp(0, 1), CLEAN) > psnr(degraded, CLEAN) + 1


def test_doubt_undoes_less():
    hazy = degrade(CLEAN, prescribe({"haze": 50}, seed=5))

    def moved(probability: float) -> float:
        belief = Belief(probability=probability, severity_if_present=50, spread=5)
        record = DiagnosisRecord(diagnosis=Diagnosis(findings={}), beliefs={"haze": belief})
        return float((invert(hazy, encode(LAYOUT, record), LAYOUT) - hazy).abs().mean())

    assert 0 == moved(0) < moved(0.3) < moved(0.9)


def test_an_edited_severity_is_followed_and_unknown_factors_are_taken_from_the_middle():
    def reported(severity: int) -> torch.Tensor:
        diagnosis = Diagnosis(findings={"low_light": Finding(present=True, severity=severity)})
        return invert(CLEAN / 4, encode(LAYOUT, diagnosis), LAYOUT).mean()

    assert reported(20) < reported(50) < reported(80)


def test_a_second_look_moves_what_is_doubtful_and_obeys_what_is_certain():
    network = RestorerNetwork(widths=(8, 16), blocks=(1, 1), condition=16)
    doubtful = Belief(probability=0.9, severity_if_present=40, spread=6)
    certain = Belief(probability=1, severity_if_present=40, spread=0)
    record = DiagnosisRecord(diagnosis=Diagnosis(findings={}), beliefs={"haze": doubtful, "noise": certain})
    condition, steer = encode(LAYOUT, record), torch.zeros(1, 16)
    assert torch.equal(network.inverted(CLEAN, condition, steer), invert(CLEAN, condition, LAYOUT)), "untrained"
    torch.nn.init.constant_(network.second_look.bias, 20)
    reported, own = condition.findings, network.reconsidered(condition, steer).findings
    assert own["haze"][0, 1].item() == pytest.approx(0.4 + REACH * 0.06)
    assert torch.equal(own["noise"], reported["noise"])
    others = [column for column in range(reported["haze"].shape[1]) if column != 1]
    assert torch.equal(own["haze"][:, others], reported["haze"][:, others])
