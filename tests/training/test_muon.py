"""Muon: orthogonal directions, a step of AdamW's size, and a state that is kept."""

from __future__ import annotations

import torch

from rnr.training.muon import RMS, Muon, orthogonal


def test_directions_are_orthogonal_whatever_the_shape_and_the_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 16, 16), (2, 12, 40), (2, 40, 12)):
        matrices = torch.randn(shape, generator=generator) * 1e-3
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert values.min() > 0.8 and values.max() < 1.2
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        turned = (orthogonal(matrices) * (u @ v)).sum((1, 2)) / min(shape[1:])
        assert (turned > 0.9).all(), "the nearest orthogonal matrix"


def test_a_step_is_as_large_as_a_learning_rate_says() -> None:
    weight, bias = torch.nn.Parameter(torch.zeros(24, 96)), torch.nn.Parameter(torch.zeros(24))
    optimizer = Muon([weight], [bias], lr=0.01, decay=0)
    weight.grad, bias.grad = torch.randn(24, 96, generator=torch.Generator().manual_seed(0)), torch.ones(24)
    optimizer.step()
    assert abs(weight.square().mean().sqrt() / (0.01 * RMS) - 1) < 0.2
    assert torch.allclose(bias, torch.full((24,), -0.01), atol=1e-5), "AdamW's first step"


def test_it_learns_and_goes_on_from_its_state() -> None:
    def steps(model: torch.nn.Linear, optimizer: Muon, count: int) -> float:
        for _ in range(count):
            loss = (model(inputs) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss)

    torch.manual_seed(0)
    inputs = torch.randn(64, 8)
    wanted = inputs @ torch.randn(8, 8)
    models = [torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)]
    models[1].load_state_dict(models[0].state_dict())
    first, second = (Muon([model.weight], [model.bias], lr=0.05) for model in models)
    start = steps(models[0], first, 1)
    assert steps(models[0], first, 199) < 0.05 * start
    steps(models[1], second, 100)
    again = Muon([models[1].weight], [models[1].bias], lr=0.05)
    again.load_state_dict(second.state_dict())
    steps(models[1], again, 100)
    assert torch.equal(models[0].weight, models[1].weight)
