"""`rnr bench latent` and `rnr bench hacking` on tiny weights: what is measured, not how well."""

import numpy as np
import pytest
import skimage.data
import torch

from rnr.evaluation import hacking, latent
from rnr.evaluation.cases import cases, interval, predicted
from rnr.evaluation.tables import Row
from rnr.quality.loading import load_clip
from rnr.restorer import load_bridge
from rnr.restorer.latent import Autoencoder, CodePredictor, LatentRestorer, load_adapter
from rnr.restorer.latent.autoencoder import small
from rnr.restorer.latent.codes_train import fit_codebooks
from rnr.restorer.latent.quality_adapter import QualityAdapter, conditioned, save_adapter

CAT = skimage.data.chelsea()
SHAPE = {"channels": 4, "features": 48, "factor": 4, "size": 8, "groups": 2, "width": 16, "blocks": 2, "heads": 2}


@pytest.fixture(scope="module")
def restorer() -> LatentRestorer:
    torch.manual_seed(0)
    autoencoder, predictor = Autoencoder(small(4, (48,))).eval(), CodePredictor(**SHAPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnr.restorer.latent.codes_train.POINTS", 16)
        fit_codebooks(autoencoder, predictor.book, [CAT], 0)
    return LatentRestorer(autoencoder, predictor)


@pytest.fixture(scope="module")
def scorer():
    return load_clip()


@pytest.fixture(scope="module")
def held():
    return cases({"cat": CAT, "other": CAT[:, ::-1]}, 96, 1, 0)


def test_cases_follow_from_their_seed(held):
    again, other = (cases({"cat": CAT}, 96, 2, seed) for seed in (0, 1))
    assert torch.equal(again[0].damaged, held[0].damaged) and not torch.equal(other[0].damaged, held[0].damaged)
    assert [case.photograph for case in again] == ["cat", "cat"]


def test_an_interval_is_over_photographs():
    low, high = interval([1.0, 1.0, 3.0, 3.0], ["a", "a", "b", "b"])
    assert (low, high) == (1.0, 3.0)
    assert np.isnan(interval([], [])).all()


def test_the_dial_is_measured_at_each_quality(restorer, scorer, held):
    rows = latent.dial(restorer, scorer, held)
    table = latent.dial_table(rows)
    assert [row["quality"] for row in table.rows] == ["input", "0", "20", "40", "60", "80", "100"]
    assert len(rows) == 2 * 7 and "Spearman" in table.note and "n = 2" in table.note


def test_where_the_dial_turns_is_said():
    rows: list[Row] = [{"case": 0, "quality": q, "true score": -abs(q - 60), "predicted score": q} for q in latent.DIAL]
    assert "predicted score 1.00" in latent.turn(rows) and "highest at 60" in latent.turn(rows)


def test_the_round_trip_and_the_parts(restorer, scorer, held):
    table = latent.round_trip(restorer, {"cat": CAT}, 96)
    assert [row["way"] for row in table.rows] == ["autoencoder", "common codes", "both codebooks"]
    assert [row["bits/px"] for row in table.rows] == [None, 2 * 3 / 16, 2 * 2 * 3 / 16]
    parts = latent.ablations(restorer, scorer, held, restorer)
    by_name = {row["way"]: row["PSNR"] for row in parts.rows}
    assert by_name["as it is"] == by_name["the other weights (--rival)"] != by_name["HQ+ off (single codebook)"]


def test_an_adapter_is_measured_without_and_at_three_qualities(tmp_path, scorer, held):
    pipe = load_bridge()
    adapter = QualityAdapter(conditioned(pipe.experts))
    for parameter in adapter.films.parameters():
        torch.nn.init.constant_(parameter, 0.05)
    load_adapter(save_adapter(adapter, tmp_path / "adapter.safetensors", {}), pipe)
    rows = latent.adapter_dial(pipe, scorer, held[:1])
    table = latent.dial_table(rows, "not asked")
    assert [row["quality"] for row in table.rows] == ["not asked", "30", "60", "90"]
    assert len({row["PSNR"] for row in rows}) == 4 and "highest at" in table.note


def test_a_score_is_differentiable_and_is_the_scorers_own(scorer, held):
    image = held[0].damaged.clone().requires_grad_()
    value = hacking.score(scorer, image)
    value.backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert abs(float(value.detach().clamp(0, 100)) - predicted(scorer, held[0].damaged)) < 0.1


def test_each_space_raises_the_score(restorer, scorer, held, monkeypatch):
    monkeypatch.setattr(hacking, "STEPS", 3)
    found = hacking.paths(restorer, scorer, held[:1])
    assert set(found) == {"pixels", "latents", "codes"}
    for each in found.values():
        assert len(each[0]) == 4 and each[0][0] == pytest.approx(found["pixels"][0][0], abs=0.5)
    assert max(step[0] for step in found["pixels"][0]) > found["pixels"][0][0][0]
    assert len(hacking.rows_of(found)) == 3 * 4


def test_equal_gain_is_between_two_steps():
    path = [(50.0, 80.0, 30.0), (54.0, 78.0, 29.0), (58.0, 70.0, 27.0)]
    assert hacking.at_gain(path, 6.0) == pytest.approx((80 - 74, 30 - 28))
    assert hacking.at_gain(path, 10.0) is None


def test_only_pictures_that_get_there_everywhere_are_compared(held):
    up, flat = [(0.0, 80.0, 30.0), (12.0, 70.0, 20.0)], [(0.0, 80.0, 30.0), (1.0, 80.0, 30.0)]
    table = hacking.table({"pixels": [up, up], "latents": [up, up], "codes": [up, flat]}, held)
    last = [row for row in table.rows if row["score gained"] == 10.0]
    assert [row["n"] for row in last] == [1, 1, 1] and [row["% that get there"] for row in last] == [100, 100, 50]
