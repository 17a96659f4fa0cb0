"""Interleaved samples: pictures, texts about them, and the leg that the texts ask for. Batch n follows from its seed.

A restoration's sample is a crop with several kinds of damage, the person's words, their meaning, a Diagnosis (the true
one, or in a share `own` of the samples what the reasoner writes of this very crop), and one leg: the picture where that
leg starts and where it ends. What is not wished is there at both ends, so the target is what the words ask for. An
assessment's sample is a text alone: a whole Diagnosis, a score, or which of two pictures is better.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.kind import Kind, kind_named, kinds
from rnr.degradation.measure import technical_quality
from rnr.degradation.photographs import random_crops, to_uint8
from rnr.degradation.synthesize import Mixture, Stage, degrade, draw_mixture, truths
from rnr.reasoner.collate import Collator
from rnr.reasoner.data import damaged_batch
from rnr.reasoner.instructions.phrasings import Wish, phrasing
from rnr.restorer.chain import severity_given
from rnr.restorer.expert import Experts
from rnr.restorer.expert_data import ABSENT, SEVERITY, LegBatch, Read, as_read, ends, inverse_of, read_of
from rnr.unified.settings import UnifiedRun
from rnr.unified.text import Written, append

if TYPE_CHECKING:
    from rnr.unified.model import UnifiedModel

BARE = "restore this picture"  # the words where the person asks for nothing in particular
Diagnose = Callable[[torch.Tensor], list[Diagnosis | None]]  # what the reasoner writes of crops (B, 3, H, W)


@dataclass
class Restoration:
    """A batch of restorations, all of the leg of one kind.

    Attributes:
        kind: That the leg removes.
        leg: Its start and end (B, 3, H, W), physics' inverse, the severity that is said.
        degraded: The crops that the reasoner sees (B, 3, H, W) in [0, 1].
        diagnoses: The text about each.
        own: Which of them the reasoner wrote.
        words: What the person asks.
        wishes: What that means.
        target: The crops without all that is wished away (B, 3, H, W).
        expected: Technical quality 0-100 of those.
    """

    kind: Kind
    leg: LegBatch
    degraded: torch.Tensor
    diagnoses: list[Diagnosis]
    own: list[bool]
    words: list[str]
    wishes: list[Wish]
    target: torch.Tensor
    expected: list[float]


def stage_at(run: UnifiedRun, progress: float, rng: random.Random) -> Stage:
    """Easy to hard: the stages one after the other, each for its share of the samples; else drawn by these shares."""
    place = progress if run.easy_to_hard else rng.random()
    for name, share in run.stages.items():
        place -= share
        if place < 0:
            return name
    return list(run.stages)[-1]


def restoration(
    photographs: Sequence[np.ndarray], run: UnifiedRun, progress: float, seed: int, experts: Experts | None,
    names: Sequence[str], diagnose: Diagnose | None = None,
) -> Restoration:  # fmt: skip
    """One batch of restorations.

    Args:
        photographs: Undamaged, uint8 HWC.
        run: Size, batch, schedule, share of own texts and of partial wishes.
        progress: Place in the schedule, 0..1.
        seed: Everything random comes from it.
        experts: Whose legs are drawn, and whose residue is part of some pictures; None: for a restorer without legs.
        names: The kinds that the reasoner writes of.
        diagnose: Writes the own texts; None: all texts are true.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed + 1)
    clean = random_crops(list(photographs), run.batch, (run.size,) * 2, torch.Generator().manual_seed(seed))
    kind = kind_named(rng.choice([name for name in names if experts is None or name in experts]))
    mixture = forced(draw_mixture(run.batch, generator, stage_at(run, progress, rng), names, (3, 100)), kind, generator)
    degraded = degrade(clean, mixture)
    said = [wished(rng, names, kind, run.partial) for _ in range(run.batch)]
    words, wishes = [text for text, _ in said], [wish for _, wish in said]
    goes = {name: torch.tensor([name in wish.remove for wish in wishes]) for name in kinds()}
    start, end = ends(clean, mixture, kind, torch.rand(run.batch, generator=generator), experts, goes)
    diagnoses, own = truths(clean, degraded, mixture, names), [False] * run.batch
    if diagnose is not None:
        rows = [i for i in range(run.batch) if rng.random() < run.own]
        for i, text in zip(rows, diagnose(degraded[rows]) if rows else []):
            if text is not None and text.findings[kind.name].present:  # else no leg would run by it
                diagnoses[i], own[i] = text, True
    read = read_by(kind, diagnoses, own, read_of(kind, mixture, generator))
    physics = experts is not None and experts[kind.name].config["physics"]
    if kind.said_alone:
        end = as_read(end, kind, mixture, read)
    leg = LegBatch(start, end, inverse_of(start, kind, read) if physics else None, read.severity_B)
    left = degrade(clean, mixture, {name: ~mask_B for name, mask_B in goes.items()})
    expected = technical_quality(left, clean).tolist()
    return Restoration(kind, leg, degraded, diagnoses, own, words, wishes, left, expected)


def forced(mixture: Mixture, kind: Kind, generator: torch.Generator) -> Mixture:
    """The recipe with this kind in nine of ten pictures, once."""
    steps, seen = [], False
    for step in mixture.steps:
        if step.kind.name != kind.name:
            steps.append(step)
        elif not seen:
            step.mask_B = torch.rand(mixture.batch, generator=generator) >= ABSENT
            step.factors = kind.draw_between(SEVERITY, kind.top, mixture.batch, generator)
            steps, seen = [*steps, step], True
    return Mixture(steps, mixture.batch)


def wished(rng: random.Random, names: Sequence[str], kind: Kind, partial: float) -> tuple[str, Wish]:
    """What a person asks who wants this kind removed: everything, or in a share `partial` something in particular."""
    if rng.random() >= partial:
        return BARE, Wish(tuple(names))
    while True:
        words, wish = phrasing(rng, names)
        if kind.name in wish.remove:
            return words, wish


def read_by(kind: Kind, diagnoses: Sequence[Diagnosis], own: Sequence[bool], read: Read) -> Read:
    """The numbers by which the legs run: of the reasoner's own texts as they stand there, else as drawn."""
    severity, found = read.severity_B.clone(), read.found_B.clone()
    factors = {name: values.clone() for name, values in read.factors.items()}
    for i in (i for i, mine in enumerate(own) if mine):
        written = diagnoses[i].findings[kind.name].factors
        severity[i] = severity_given(diagnoses[i], kind.name) or 0.0  # present: there is one
        found[i] = all(name in written for name in factors)
        if found[i]:
            for name, value in kind.values(written).items():
                factors[name][i] = value.to(factors[name]).view(-1)[0]
    return Read(severity, factors, found)


def assessed(
    photographs: Sequence[np.ndarray], run: UnifiedRun, seed: int, task: str, model: UnifiedModel
) -> list[dict[str, Any]]:
    """Rows of an assessment: of `describe` with the true `diagnosis`, of `score` and `compare` with the `answer`."""
    count = run.batch * (2 if task == "compare" else 1)
    crops, diagnoses, _, looked, _ = damaged_batch(photographs, seed, 0, 1.0, count, model.kinds)
    views = [model.reasoner.views(to_uint8(crop)) for crop in crops]
    made = [model.row(*each) | {"diagnosis": each[1]} for each in zip(views, diagnoses, looked)]
    scores = [diagnosis.quality.technical or 0 for diagnosis in diagnoses]
    if task == "compare":
        pairs = zip(range(run.batch), range(run.batch, 2 * run.batch))
        return [{"images": np.concatenate([made[a]["images"], made[b]["images"]]),
                 "answer": str(scores[a] > scores[b]).lower()} for a, b in pairs]  # fmt: skip
    return [row | {"answer": str(score)} for row, score in zip(made, scores)]


def short(collator: Collator, row: dict[str, Any], task: str) -> Written:
    """Views, the question and its answer."""
    ids = collator.prompt_ids(prompts.load(f"assess_{task}").fill(), row["images"].shape[:3])
    sequence = Written(list(ids), list(ids), [0.0] * len(ids))
    opening = '{"technical":' if task == "score" else '{"first":'
    for text, weight in ((opening, 0.0), (row["answer"], 1.0), ("}" + collator.tokenizer.eos_token, 0.0)):
        append(sequence, collator, text, weight)
    return sequence


def stream(
    photographs: Sequence[np.ndarray], run: UnifiedRun, experts: Experts, names: Sequence[str], start: int = 0
) -> Iterator[dict[str, Any]]:
    """Samples as rows of a data set, from batch number `start` on; for `datasets.IterableDataset.from_generator`.

    Yields:
        {start, end, degraded: float32 (3, H, W), kind, words, remove, diagnosis: canonical JSON, expected}.
    """
    number = start
    while True:
        seed = (run.seed * 1_000_003 + number) % 2**31
        made = restoration(photographs, run, min(1.0, number * run.batch / run.samples), seed, experts, names)
        for i in range(run.batch):
            yield {
                "start": made.leg.start[i].numpy(), "end": made.leg.end[i].numpy(),
                "degraded": made.degraded[i].numpy(), "kind": made.kind.name, "words": made.words[i],
                "remove": list(made.wishes[i].remove), "diagnosis": made.diagnoses[i].to_json(),
                "expected": made.expected[i],
            }  # fmt: skip
        number += 1
