"""The adapter: zero-shot before training, better with labels, intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rnr.quality.adapter import Adapter, Intervals, agreement, fit, splits


@pytest.fixture
def space() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features whose quality lies along a curve, ladders across it, and the quality."""
    generator = torch.Generator().manual_seed(0)
    quality = torch.rand(1400, generator=generator)
    angle = 2 * quality - 1
    feature = torch.stack([angle.cos(), angle.sin()], 1) @ torch.randn(2, 32, generator=generator)
    feature = normalize(feature + 0.3 * torch.randn(1400, 32, generator=generator), dim=-1)
    ladder = normalize(torch.randn(4, 5, 32, generator=generator), dim=-1)
    return feature, ladder, 100 * quality


def test_an_untrained_adapter_reads_the_ladders(space: tuple[torch.Tensor, ...]) -> None:
    feature, ladder, _ = space
    rungs = Adapter(32, 2.0).rungs(feature, ladder)
    plain = (np.exp(2.0) * torch.einsum("nd,lkd->nlk", feature, ladder).mean(1)).softmax(-1)
    assert torch.allclose(rungs, plain, atol=1e-6)


def trained(space: tuple[torch.Tensor, ...], count: int) -> torch.Tensor:
    """Scores of the last 100 after training on the first `count`."""
    feature, ladder, score = space
    torch.manual_seed(0)
    return fit(Adapter(32, 2.0), feature[:count], ladder, score[:count])(feature[1300:], ladder).detach()


def test_labels_make_it_better(space: tuple[torch.Tensor, ...]) -> None:
    feature, ladder, score = space
    before = agreement(Adapter(32, 2.0)(feature[1300:], ladder).detach(), score[1300:]).srcc
    assert agreement(trained(space, 1200), score[1300:]).srcc > max(0.7, before + 0.1)


def test_few_labels_leave_the_bottleneck_closed(space: tuple[torch.Tensor, ...]) -> None:
    feature, ladder, score = space
    adapter = fit(Adapter(32, 2.0), feature[:50], ladder, score[:50])
    assert adapter.up.weight.abs().max() == 0 and adapter.values[0] != 0.2


def test_a_fit_is_deterministic(space: tuple[torch.Tensor, ...]) -> None:
    assert torch.equal(trained(space, 20), trained(space, 20))


def test_intervals_hold_four_of_five() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 100 * torch.rand(4000, generator=generator)
    score = (truth + 10 * torch.randn(4000, generator=generator)).clamp(0, 100)
    found = Intervals.measured(score[:2000], truth[:2000])
    ends = [found.around(s) for s in score[2000:].tolist()]
    held = [low <= t <= high for (low, high), t in zip(ends, truth[2000:].tolist())]
    assert 0.75 < np.mean(held) < 0.87
    assert found.around(100.0)[1] == 100.0 and found.around(0.0)[0] == 0.0


def test_one_reference_is_never_on_both_sides() -> None:
    groups = [f"I{i % 7}" for i in range(70)]
    rows = list(splits(groups))
    assert len(rows) == 10 and len({tuple(train) for train, _ in rows}) > 1
    for train, test in rows:
        assert not {groups[i] for i in train} & {groups[i] for i in test} and len(train) + len(test) == 70
