"""Training pairs and the trainer: partial targets, reproducibility, resuming."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.restorer.average import average
from rnr.restorer.condition import Layout
from rnr.restorer.confusion import Confusion
from rnr.restorer.data import SUSPECTED, SUSPICION, draw_pairs
from rnr.restorer.diagnosed import BATCH, SIZE, Diagnosed
from rnr.restorer.export import export, samples_of
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.pipeline import RestorePipeline
from rnr.restorer.train import RestorerObjective, RestorerRun, severity_error, train
from rnr.training import Engine, checkpoint
from tests.networks import SMALL

PHOTOGRAPHS = [skimage.data.astronaut(), skimage.data.coffee()]


@pytest.fixture(scope="module")
def layout() -> Layout:
    return RestorerNetwork(**SMALL).layout


def engine_of(out, samples: int = 96, **settings) -> Engine:
    torch.manual_seed(0)
    run = RestorerRun(out=out, samples=samples, warm_up=32, log_loss_from=0.5, **settings)
    return Engine(RestorerObjective(RestorerNetwork(**SMALL), run, PHOTOGRAPHS), run)


def test_a_fresh_network_gives_what_physics_gives():
    image = torch.rand(1, 3, 32, 48)
    inverted = image.flip(3)
    network = RestorerNetwork(**SMALL)
    assert torch.allclose(network(image, image, inverted, torch.randn(1, 32)), inverted, atol=1e-6)


def test_pairs_depend_on_the_seed_alone(layout):
    first, again, other = (draw_pairs(PHOTOGRAPHS, 4, 64, seed, layout, Confusion()) for seed in (3, 3, 4))
    assert torch.equal(first.degraded, again.degraded) and torch.equal(first.target, again.target)
    assert all(torch.equal(v, again.condition.findings[k]) for k, v in first.condition.findings.items())
    assert not torch.equal(first.degraded, other.degraded)


def test_a_certain_diagnosis_tells_exactly_what_separates_picture_and_target(layout):
    modes = torch.tensor([1.0, 0.0, 0.0, 0.0])
    pairs = draw_pairs(PHOTOGRAPHS, 64, 64, 1, layout, Confusion(), modes=modes)
    reported = torch.stack([(rows[:, 0] == 1).float() for rows in pairs.condition.findings.values()]).sum(0)
    distance = psnr(pairs.degraded, pairs.target)
    assert torch.isinf(distance[reported == 0]).all(), "nothing to remove: the target is the picture itself"
    assert (reported == 0).any()
    assert torch.isfinite(distance[reported > 0]).float().mean() > 0.9, "but for rain so thin that it misses the crop"


def test_a_true_diagnosis_may_suspect_what_is_absent(layout):
    """Or exact zeros would be the sign of the true diagnosis."""
    modes = torch.tensor([1.0, 0.0, 0.0, 0.0])
    pairs = draw_pairs(PHOTOGRAPHS, 64, 64, 1, layout, Confusion(), modes=modes)
    reported = torch.stack([pairs.condition.findings[name][:, 0] for name in layout.factors], 1)
    doubted = (reported > 0) & (reported < 1)
    assert (reported[doubted] <= SUSPICION).all() and (pairs.severity[doubted] == 0).all()
    share = doubted.any(1).float().mean()
    assert abs(share - SUSPECTED) < 0.2, f"{share:.2f} of the diagnoses hold a suspicion"


def test_the_second_look_answers_for_doubtful_severities_alone(layout):
    network, steer = RestorerNetwork(**SMALL), torch.zeros(8, 32)
    believed, certain = (
        draw_pairs(PHOTOGRAPHS, 8, 64, 1, layout, Confusion(), modes=torch.tensor(modes))
        for modes in ([0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    )
    reported = torch.stack([features[:, 1] for features in believed.condition.findings.values()], 1)
    sure = torch.stack([features[:, 0] for features in believed.condition.findings.values()], 1)
    asked = (believed.severity > 0) & (sure > 0.05)
    expected = (reported - believed.severity).abs()[asked].mean()
    error = severity_error(network, believed, steer)
    assert error.item() == pytest.approx(expected.item(), abs=1e-6) != 0
    assert severity_error(network, certain, steer).item() == 0
    error.backward()
    assert network.second_look.bias.grad.abs().max() > 0


def test_a_blind_twin_is_told_nothing(layout):
    pairs = draw_pairs(PHOTOGRAPHS, 8, 64, 1, layout, Confusion(), modes=torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert not any(asked.any() for asked in pairs.condition.asked.values())
    assert not pairs.condition.scene.any() and not pairs.condition.quality.any()


def test_training_lowers_the_loss(tmp_path):
    losses: list[float] = []
    engine = engine_of(tmp_path, samples=1200, one_step=1.0)
    pairs, _ = engine.objective.batch(0.0, 5)
    engine.objective.batch = lambda progress, seed: (pairs, 0)  # type: ignore[method-assign]
    engine.samples = 200  # inside the schedule, past the warm-up
    for _ in range(30):
        losses += engine.update()
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:2])


def test_a_resumed_training_equals_an_unbroken_one(tmp_path):
    unbroken = engine_of(tmp_path / "a")
    unbroken.train()
    broken = engine_of(tmp_path / "b", checkpoint_seconds=0)
    calls = 0
    update = broken.update

    def dies():
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return update()

    broken.update = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed = engine_of(tmp_path / "b", resume=True)
    assert 0 < resumed.samples < unbroken.samples
    resumed.train()
    for name, a in unbroken.weights.items():
        assert torch.equal(a, resumed.weights[name]), name
        assert torch.equal(unbroken.average.held[name], resumed.average.held[name]), name


def test_from_trained_weights_it_begins_with_large_crops_and_says_so(tmp_path):
    Image.fromarray(PHOTOGRAPHS[0]).save(tmp_path / "a.png")
    card = {"data": "", "training": "", "samples": 100, "samples_before": 20, "command": "", "figures": ""}
    first = export(RestorerNetwork(**SMALL), tmp_path / "first", card)
    train(tmp_path, RestorerRun(out=tmp_path / "out", samples=16, license="CC0-1.0"), init=first)
    about, _ = checkpoint.read(tmp_path / "out" / checkpoint.CHECKPOINT)
    assert (about["run"]["first_crop"], about["run"]["log_loss_from"]) == (128, 0.0)
    assert (about["samples"], about["step"]) == (16, 1), "one batch of four crops of 128 px"
    card = (tmp_path / "out" / "weights" / "README.md").read_text()
    assert "--init" in card and card.startswith("---\n") and "\nlicense: cc0-1.0\n" in card
    assert samples_of(tmp_path / "out" / "weights") == 100 + 20 + 16
    config = (tmp_path / "out" / "weights" / "network" / "config.json").read_text()
    assert str(tmp_path) not in config, "weights say nothing of the machine they were trained on"


def test_resuming_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint"):
        engine_of(tmp_path, resume=True)


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no photographs"):
        train(tmp_path, RestorerRun(out=tmp_path / "out"))


def test_beliefs_are_drawn_from_the_measured_errors():
    rows = [[0.0, 0.01, 5.0, 3.0]] * 60 + [[float(s), 0.9, s + 10.0, 4.0] for s in range(10, 90)]
    confusion = Confusion({"haze": torch.tensor(rows)})
    generator = torch.Generator().manual_seed(0)
    probability, severity, spread = confusion.draw("haze", torch.tensor([0.0, 50.0]), generator)
    assert probability.tolist() == [pytest.approx(0.01), pytest.approx(0.9)]
    assert severity[1].item() == pytest.approx(60, abs=0.01) and spread[1].item() == 4


def test_real_diagnoses_take_the_place_of_drawn_beliefs(tmp_path):
    beliefs = {kind: Belief(probability=0.5, severity_if_present=40, spread=7) for kind in kinds()}
    record = DiagnosisRecord(diagnosis=Diagnosis(findings={}), beliefs=beliefs)
    run = RestorerRun(out=tmp_path)
    objective = RestorerObjective(RestorerNetwork(**SMALL), run, PHOTOGRAPHS)
    objective.diagnosed = Diagnosed([[record] * BATCH], seed=3, photographs=len(PHOTOGRAPHS), names=list(kinds()))
    real = 0
    for seed in range(40):
        pairs = objective.pairs(BATCH, SIZE, seed)
        spread = torch.stack([features[:, 3] for features in pairs.condition.findings.values()])
        real += bool(torch.allclose(spread, torch.tensor(0.07)))
        assert pairs.severity.shape == (BATCH, len(kinds()))
    assert 14 <= real <= 30, "about half of the batches"
    small = objective.pairs(8, 64, 0)
    assert small.degraded.shape[-1] == 64, "other stages draw beliefs"


def test_the_mean_of_two_restorers_is_one(tmp_path):
    networks = []
    for seed, total in ((1, 100), (2, 150)):
        torch.manual_seed(seed)
        networks.append(RestorerNetwork(**SMALL))
        card = {"data": "d", "training": "t", "command": f"train {seed}", "figures": "f", "hours": seed}
        export(networks[-1], tmp_path / str(seed), card | {"samples": total - 90, "samples_before": 90})
    out = average([tmp_path / "1", tmp_path / "2"], tmp_path / "mean")
    mean = RestorePipeline.from_pretrained(out).network.head.weight
    assert torch.allclose(mean, (networks[0].head.weight + networks[1].head.weight) / 2, atol=1e-3)
    assert samples_of(out) == 150, "100 in common, 50 more"
    command = "rnr train average WEIGHTS WEIGHTS; of each: train 1; train 2"
    assert command in (out / "README.md").read_text()


def test_only_restorers_of_one_shape_have_a_mean(tmp_path):
    card = {"data": "d", "training": "t", "command": "c", "figures": "f"}
    for name, widths in (("a", (16, 32)), ("b", (16, 48))):
        export(RestorerNetwork(**SMALL | {"widths": widths}), tmp_path / name, card)
    with pytest.raises(ValueError, match=r"b: its network is another"):
        average([tmp_path / "a", tmp_path / "b"], tmp_path / "mean")
    with pytest.raises(ValueError, match="two folders"):
        average([tmp_path / "a"], tmp_path / "mean")
    with pytest.raises(SetupError, match="nowhere"):
        average([tmp_path / "a", tmp_path / "nowhere"], tmp_path / "mean")
