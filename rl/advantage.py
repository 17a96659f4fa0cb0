"""Advantages: how much better a rollout did than its group (GRPO, Shao et al. 2024, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EPSILON = 1e-4  # as in TRL
FLAT = 1e-6  # a spread of rewards below this is none


@dataclass
class Advantages:
    values: list[float]  # 0 where the rollout or its group says nothing
    flat_groups: int  # all rewards equal, or fewer than two of them known: dropped
    spread: float  # mean standard deviation within the groups


def group_advantages(rewards: Sequence[float | None], group: int, clip: float = 5.0, by_std: bool = True) -> Advantages:
    """(r - mean) / (std + 1e-4) within each consecutive group, std with Bessel's correction, clipped.

    A reward of None is left out of its group. `by_std=False` only subtracts the mean (Dr. GRPO, Liu et al. 2025).
    """
    if group < 2:
        raise ValueError(f"a group of {group} has nobody to compare with: take 2 or more")
    if len(rewards) % group:
        raise ValueError(f"{len(rewards)} rewards do not make groups of {group}")
    values: list[float] = []
    flat, spreads = 0, []
    for start in range(0, len(rewards), group):
        members = rewards[start : start + group]
        known = [r for r in members if r is not None]
        mean = sum(known) / len(known) if known else 0.0
        std = math.sqrt(sum((r - mean) ** 2 for r in known) / (len(known) - 1)) if len(known) > 1 else 0.0
        spreads.append(std)
        flat += std < FLAT
        scale = (std + EPSILON if by_std else 1.0) if std >= FLAT else math.inf
        values += [0.0 if r is None else max(-clip, min(clip, (r - mean) / scale)) for r in members]
    return Advantages(values, flat, sum(spreads) / len(spreads))
