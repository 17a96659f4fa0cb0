"""An expert reads how severe its kind is, and a dose is counted from that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.photographs import to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.restorer import load
from rnr.restorer.expert import ExpertNetwork, load_expert, save_expert
from rnr.restorer.reading import fit
from tests.reasoner.conftest import picture


@pytest.fixture(scope="module")
def reader() -> ExpertNetwork:
    torch.manual_seed(0)
    network = ExpertNetwork("noise", widths=(16, 24), blocks=(1, 1)).eval()
    return fit(network, [picture(200, 200, seed) for seed in range(4)], count=480)


def noisy(severity: float) -> torch.Tensor:
    clean = torch.from_numpy(picture(128, 128, seed=9)).permute(2, 0, 1)[None].float() / 255
    return degrade(clean, prescribe({"noise": severity} if severity else {}, seed=3))


def test_more_damage_is_read_as_more_severe_and_a_file_keeps_it(reader: ExpertNetwork, tmp_path) -> None:
    read = [float(reader.severity(noisy(severity))) for severity in (10, 30, 50, 70)]
    assert read == sorted(read) and read[-1] - read[0] > 20
    save_expert(reader, tmp_path / "noise.safetensors", {})
    again, _ = load_expert(tmp_path / "noise.safetensors")
    assert float(again.severity(noisy(50))) == pytest.approx(read[2], abs=1)


def test_an_expert_without_a_reading_is_loaded_as_before(tmp_path) -> None:
    save_expert(ExpertNetwork("noise", widths=(16, 24), blocks=(1, 1)), tmp_path / "noise.safetensors", {})
    assert not load_expert(tmp_path / "noise.safetensors")[0].config["reads"]


@pytest.mark.parametrize("kind", ["noise", "compression", "blur"])
def test_the_built_in_experts_answer_a_dose_in_steps(kind: str) -> None:
    pipe = load()
    clean = torch.from_numpy(picture(192, 192, seed=5)).permute(2, 0, 1)[None].float() / 255
    mixture = prescribe({kind: 45.0}, seed=4)
    pixels = np.float32(to_uint8(degrade(clean, mixture))) / 255
    factors = {name: values.item() for name, values in mixture.factors(kind).items()}

    def leg(severity: int):
        from rnr.degradation.kind import kind_named

        written = {f.name: f.written(factors[f.name]) for f in kind_named(kind).factors}
        finding = Finding(present=True, severity=severity, factors=written)
        return pipe.restore(pixels, Diagnosis(findings={kind: finding}, plan=[kind])).legs[0]

    doses = [leg(severity).dose for severity in (5, 15, 25, 45)]
    assert doses == sorted(doses) and doses[0] < 0.4 and doses[1] < 0.8, doses
    assert doses[-1] > 0.75, doses
