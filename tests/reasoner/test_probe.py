"""The probe: learns from the vision tower alone, pushes gradients into it, and stays out of the weights."""

from __future__ import annotations

import pytest
import torch

from rnr.degradation.diagnosis import reasoning_order
from rnr.reasoner.collate import severities
from rnr.reasoner.probe import NAME, attach, detach
from tests.reasoner.conftest import random_diagnosis


class Tower(torch.nn.Module):
    """The two names that the probe goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.merger = torch.nn.Linear(3, 8)
        self.model = torch.nn.Module()
        self.model.visual = torch.nn.Module()
        self.model.visual.merger = self.merger
        self.config = type("Config", (), {"vision_config": type("Vision", (), {"out_hidden_size": 8})()})()


def test_a_view_that_shows_nothing_is_not_excused() -> None:
    torch.manual_seed(0)
    tower = Tower()
    attach(tower, 2)
    optimizer = torch.optim.Adam(tower.parameters(), 0.05)
    kinds = len(reasoning_order())
    for _ in range(200):
        truth = torch.rand(16, kinds) * (torch.rand(16, kinds) < 0.5)
        tokens = torch.zeros(16, 2, 4, 3)
        tokens[:, 0] = truth[:, None, :3]  # the first view shows three of the kinds, the second nothing
        tower.merger(tokens.flatten(0, 2))
        loss = getattr(tower, NAME).loss(truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert tower.merger.weight.grad is not None and tower.merger.weight.grad.abs().sum() > 0
    with torch.no_grad():
        tower.merger(tokens.flatten(0, 2))
        right = getattr(tower, NAME).loss(truth)
        tower.merger(tokens.flip(1).flatten(0, 2))
        swapped = getattr(tower, NAME).loss(truth)
    assert right < swapped - 0.05


def test_a_token_must_say_what_lies_under_it() -> None:
    torch.manual_seed(0)
    tower = Tower()
    attach(tower, 6)
    optimizer = torch.optim.Adam(tower.parameters(), 0.05)
    kinds, absent = len(reasoning_order()), torch.zeros(8, len(reasoning_order()))
    for _ in range(150):
        traces = torch.zeros(8, 4, 16, kinds)
        traces[..., 0] = torch.rand(8, 4, 16)
        tokens = torch.zeros(8, 6, 16, 3)
        tokens[:, [0, 1, 2, 5], :, 0] = traces[..., 0]
        tower.merger(tokens.flatten(0, 2))
        loss = getattr(tower, NAME).loss(absent, traces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        tower.merger(tokens.flatten(0, 2))
        right = getattr(tower, NAME).loss(absent, traces)
        tower.merger(tokens.roll(1, 2).flatten(0, 2))
        elsewhere = getattr(tower, NAME).loss(absent, traces)
    assert right < elsewhere - 0.1


def test_severities_in_the_probes_order() -> None:
    diagnosis = random_diagnosis(1)
    row = severities([diagnosis])[0]
    assert row.tolist() == pytest.approx([(diagnosis.findings[k].severity or 0) / 100 for k in reasoning_order()])
    assert (row > 0).tolist() == [bool(diagnosis.findings[k].present) for k in reasoning_order()]


def test_it_can_be_taken_off() -> None:
    tower = Tower()
    before = set(tower.state_dict())
    attach(tower, 4)
    assert set(tower.state_dict()) > before
    detach(tower)
    assert set(tower.state_dict()) == before
    detach(tower)
