"""Both stages learn what they should and nothing else, and a broken training ends like an unbroken one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from rnr.degradation.kind import kinds
from rnr.degradation.synthesize import degrade
from rnr.restorer.expert_data import ends
from rnr.training.journal import rows_of
from rnr.unified.data import forced, restoration, stage_at, stream
from rnr.unified.settings import UnifiedRun
from rnr.unified.train import UnifiedObjective, train

from .conftest import pair

SHORT = {"batch": 2, "size": 128, "precision": "fp32", "instructions": 64, "warm_up": 1, "rate": 1e-3}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for name in ("coffee", "chelsea"):
        Image.fromarray(photographs[name]).save(folder / f"{name}.png")
    return folder


def run_of(out: Path, **settings: object) -> UnifiedRun:
    return UnifiedRun(**{"out": out, **SHORT, **settings})  # type: ignore[arg-type]


def gradients(model: torch.nn.Module) -> set[str]:
    """The parts that a loss has reached."""
    return {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}


def restored(tmp_path: Path, crops: list[np.ndarray], **settings: object) -> set[str]:
    """Which parts a restoration's loss reaches, after one step of what begins at zero."""
    model = pair()
    objective = UnifiedObjective(model, run_of(tmp_path, **settings), crops)
    for name, weight in model.named_parameters():
        weight.data += 0.1 * ("film." in name)
    drawn = ((objective.batch(0.9, seed)[0], seed) for seed in range(40))
    batch, seed = next(pair for pair in drawn if pair[0].restoration is not None)
    objective.loss(batch, 0.9, seed).backward()
    return gradients(model)


def test_the_loss_of_the_restoration_reaches_the_reasoner_in_stage_2_alone(
    tmp_path: Path, crops: list[np.ndarray]
) -> None:
    assert restored(tmp_path, crops, stage=1) == {"bridge", "experts"}
    assert restored(tmp_path, crops, stage=2, text_weight=0.0) == {"bridge", "experts", "language"}
    assert restored(tmp_path, crops, stage=2) == {"bridge", "experts", "language"}
    assert "bridge" not in restored(tmp_path, crops, stage=1, condition="numbers")


def test_frozen_weights_stay(tmp_path: Path, crops: list[np.ndarray]) -> None:
    model = pair()
    UnifiedObjective(model, run_of(tmp_path, stage=2, freeze=["language", "experts.haze"]), crops)
    free = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert free and not any(name.startswith(("language", "experts.haze")) for name in free)
    assert "experts.noise.intro.weight" not in free and "experts.noise.head.weight" in free


@pytest.mark.parametrize("task", ["describe", "score", "compare"])
def test_assessments_are_learned(task: str, tmp_path: Path, photographs: dict[str, np.ndarray]) -> None:
    model = pair()
    run = run_of(tmp_path, stage=2, tasks={task: 1.0})
    objective = UnifiedObjective(model, run, list(photographs.values()))
    batch, count = objective.batch(0.5, 3)
    assert count == 2 and batch.restoration is None and len(batch.sequences) == 2
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(8):
        loss = objective.loss(batch, 0.5, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and "l_rf" not in objective.parts


def test_a_broken_training_ends_like_an_unbroken_one(images: Path, tmp_path: Path) -> None:
    settings = {"stage": 2, "samples": 6, "tasks": {"restore": 0.6, "score": 0.4}}
    whole = train(pair(), images, run_of(tmp_path / "whole", **settings), report=lambda row: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnr.training.engine.REPORT_STEPS", 1)
        model = pair()
        train(model, images, run_of(tmp_path / "broken", minutes=1e-9, **settings))
        broken = train(pair(), images, run_of(tmp_path / "broken", resume=True, **settings))
    said = {name for row in rows_of(tmp_path / "broken") if "loss" in row for name in row}
    assert {"l_rf", "l_ar", "loss"} <= said
    assert "read right %" in (broken / "README.md").read_text()
    assert (whole / "unified.safetensors").read_bytes() == (broken / "unified.safetensors").read_bytes()


def test_it_learns(images: Path, tmp_path: Path, crops: list[np.ndarray]) -> None:
    """On one batch, again and again: what conditions the legs alone lowers L_RF."""
    model = pair()
    objective = UnifiedObjective(model, run_of(tmp_path, stage=1), crops)
    batch, _ = objective.batch(0.0, 4)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(12):
        loss = objective.loss(batch, 0.0, 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_easy_comes_before_hard(tmp_path: Path) -> None:
    run, rng = run_of(tmp_path), random.Random(0)
    assert [stage_at(run, p, rng) for p in (0.0, 0.31, 0.33, 0.95, 0.97, 1.0)] == [
        "single", "single", "several", "several", "high_order", "high_order",
    ]  # fmt: skip
    shuffled = run_of(tmp_path, easy_to_hard=False)
    counts = [stage_at(shuffled, 0.0, rng) for _ in range(2000)]
    assert abs(counts.count("single") / 2000 - 0.32) < 0.04 and counts.count("high_order") > 30
    with pytest.raises(ValidationError, match="must add up to 1"):
        run_of(tmp_path, stages={"single": 0.5})


def test_the_target_keeps_what_is_not_wished_away(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    from rnr.degradation.photographs import random_crops
    from rnr.degradation.synthesize import draw_mixture

    generator = torch.Generator().manual_seed(3)
    clean = random_crops(list(photographs.values()), 4, (128, 128), generator)
    kind = kinds()["haze"]
    mixture = forced(draw_mixture(4, generator, "several", ["haze", "noise"], (30, 80)), kind, generator)
    for step in mixture.steps:
        step.mask_B = torch.ones(4, dtype=torch.bool)
    wished = {name: torch.full((4,), name == "haze") for name in kinds()}
    start, end = ends(clean, mixture, kind, torch.rand(4, generator=generator), None, wished)
    noisy = degrade(clean, mixture, {"haze": torch.zeros(4).bool(), "noise": torch.ones(4).bool()})
    assert torch.equal(end, noisy) and torch.equal(start, degrade(clean, mixture))
    draw = torch.rand(4, generator=torch.Generator().manual_seed(0))
    _, end = ends(clean, mixture, kind, draw, None, wished | {"noise": torch.ones(4).bool()})
    gone = (end == clean).flatten(1).all(1)
    assert gone.any()  # noise is later-formed and had been removed before, mostly


def test_samples_follow_from_their_seed(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    model, run = pair(), run_of(tmp_path)
    pictures = list(photographs.values())
    first, again = (restoration(pictures, run, 0.5, 11, model.pipe.experts, model.kinds) for _ in range(2))
    assert torch.equal(first.leg.start, again.leg.start) and first.words == again.words
    assert all(first.kind.name in wish.remove for wish in first.wishes)
    made = stream(pictures, run, model.pipe.experts, model.kinds)
    rows = [next(made) for _ in range(4)]
    later = next(stream(pictures, run, model.pipe.experts, model.kinds, start=1))
    assert np.array_equal(rows[2]["start"], later["start"]) and rows[2]["words"] == later["words"]
