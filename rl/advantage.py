"""Advantages: how much better a rollout did than its group (GRPO, Shao et al. 2024, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def decoupled_advantages(
    scores: Mapping[str, Sequence[float | None]], weights: Mapping[str, float], group: int, clip: float = 5.0,
    by_std: bool = True,
) -> Advantages:  # fmt: skip
    """Each reward normalised within its group before they are added, so that none drowns another by its scale.

    The sum over rewards k of w_k (r_k - mean_k) / (std_k + 1e-4), by the sum of |w_k|, as GDPO (Liu et al. 2026, arXiv
    2601.05242) and LucidNFT do it; GDPO's second normalisation, over the batch, is left out: the groups of an update
    come one by one. Equal to `group_advantages` for one reward. `spread` is that of all rewards, by their weights.
    """
    parts = {name: group_advantages(values, group, math.inf, by_std) for name, values in scores.items()}
    size = sum(abs(weights[name]) for name in parts) or 1.0
    rows = zip(*(parts[name].values for name in parts))
    sums = [sum(weights[name] * value for name, value in zip(parts, row)) / size for row in rows]
    starts = range(0, len(sums), group)
    flat = sum(not any(sums[start : start + group]) for start in starts)
    spread = sum(abs(weights[name]) * part.spread for name, part in parts.items()) / size
    return Advantages([max(-clip, min(clip, value)) for value in sums], flat, spread)
