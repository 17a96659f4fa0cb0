"""Training rows for the reasoner: an endless, seeded stream of damaged pictures with their true Diagnosis.

A row is {images: uint8 (4, 128, 128, 3) views, prompt, completion}, what TRL's SFTTrainer takes. Rows are made a batch
at a time; the batch with number n depends on (seed, n, total) alone, so a resumed stream goes on exactly where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.drawings import drawing
from rnr.degradation.photographs import random_crops, to_tensor
from rnr.degradation.synthesize import Stage, degrade, draw_mixture, draw_seed, truths
from rnr.reasoner.spectrum import with_spectrum
from rnr.reasoner.views import views_of_batch

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

Row = dict[str, Any]
Damage = Callable[..., "tuple[torch.Tensor, list[Diagnosis]]"]  # as `damaged_batch`
REGIONS = {  # height and width in px: share of the batches; the last three are nearly whole photographs
    (128, 128): 0.05, (160, 160): 0.17, (192, 192): 0.26, (256, 256): 0.23, (320, 320): 0.12, (320, 480): 0.11,
    (480, 320): 0.06,
}  # fmt: skip
GRAPHIC = 0.14  # share of pictures that are no photographs; a choice
SPARED = 0.1  # share of photographs that stay undamaged beside those that the stages leave so; a choice
SPARED_GRAPHIC = 0.8  # the same of graphics; a choice
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
) -> Iterator[Row]:
    """Rows from sample number `start` (a multiple of `batch`) on, for ever; `total` scales the curriculum.

    `damage` makes the pictures and their true diagnoses (default: `damaged_batch`).

    Making a row costs half as much as learning from it, so each block of batches is shown `echo` times, shuffled anew
    (data echoing, Choi et al. 2019).
    """
    first, damage = start // batch, damage or damaged_batch
    number = first // (block * echo)
    while True:
        begin, kept = number * block * echo, []
        for place in range(begin, begin + block):
            made = make_rows(*damage(photographs, seed, place, place * batch / total, batch), prompt)
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
) -> tuple[torch.Tensor, list[Diagnosis]]:
    """Batch `number` of the stream: regions of photographs and graphics (B, 3, H, W), degraded or spared, and their
    true diagnoses of these kinds (all)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    size = list(REGIONS)[int(torch.multinomial(torch.tensor(list(REGIONS.values())), 1, generator=generator))]
    clean = random_crops(list(photographs), batch, size, generator, upright=True)
    graphic = torch.rand(batch, generator=generator) < GRAPHIC
    for i in graphic.nonzero()[:, 0].tolist():
        clean[i] = to_tensor(drawing(draw_seed(generator), size))[0]
    mixture = draw_mixture(batch, generator, stage_at(progress, generator), names)
    spared = torch.rand(batch, generator=generator) < torch.where(graphic, SPARED_GRAPHIC, SPARED)
    for step in mixture.steps:
        step.mask_B = step.mask_B & ~spared
    degraded = degrade(clean, mixture)
    return degraded, truths(clean, degraded, mixture, names, graphic.tolist())


def make_rows(image_BCHW: torch.Tensor, diagnoses: Sequence[Diagnosis], prompt: str) -> list[Row]:
    """Rows of any pictures (of one size, at least 128 px) whose diagnosis is known, restored ones too."""
    views = (with_spectrum(views_of_batch(image_BCHW)) * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    texts = [diagnosis.to_json() for diagnosis in diagnoses]
    return [{"images": view, "prompt": prompt, "completion": text} for view, text in zip(views, texts)]


def held_out(photographs: Sequence[np.ndarray], prompt: str, count: int, batch: int = 16, seed: int = 77) -> list[Row]:
    """A fixed set of rows for validation: the late stages of the curriculum on other photographs."""
    stream = rows(photographs, prompt, seed, total=1, start=0, batch=batch, echo=1)
    return [next(stream) for _ in range(count)]
