"""How a quality score is hacked, by the space that it is raised in: `rnr bench hacking`.

The same restored picture, the same score (the quality model, differentiable), gradient ascent with Adam on

- *pixels*: the picture itself;
- *latents*: what the decoder decodes, continuous;
- *codes*: the logits of both code sets; the decoder is given the likeliest codes, and the gradient passes through as if
  they were the expected ones (straight-through, Bengio, Leonard, Courville 2013): a search among the codes.

IQPIR claims that the discrete space resists: what can be reached there lies among pictures that the codebooks know.
Measured on each path: the score of the picture as a file would hold it, and its full-reference score and PSNR. They are
compared where the score has risen by the same amount; a path that never rises so far has no row there, and its share
of pictures says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from rnr.degradation.measure import psnr, technical_quality
from rnr.degradation.photographs import rounded
from rnr.evaluation.cases import Case, Report, even, interval
from rnr.evaluation.tables import Row, Table
from rnr.quality.network import picture_feature

if TYPE_CHECKING:
    from rnr.quality.model import QualityModel
    from rnr.restorer.latent import LatentRestorer

GAINS = (2.0, 5.0, 10.0)  # points of score at which the spaces are compared
RATES = {"pixels": 2e-4, "latents": 1e-3, "codes": 0.003}  # of Adam: about 10 points in 5 to 10 steps; a choice
STEPS = 30
SOFT = 0.5  # share of the gradient's temperature: logits of the predictor are sharp

Path = list[tuple[float, float, float]]  # score, full-reference score, PSNR after each step


def score(scorer: QualityModel, image_1CHW: torch.Tensor) -> torch.Tensor:
    """The technical score of one picture, differentiable and not limited to 0..100."""
    feature = picture_feature(scorer.clip, scorer.views.of(image_1CHW[0].clamp(0, 1)))
    head = scorer.heads["technical"]
    return head.adapter(normalize(feature, dim=-1)[None], head.ladder_L5D)[0]


@dataclass
class Start:
    """What all spaces begin with: the restored picture, its latent, its logits, and the clean picture."""

    clean: torch.Tensor
    image: torch.Tensor
    latent: torch.Tensor
    logits: tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def start(restorer: LatentRestorer, case: Case) -> Start:
    """The case restored at quality 100."""
    model, multiple = restorer.predictor, restorer.multiple
    clean, damaged = even(case.clean, multiple), even(case.damaged, multiple)
    best = torch.full((1,), 100.0)
    own, seen = model.seen(restorer.autoencoder, damaged)
    found = model(own, seen, best, likeliest=True)
    latent = model.book.lookup(model.codes(found, best))
    return Start(clean, restorer.autoencoder.decode(latent).clamp(0, 1), latent, (found.common, found.hq))


def spaces(restorer: LatentRestorer, begin: Start) -> dict[str, tuple[list[torch.Tensor], Callable[[], torch.Tensor]]]:
    """By name: what is moved, and the picture that it gives."""
    book, decode = restorer.predictor.book, restorer.autoencoder.decode
    image, latent = begin.image.clone(), begin.latent.clone()
    logits = [each.clone() for each in begin.logits]

    def picture_of_codes() -> torch.Tensor:
        soft = book.common.expected(SOFT * logits[0]) + book.hq.expected(SOFT * logits[1])
        hard = book.common.lookup(logits[0].argmax(2)) + book.hq.lookup(logits[1].argmax(2))
        return decode(soft + (hard - soft).detach())

    return {
        "pixels": ([image], lambda: image),
        "latents": ([latent], lambda: decode(latent)),
        "codes": (logits, picture_of_codes),
    }


def ascend(
    moved: list[torch.Tensor], shown: Callable[[], torch.Tensor], scorer: QualityModel, clean: torch.Tensor, rate: float
) -> Iterator[tuple[float, float, float]]:
    """Score, full-reference score and PSNR of the picture before the first step and after each."""
    optimizer = torch.optim.Adam([each.requires_grad_() for each in moved], rate)
    for _ in range(STEPS + 1):
        image = shown()
        with torch.no_grad():
            held = rounded(image)
            yield float(score(scorer, held)), float(technical_quality(held, clean)), float(psnr(held, clean))
        optimizer.zero_grad()
        (-score(scorer, image)).backward()
        optimizer.step()


def paths(
    restorer: LatentRestorer, scorer: QualityModel, held: Sequence[Case], report: Report = lambda done: None
) -> dict[str, list[Path]]:
    """The path of each case in each space."""
    restorer.autoencoder.requires_grad_(False)
    restorer.predictor.requires_grad_(False)
    found: dict[str, list[Path]] = {name: [] for name in RATES}
    for number, case in enumerate(held):
        begin = start(restorer, case)
        for name, (moved, shown) in spaces(restorer, begin).items():
            found[name].append(list(ascend(moved, shown, scorer, begin.clean, RATES[name])))
        report(number + 1)
    return found


def at_gain(path: Path, gain: float) -> tuple[float, float] | None:
    """What full-reference score and PSNR have lost where the score has first risen by `gain`; between two steps
    linear. None where it never has."""
    first = path[0]
    for before, after in zip(path, path[1:]):
        if after[0] - first[0] >= gain > before[0] - first[0]:
            share = (gain - (before[0] - first[0])) / (after[0] - before[0])
            lost = [first[i] - (before[i] + share * (after[i] - before[i])) for i in (1, 2)]
            return lost[0], lost[1]
    return None


def table(found: dict[str, list[Path]], held: Sequence[Case]) -> Table:
    """Loss of truth at equal gain, with intervals; over the cases that reach it in every space, and over its own."""
    rows: list[Row] = []
    for gain in GAINS:
        reached = {name: [at_gain(path, gain) for path in each] for name, each in found.items()}
        shared = [i for i in range(len(held)) if all(each[i] is not None for each in reached.values())]
        groups = [held[i].photograph for i in shared]
        for name, each in reached.items():
            true, db = ([float(each[i][axis]) for i in shared] for axis in (0, 1))  # type: ignore[index]
            row: Row = {"score gained": gain, "space": name}
            row |= {"true score lost": float(np.mean(true)) if true else None, "95%": spread(true, groups)}
            row |= {"PSNR lost": float(np.mean(db)) if db else None, "PSNR 95%": spread(db, groups)}
            share = 100 * sum(one is not None for one in each) / len(held)
            rows.append(row | {"% that get there": share, "n": len(shared)})
    most = {
        name: float(np.mean([max(p[0] for p in path) - path[0][0] for path in each])) for name, each in found.items()
    }
    note = f"Means over the pictures that get there in all three spaces. Largest mean gain in {STEPS} steps: "
    return Table.of("Hacking", rows, note + ", ".join(f"{name} {value:.1f}" for name, value in most.items()) + ".")


def spread(values: Sequence[float], groups: Sequence[str]) -> str | None:
    return "{:.2f}..{:.2f}".format(*interval(values, groups)) if values else None


def rows_of(found: dict[str, list[Path]]) -> list[Row]:
    """Score, full-reference score and PSNR by space, case and step: `rnr.rl.hack.alarms` reads these rows."""
    return [
        {"space": name, "case": case, "step": step, **dict(zip(("score", "true score", "PSNR"), values))}
        for name, each in found.items()
        for case, path in enumerate(each)
        for step, values in enumerate(path)
    ]
