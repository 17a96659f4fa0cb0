"""Training rows for the reasoner: an endless, seeded stream of damaged pictures with their true Diagnosis.

A row is {images: uint8 (7, 128, 128, 3) views, prompt, completion, own, looked, traces}, what TRL's SFTTrainer takes.
Rows are made a batch at a time; the batch with number n depends on (seed, n, total) alone, so a resumed stream goes on
where it was.

Edits of evidence reach a training in three forms alone: all words of a picture are those of other severities of the
same kinds (`counterfactual_batch`, `SHIFT`), and the collator shows a word misread by its neighbour (`MISREAD`) or any
word of an absent kind (`FALSE`), neither of which moves the label. No training shows: words further off than `SHIFT`;
an edit of one kind's word alone that its severity follows; edits of the kinds in `UNTAUGHT`; evidence that makes or
ends a finding; missing evidence, that of another kind, and other wording. `rnr bench robustness` measures whether what
is learned carries over to the first three, `rnr bench faithfulness` measures missing evidence and other wording.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.degradation.drawings import drawing
from rnr.degradation.kind import kinds, uniform
from rnr.degradation.overlays import overlaid
from rnr.degradation.photographs import WHOLE, random_crops, to_tensor, to_uint8
from rnr.degradation.synthesize import (
    VISIBLE,
    Mixture,
    Stage,
    Step,
    degrade,
    draw_mixture,
    draw_seed,
    traces,
    truths,
)
from rnr.reasoner.drawn import with_drawn
from rnr.reasoner.views import views_and_maps

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

Row = dict[str, Any]
HELD_OUT_SEED = 77  # of all rows for validation, so that trainings compare
Drawn = tuple[Any, ...]  # pictures, diagnoses, and what else `make_rows` takes
Damage = Callable[..., Drawn]  # as `damaged_batch`
REGIONS = {  # height and width in px: share of the batches; the last three are nearly whole photographs
    (128, 128): 0.05, (160, 160): 0.17, (192, 192): 0.26, (256, 256): 0.23, (320, 320): 0.12, (320, 480): 0.11,
    (480, 320): 0.06,
}  # fmt: skip
GRAPHIC = 0.14  # share of pictures that are no photographs; a choice
SPARED = 0.1  # share of photographs that stay undamaged beside those that the stages leave so; a choice
SPARED_GRAPHIC = 0.8  # the same of graphics; a choice
OVERLAID = 0.03  # share of pictures with something drawn over them before the damage, and again after it; a choice
COUNTERFACTUAL = 0.1  # share of batches whose text is that of the same picture with other severities; a choice
SHIFT = (8.0, 25.0)  # points by which those severities differ; the lower end is what an edit must move: a choice
FAR = (30.0, 50.0)  # points of edits that no training shows: beyond SHIFT, within most kinds' reach; a choice
APART = 0.2  # share of batches that show one of the kinds that are taken for each other, alone; a choice
TOKENS = 4  # a side of each view: 128 px in patches of 16, merged by two
UNTAUGHT = ("low_light", "compression")  # kinds that are never shifted: on them the effect of evidence is measured
EASY = 0.04  # share of the stream that shows one kind at a time
LATER = {"single": 0.35, "several": 0.5, "high_order": 0.15}


def stage_at(progress: float, generator: torch.Generator) -> Stage:
    """The curriculum: single kinds first, then half mixtures, then mostly; high order from 15% on."""
    if progress < EASY:
        return "single"
    shares = {"single": 0.5, "several": 0.5} if progress < 0.15 else LATER
    pick = torch.multinomial(torch.tensor(list(shares.values())), 1, generator=generator)
    return list(shares)[int(pick)]  # type: ignore[return-value]


def rows(
    photographs: Sequence[np.ndarray],
    prompt: str,
    seed: int,
    total: int,
    start: int = 0,
    batch: int = 16,
    echo: int = 2,
    block: int = 32,
    damage: Damage | None = None,
    counterfactual: float = COUNTERFACTUAL,
    apart: float = APART,
) -> Iterator[Row]:
    """Training rows from a sample on, for ever; see the module.

    Making a row costs half as much as learning from it, so each block of batches is shown `echo` times, shuffled anew
    (data echoing, Choi et al. 2019).

    Args:
        photographs: Clean, uint8 (H, W, 3), of any size.
        prompt: The reasoner's `prompt_text`.
        seed: Of everything that is drawn.
        total: Samples of the whole training: what the curriculum is scaled by.
        start: Number of the first sample, a multiple of `batch`.
        batch: Rows that are made at a time.
        echo: How often each row is shown.
        block: Batches that are shuffled together.
        damage: Makes what `make_rows` takes but for the prompt; None: `damaged_batch`.
        counterfactual: Share 0..1 of the batches that `counterfactual_batch` makes instead.
        apart: Share 0..1 of the batches that `apart_batch` makes instead.

    Example:
        >>> import numpy as np
        >>> photograph = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        >>> row = next(rows([photograph], "What happened to it?", seed=0, total=1000, batch=2))
        >>> row["images"].shape, sorted(row)
        ((7, 128, 128, 3), ['completion', 'images', 'looked', 'own', 'prompt', 'traces'])
    """
    first, damage = start // batch, damage or damaged_batch
    number = first // (block * echo)
    while True:
        begin, kept = number * block * echo, []
        for place in range(begin, begin + block):
            share = random.Random(seed * 1_000_003 + place).random()
            rare = counterfactual_batch if share < counterfactual else apart_batch
            make = rare if share < counterfactual + apart else damage
            drawn = make(photographs, seed, place, place * batch / total, batch)
            made = make_rows(drawn[0], drawn[1], prompt, *drawn[2:])
            kept += made
            yield from made if place >= first else []
        for round_ in range(1, echo):
            shuffle = torch.Generator().manual_seed(seed * 1_000_003 + begin + round_)
            order = torch.randperm(len(kept), generator=shuffle).tolist()
            yield from (kept[i] for i in order[max(0, (first - begin - round_ * block) * batch) :])
        number += 1


def damaged_batch(
    photographs: Sequence[np.ndarray],
    seed: int,
    number: int,
    progress: float,
    batch: int,
    names: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
) -> Drawn:
    """Batch `number` of the stream: regions of photographs and graphics (B, 3, H, W), degraded or spared, their true
    diagnoses of these kinds (all), None, whether it is known what they show, and the traces of all kinds. `among`:
    kinds that may be there, where they are fewer than those that are asked."""
    clean, mixture, graphic, objects, generator = _drawn(photographs, seed, number, progress, batch, among or names)
    degraded, traced = traces(clean, mixture, reasoning_order())
    diagnoses = truths(clean, degraded, mixture, names, graphic, objects=objects)
    return some_overlaid(degraded, generator), diagnoses, None, [words is not None for words in objects], traced


def counterfactual_batch(
    photographs: Sequence[np.ndarray], seed: int, number: int, progress: float, batch: int
) -> Drawn:
    """Batch `number` with the text of another picture: the same one with other severities of what is there.

    From it a reasoner learns that the evidence before a severity counts: the measured words are those of the other
    picture, and so are the severities that follow. Presence is the same, and nothing differs by more than `SHIFT`, so
    that the words still fit the pixels; words that do not fit are the collator's `FALSE`.

    Returns:
        The pictures (B, 3, H, W), the diagnoses of the others, the pictures' own severities (B, K) in 0..1, whether
        it is known what they show, and the pictures' traces (B, K, H, W).
    """
    clean, mixture, graphic, objects, generator = _drawn(photographs, seed, number, progress, batch, None)
    degraded, traced = traces(clean, mixture, reasoning_order())
    shown, other = some_overlaid(degraded, generator), shifted(mixture, generator)
    own = torch.stack([mixture.severity(name) / 100 for name in reasoning_order()], 1)
    diagnoses = truths(clean, degrade(clean, other), other, graphic_B=graphic, objects=objects)
    return shown, diagnoses, own, [words is not None for words in objects], traced


def apart_batch(photographs: Sequence[np.ndarray], seed: int, number: int, progress: float, batch: int) -> Drawn:
    """Batch `number` with one of the kinds that are taken for each other (`Kind.alike`) at most in each picture, as
    `damaged_batch` at the curriculum's start."""
    groups = [(*kind.alike, kind.name) for kind in kinds().values() if kind.alike]
    return damaged_batch(photographs, seed, number, 0, batch, among=groups[number % len(groups)])


def some_overlaid(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The pictures, a share `OVERLAID` of them with something drawn over them that is no damage."""
    chosen = torch.rand(len(image_BCHW), generator=generator) < OVERLAID
    for i in chosen.nonzero()[:, 0].tolist():
        image_BCHW[i] = to_tensor(overlaid(to_uint8(image_BCHW[i]), draw_seed(generator)))[0]
    return image_BCHW


def shifted(mixture: Mixture, generator: torch.Generator) -> Mixture:
    """The same recipe with severities moved up or down by `SHIFT`, as far as a kind's range goes; not of UNTAUGHT."""
    return Mixture([_shifted(step, mixture.batch, generator) for step in mixture.steps], mixture.batch)


def _shifted(step: Step, batch: int, generator: torch.Generator) -> Step:
    if step.kind.name in UNTAUGHT:
        return step
    way = 1 - 2 * torch.randint(0, 2, (batch,), generator=generator)
    return by_points(step, way * uniform(batch, *SHIFT, generator))


def by_points(step: Step, points: torch.Tensor | float) -> Step:
    """The step with its severities moved by so many points, as far as they are visible and the kind reaches."""
    wanted = (step.kind.severity(step.factors) + points).clamp(2 * VISIBLE, step.kind.top)
    return replace(step, factors=step.kind.with_severity(wanted, step.factors))


def _drawn(
    photographs: Sequence[np.ndarray],
    seed: int,
    number: int,
    progress: float,
    batch: int,
    names: Sequence[str] | None,
) -> tuple[torch.Tensor, Mixture, list[bool], list[list[str] | None], torch.Generator]:
    """Clean regions (B, 3, H, W), what is to be done to them, which of them are graphics, and what they show.

    What a region shows is known where it is nearly a whole photograph of which it is known.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    size = list(REGIONS)[int(torch.multinomial(torch.tensor(list(REGIONS.values())), 1, generator=generator))]
    origins: list[tuple[int, float]] = []
    clean = random_crops(list(photographs), batch, size, generator, upright=True, seen=origins)
    known = getattr(photographs, "objects", [None] * len(photographs))
    objects = [known[photograph] if share >= WHOLE else None for photograph, share in origins]
    graphic = torch.rand(batch, generator=generator) < GRAPHIC
    for i in graphic.nonzero()[:, 0].tolist():
        clean[i], objects[i] = to_tensor(drawing(draw_seed(generator), size))[0], None
    clean = some_overlaid(clean, generator)
    mixture = draw_mixture(batch, generator, stage_at(progress, generator), names)
    for step in mixture.of("low_light"):  # where hardly any light is missing, nobody raised the gain: else noisy
        # pictures were called dark with P 1.00 (docs/lab-log.md, 2026-11-29)
        step.factors["noise"] = step.factors["noise"] * (1 - step.factors["exposure"])
    spared = torch.rand(batch, generator=generator) < torch.where(graphic, SPARED_GRAPHIC, SPARED)
    for step in mixture.steps:
        step.mask_B = step.mask_B & ~spared
    return clean, mixture, graphic.tolist(), objects, generator


def make_rows(
    image_BCHW: torch.Tensor,
    diagnoses: Sequence[Diagnosis],
    prompt: str,
    own_BK: torch.Tensor | None = None,
    looked: Sequence[bool] | None = None,
    traced_BKHW: torch.Tensor | None = None,
) -> list[Row]:
    """Rows of any pictures whose diagnosis is known, restored ones too.

    Args:
        image_BCHW: RGB in [0, 1], of one size, at least 128 px each way.
        diagnoses: Of each.
        prompt: The reasoner's `prompt_text`.
        own_BK: The pictures' severities in 0..1 where the diagnoses are those of others (`counterfactual_batch`); a row
            holds them as `own`, else None.
        looked: Of which pictures it is known what they show (None: of none): null is then an answer, not a gap.
        traced_BKHW: Where each kind changed them (`rnr.degradation.synthesize.traces`), which becomes the rows'
            `traces` (4, 16, K): of each token of the three views and of the marks.

    Example:
        >>> from rnr.degradation.diagnosis import Diagnosis
        >>> rows = make_rows(torch.zeros(1, 3, 128, 128), [Diagnosis(findings={})], "What happened to it?")
        >>> rows[0]["images"].shape  # views
        (7, 128, 128, 3)
    """
    maps_BKHW = image_BCHW[:, :0] if traced_BKHW is None else traced_BKHW
    seen, crops = views_and_maps(image_BCHW, maps_BKHW)
    views = (with_drawn(seen) * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    own = [None] * len(diagnoses) if own_BK is None else own_BK.tolist()
    looked = looked or [False] * len(diagnoses)
    traces = [None] * len(diagnoses) if traced_BKHW is None else traces_of_tokens(maps_BKHW, crops).numpy()
    return [
        {"images": view, "prompt": prompt, "completion": diagnosis.to_json(), "own": mine, "looked": known, "traces": t}
        for view, diagnosis, mine, known, t in zip(views, diagnoses, own, looked, traces)
    ]


def traces_of_tokens(traced_BKHW: torch.Tensor, crops_BVKHW: torch.Tensor) -> torch.Tensor:
    """Square root of the mean trace under each token: (B, 4, 16, K) of overview, richest and smoothest crop, marks.

    `crops_BVKHW`: the traces where the two crops lie (`views_and_maps`).
    """
    pool = torch.nn.functional.adaptive_avg_pool2d
    whole, rich, smooth = (pool(m, TOKENS) for m in (traced_BKHW, *crops_BVKHW.unbind(1)))
    half = [pool(m, TOKENS // 2) for m in (whole, rich, smooth)]  # as the quadrants of the marks lie
    marks = torch.cat([torch.cat([half[0], half[0]], -1), torch.cat(half[1:], -1)], -2)
    return torch.stack([whole, rich, smooth, marks], 1).flatten(3).transpose(2, 3).clamp(min=0).sqrt()


def held_out(photographs: Sequence[np.ndarray], prompt: str, count: int) -> list[Row]:
    """A fixed set of rows for validation: the late stages of the curriculum on other photographs.

    Args:
        photographs: As in `rows`; none of those that are trained on.
        prompt: As in `rows`.
        count: Rows.

    Example:
        >>> import numpy as np
        >>> len(held_out([np.zeros((200, 200, 3), np.uint8)], "What happened to it?", count=2))
        2
    """
    stream = rows(photographs, prompt, HELD_OUT_SEED, total=1, start=0, batch=16, echo=1, counterfactual=0, apart=0)
    return [next(stream) for _ in range(count)]
