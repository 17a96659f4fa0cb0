"""Data echoing (Choi et al. 2019, arXiv:1907.05550): examples that are dear to make are learned from several times.

Repeats that follow each other made a detector worse than it was (docs/lab-log.md, 2026-11-30). So echoes come from a
shuffle buffer, as the paper recommends: a block of batches is learned from as it is made; then, once for each echo, its
examples are dealt out to new batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

BLOCK = 24  # batches in the buffer, 170 MB for `rnr train quality`; the shipped detector was trained so (lab log)
Made = tuple[Any, int]  # a batch, and the samples that it counts for


def shuffled(block: Sequence[Made], seed: int) -> Iterator[Made]:
    """The examples of a block once more, in other batches of the same sizes; one of these is in memory at a time.

    Batches exchange examples where they have the same shapes and the example is the first dimension of every tensor and
    list in them (also in dataclasses, tuples and dicts). Any other batch comes back as it is, at another time.

    Args:
        block: The batches.
        seed: Of the shuffle.

    Example:
        >>> block = [(torch.arange(3), 3), (torch.arange(3, 6), 3)]
        >>> sorted(torch.cat([batch for batch, count in shuffled(block, seed=0)]).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    generator = torch.Generator().manual_seed(seed)
    alike: dict[Any, list[Made]] = {}
    for number, made in enumerate(block):
        alike.setdefault((form(made[0]) or number, made[1]), []).append(made)
    dealt = [(group, picks) for group in alike.values() for picks in deal(group, generator)]
    for place in torch.randperm(len(dealt), generator=generator).tolist():
        group, picks = dealt[place]
        yield gathered([batch for batch, _ in group], picks) if picks else group[0][0], group[0][1]


def deal(group: Sequence[Made], generator: torch.Generator) -> list[list[tuple[int, int]]]:
    """What each new batch of a group takes, as (batch, example in it); nothing where a batch stays as it is."""
    if len(group) == 1:
        return [[]]
    size = form(group[0][0])[0]
    order = torch.randperm(len(group) * size, generator=generator).view(-1, size)
    return [[divmod(pick, size) for pick in picks] for picks in order.tolist()]


def form(batch: Any) -> tuple[Any, ...]:
    """(Examples, each leaf's shape or value): what batches that exchange examples share; () where a leaf has no example
    as its first dimension."""
    described: list[Any] = []
    sizes: set[int | None] = set()
    for leaf in leaves(batch):
        if isinstance(leaf, torch.Tensor):
            described.append((leaf.shape, leaf.dtype))
            sizes.add(len(leaf) if leaf.ndim else None)
        elif isinstance(leaf, list):
            sizes.add(len(leaf))
        else:
            described.append(leaf if isinstance(leaf, str) else id(leaf))
    return (*sizes, *described) if len(sizes) == 1 and None not in sizes else ()


def leaves(batch: Any) -> Iterator[Any]:
    """Tensors, lists and single values of a batch, in order."""
    inner = inside(batch)
    yield from [batch] if inner is None else (leaf for each in inner for leaf in leaves(each))


def inside(batch: Any) -> tuple[Any, ...] | None:
    """What a dict, a tuple or a dataclass holds; None for anything else."""
    if is_dataclass(batch):
        return tuple(getattr(batch, field.name) for field in fields(batch))
    return tuple(batch.values()) if isinstance(batch, dict) else batch if isinstance(batch, tuple) else None


def gathered(batches: Sequence[Any], picks: Sequence[tuple[int, int]]) -> Any:
    """A batch of examples of several batches of one form: (batch, example in it)."""
    first = batches[0]
    if isinstance(first, torch.Tensor):
        return torch.stack([batches[batch][example] for batch, example in picks])
    if isinstance(first, list):
        return [batches[batch][example] for batch, example in picks]
    if inside(first) is None:
        return first
    made = [gathered(parts, picks) for parts in zip(*map(inside, batches))]
    if isinstance(first, dict):
        return dict(zip(first, made))
    if is_dataclass(first):
        return replace(first, **{field.name: part for field, part in zip(fields(first), made)})  # type: ignore[type-var]
    return tuple(made)
