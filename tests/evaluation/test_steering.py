"""How much is gone and how much stays, on changes that are made by hand; and the twins' table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rnr.evaluation import steering


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Damaged by both, without the named one, without the other one."""
    generator = torch.Generator().manual_seed(0)
    clean, named, other = (torch.rand(1, 3, 16, 16, generator=generator) for _ in range(3))
    return clean + named + other, clean + other, clean + named


@pytest.mark.parametrize(("gone", "taken"), [(0, 0), (1, 0), (0.5, 0.25), (0, 1)])
def test_shares_are_exact_for_a_partial_repair(pictures, gone: float, taken: float):
    damaged, without_named, without_other = pictures
    restored = damaged + gone * (without_named - damaged) + taken * (without_other - damaged)
    shares = steering.share(restored, damaged, [without_named, without_other])
    assert shares == pytest.approx([gone, taken], abs=1e-3)


def test_two_damages_that_look_the_same_share_the_credit(pictures):
    damaged, without_named, _ = pictures
    shares = steering.share(without_named, damaged, [without_named, without_named])
    assert shares == pytest.approx([0.5, 0.5], abs=1e-3)


def test_a_restorer_that_does_nothing_leaves_everything(small, idle_restorer, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(steering, "pairs", lambda names: [("noise", "haze"), ("haze", "noise")])
    rows = steering.measure(idle_restorer, {"coffee": small["coffee"]}, 64, seed=0)
    for row in steering.pair_table(rows).rows:
        assert row["gone"] == pytest.approx(0, abs=1) and row["stays"] == pytest.approx(100, abs=1)
        assert row["after"] == pytest.approx(row["before"], abs=0.05)
    cells = np.array(steering.matrix(rows, "stays"))
    assert np.isfinite(cells).sum() == 2
    line = next(row for row in steering.matrix_table(rows).rows if row["named"] == "noise")
    assert line["with haze"] == "0 / 100" and set(line) == {"named", "with haze", "with noise"}


def test_twins_are_trained_alike_and_compared(photographs: dict[str, np.ndarray], tmp_path: Path):
    from rnr.evaluation import twin

    held = [photograph[:192, :192] for photograph in photographs.values()]
    twins = twin.Twins(tmp_path, samples=16)
    done: list[int] = []
    networks = {name: twins.train(name, held, False, done.append) for name in ("conditioned", "no scene", "blind")}
    rows = twin.compare(networks, held[:2])
    table = twin.table(rows, 16)
    assert {"conditioned", "no scene", "blind", "diagnosis", "scene"} <= set(table.columns)
    assert table.rows[-1]["task"] == "mean of damaged"
    row = next(row for row in table.rows if row["task"] == "haze")
    assert row["diagnosis"] == pytest.approx(float(str(row["conditioned"])) - float(str(row["blind"])))


def test_a_scene_that_is_not_told_is_all_zeros():
    from rnr.degradation.diagnosis import Diagnosis, Finding, Scene
    from rnr.degradation.kind import kinds
    from rnr.evaluation.twin import without_scene
    from rnr.restorer.condition import Layout, encode

    diagnosis = Diagnosis(scene=Scene(lighting="dark"), findings={"noise": Finding(present=True, severity=9)})
    condition = encode(Layout.of(kinds()), diagnosis)
    assert condition.scene.sum() == 1 and without_scene(condition).scene.sum() == 0
    assert torch.equal(without_scene(condition).findings["noise"], condition.findings["noise"])
