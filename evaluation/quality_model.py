"""The quality model measured without human ratings: `rnr bench quality-model`.

The label is full-reference quality (`measure.technical_quality`, MS-SSIM on a logarithmic scale) of damaged regions of
held-out photographs. Every figure has its number of pictures and a 95% bootstrap interval over them. Photographs are
split in two: labels for the few-label fits come from the first half, everything is measured on the second.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.kind import kind_named
from rnr.degradation.measure import psnr, technical_quality
from rnr.degradation.photographs import random_crops, rounded, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.evaluation.metrics import Statistic, interval, spearman
from rnr.evaluation.tables import Row, Table
from rnr.evaluation.unseen import UNSEEN, Damage, damaged, over_restored
from rnr.judge.reading import severities
from rnr.quality.adapter import Adapter, agreement, fit, splits
from rnr.quality.captions import captions_of
from rnr.quality.heads import Labels
from rnr.quality.model import QualityModel
from rnr.quality.pairs import Pairs, draw_pairs
from rnr.quality.purify import purified, spoilt

if TYPE_CHECKING:
    from rnr.degradation.protocols import Diagnoser, Restorer
    from rnr.quality.datasets import Rated

SIDE, BATCH = 256, 16  # px of a region; a choice: the photographs have 340 px and more
LABELS = (50, 100, 200)
DRAWS = 5  # of the labels of a few-label fit, whose median is shown
AMONG, FIRST = 100, 10  # R@10 among 100
LEAST_GAIN = 0.5  # dB by which a restoration must change the PSNR to be ranked; a choice
OVERDONE = (60.0, 25.0)  # severity undone, where 25 were there; a choice
Report = Callable[[int], None]


@dataclass
class Regions:
    """Damaged regions (3, H, W) in [0, 1] with their full-reference quality."""

    pictures: list[torch.Tensor]
    truth_N: torch.Tensor

    def arrays(self) -> list[np.ndarray]:
        """uint8 HWC."""
        return [to_uint8(picture) for picture in self.pictures]


def figure(name: str, count: int, statistic: Statistic, **others: Any) -> Row:
    """A row: the value over all, its number, its interval."""
    low, high = interval(count, statistic)
    return {"measured": name, "value": statistic(np.arange(count)), "low": low, "high": high, "n": count, **others}


def rank_row(name: str, score: Sequence[float] | torch.Tensor, truth_N: torch.Tensor, **others: Any) -> Row:
    """SRCC of scores with the full-reference quality."""
    a, b = np.asarray(score, float), truth_N.numpy()
    return figure(name, len(a), lambda rows: spearman(a[rows], b[rows]), **others)


def scored_row(name: str, score_N: torch.Tensor, truth_N: torch.Tensor) -> Row:
    """As `rank_row`, with the mean error of scores that claim to be the full-reference quality."""
    return rank_row(name, score_N, truth_N, error=float((score_N - truth_N).abs().mean()))


def share_row(name: str, hits: Sequence[bool], goal: float) -> Row:
    """Share of hits in percent."""
    held = np.asarray(hits, float)
    return figure(name, len(held), lambda rows: 100 * float(held[rows].mean()), goal=goal)


def trained_regions(photographs: Sequence[np.ndarray], count: int, seed: int) -> tuple[Regions, list[Pairs]]:
    """Kinds that the model was trained on, alone and in mixtures."""
    batches = [draw_pairs(photographs, BATCH, SIDE, seed * 1_000_003 + i) for i in range(-(-count // BATCH))]
    pictures = [picture for pairs in batches for picture in pairs.degraded_BCHW][:count]
    return Regions(pictures, torch.cat([pairs.score_B for pairs in batches])[:count]), batches


def unseen_regions(damage: Damage, photographs: Sequence[np.ndarray], count: int, seed: int) -> Regions:
    """One type that no training showed, at strengths evenly from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    clean = random_crops(list(photographs), count, (SIDE, SIDE), generator, upright=True)
    strengths = np.linspace(0, 1, count)[torch.randperm(count, generator=generator).numpy()]
    made = torch.cat([damaged(damage, one[None], float(s)) for one, s in zip(clean, strengths)])
    return Regions(list(made), technical_quality(made, clean).clamp(0, 100))


def features(model: QualityModel, regions: Regions) -> torch.Tensor:
    return model.features(regions.arrays())


def unseen_scored(
    model: QualityModel, types: Mapping[str, Damage], photographs: Sequence[np.ndarray], count: int, seed: int
) -> dict[str, Labels]:
    """So many regions of each type."""
    made = {name: unseen_regions(damage, photographs, count, seed) for name, damage in types.items()}
    return {name: (features(model, regions), regions.truth_N) for name, regions in made.items()}


def together(scored: Mapping[str, Labels]) -> Labels:
    """All types as one."""
    parts = list(zip(*scored.values()))
    return torch.cat(parts[0]), torch.cat(parts[1])


@torch.no_grad()
def read(adapter: Adapter, feature_ND: torch.Tensor, ladder_L5D: torch.Tensor) -> torch.Tensor:
    return adapter(feature_ND, ladder_L5D)


def few_labels(model: QualityModel, labelled: Labels, test: Labels) -> list[Row]:
    """From no label to 200 and to the shipped head, each on the same pictures."""
    scale, width = float(model.clip.logit_scale), test[0].shape[1]
    rows = [
        rank_row(f"zero-shot, {'one ladder' if n == 1 else f'{n} ladders'}",
                 read(Adapter(width, scale), test[0], model.ladders(n)), test[1], labels=0)
        for n in (1, 4)
    ]  # fmt: skip
    for count in (n for n in LABELS if n <= len(labelled[1])):
        found = [_fitted(model, labelled, count, draw) for draw in range(DRAWS)]
        scores = sorted(
            (read(adapter, test[0], model.ladders()) for adapter in found),
            key=lambda s: spearman(s.numpy(), test[1].numpy()),
        )
        rows.append(rank_row(f"{count} labels, median of {DRAWS}", scores[DRAWS // 2], test[1], labels=count))
    head = model.heads["technical"]
    return [*rows, rank_row("full: the head of the weights", read(head.adapter, test[0], head.ladder_L5D), test[1])]


def _fitted(model: QualityModel, labelled: Labels, count: int, draw: int) -> Adapter:
    chosen = torch.randperm(len(labelled[1]), generator=torch.Generator().manual_seed(draw))[:count]
    torch.manual_seed(draw)
    start = Adapter(labelled[0].shape[1], float(model.clip.logit_scale))
    return fit(start, labelled[0][chosen], model.ladders(), labelled[1][chosen])


def brisque_scores(pictures: Sequence[np.ndarray]) -> list[float] | None:
    """Minus BRISQUE (Mittal et al. 2012) by the package `brisque`; None where it is not installed.

    It requires opencv-python, which overwrites the headless one of ours: it is in no extra, and is named here only.
    """
    try:
        model = importlib.import_module("brisque").BRISQUE(url=False)
    except ImportError:
        return None
    scale = model.scale_features  # brisque 0.2.0 takes arrays of one number as numbers, which numpy 2.4 refuses
    model.scale_features = lambda values: scale([float(np.ravel(value)[0]) for value in values])
    return [-float(model.score(picture)) for picture in pictures]


def rival_rows(reasoner: Diagnoser | None, regions: Regions, report: Report = lambda n: None) -> list[Row]:
    """BRISQUE, the reasoner's summed expected severities, and the quality that it writes, on these pictures."""
    rows, pictures = [], regions.arrays()
    if (scores := brisque_scores(pictures)) is not None:
        rows.append(rank_row("BRISQUE", scores, regions.truth_N))
    if reasoner is not None:
        sums, own = [], []
        for number, picture in enumerate(pictures, 1):
            record = reasoner.diagnose([picture])[0]
            sums.append(-sum(severities(record).values()))
            own.append(record.diagnosis.quality.technical if record.diagnosis else None)
            report(number)
        rows.append(rank_row("reasoner, summed severity", sums, regions.truth_N))
        said = [i for i, number in enumerate(own) if number is not None]
        numbers = torch.tensor([float(own[i] or 0) for i in said])
        rows.append(scored_row("reasoner, its quality", numbers, regions.truth_N[said]))
    return rows


def retrieval_row(model: QualityModel, batches: Sequence[Pairs], feature_ND: torch.Tensor) -> Row:
    """R@10: a caption of damage and level, without the scene, finds its picture among 100."""
    texts = [captions_of(d, s)[2] for pairs in batches for d, s in zip(pairs.diagnoses(), pairs.score_B.tolist())]
    hits = []
    for first in range(0, len(feature_ND) - AMONG + 1, AMONG):
        part = feature_ND[first : first + AMONG]
        suits = model.text(texts[first : first + AMONG]) @ part.T
        place = (suits > suits.diagonal()[:, None]).sum(1)
        hits += (place < FIRST).tolist()
    return share_row(f"R@{FIRST} among {AMONG} %", hits, 50)


def purification_row(model: QualityModel, batches: Sequence[Pairs], feature_ND: torch.Tensor, seed: int) -> Row:
    """AUROC of the weights, where half of the captions are another picture's or chatter."""
    from scipy.stats import rankdata

    scored = ((i, d, s) for p in batches for i, (d, s) in enumerate(zip(p.diagnoses(), p.score_B.tolist())))
    captions = [captions_of(d, s, i) for i, d, s in scored]
    confused, wrong = spoilt([each[-1:] for each in captions[: len(feature_ND)]], 0.5, seed)
    texts = [each[0] for each in confused]
    weight = purified(model, feature_ND, texts).numpy()

    def auroc(rows: np.ndarray) -> float:
        ranks, bad = rankdata(weight[rows]), wrong[rows]
        good = (~bad).sum()
        return float((ranks[~bad].sum() - good * (good + 1) / 2) / max(1, good * bad.sum()))

    return figure("purification, AUROC", len(weight), auroc, goal=0.9)


def restored_row(
    model: QualityModel, reasoner: Diagnoser, restorer: Restorer, photographs: Sequence[np.ndarray], count: int,
    seed: int, report: Report = lambda n: None,
) -> Row:  # fmt: skip
    """Restored against its input, as PSNR ranks them: half by the reasoner's diagnosis, half by one that is wrong."""
    pairs = draw_pairs(photographs, count, SIDE, seed + 77)
    hits = []
    for number, (before, clean) in enumerate(zip(pairs.degraded_BCHW, pairs.clean_BCHW), 1):
        pixels = before.permute(1, 2, 0).numpy()
        wrong = number % 2 == 0
        source = wrong_diagnosis(number) if wrong else reasoner.diagnose([to_uint8(before)])[0]
        after = rounded(torch.from_numpy(np.array(restorer.restore(pixels, source).pixels_HWC3)).permute(2, 0, 1))
        gain = float(psnr(after[None], clean[None]) - psnr(before[None], clean[None]))
        if abs(gain) >= LEAST_GAIN:
            first, second = model.score([to_uint8(before), to_uint8(after)])
            hits.append((second.technical or 0) > (first.technical or 0) if gain > 0 else
                        (second.technical or 0) < (first.technical or 0))  # fmt: skip
        report(number)
    return share_row("restored and input ranked as PSNR does %", hits, 85)


def wrong_diagnosis(number: int) -> Diagnosis:
    """Of damage that is probably not there."""
    name = ("haze", "low_light", "blur", "noise")[number // 2 % 4]
    return Diagnosis(findings={name: Finding(present=True, severity=60)}, plan=[name])


def overdone_row(model: QualityModel, photographs: Sequence[np.ndarray], count: int, seed: int) -> Row:
    """Haze and low light undone too far by the kind's own inverse, against undone as far as they go."""
    generator = torch.Generator().manual_seed(seed + 78)
    clean = random_crops(list(photographs), count, (SIDE, SIDE), generator, upright=True)
    hits = []
    for number, one in enumerate(clean):
        kind = kind_named(("haze", "low_light")[number % 2])
        mixture = prescribe({kind.name: OVERDONE[1]}, seed + number)
        hazy, factors = degrade(one[None], mixture), mixture.steps[0].factors
        done = [hazy, *(kind.invert(hazy, kind.with_severity(torch.tensor([s]), factors)) for s in OVERDONE[::-1])]
        moderate, over = done[1], done[2]
        if technical_quality(rounded(over), one[None]) < technical_quality(rounded(moderate), one[None]):
            found = [s.technical or 0 for s in model.score([to_uint8(rounded(x)) for x in (moderate, over)])]
            hits.append(found[1] < found[0])
    return share_row("over-corrected below moderate %", hits, 90)


def speed_row(model: QualityModel) -> Row:
    """Seconds for one megapixel, the median of five."""
    picture = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    model.score([picture])
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model.score([picture])
        times.append(time.perf_counter() - began)
    return {"measured": "seconds for 1 megapixel", "value": float(np.median(times)), "n": 5, "goal": 0.2}


def tables(
    model: QualityModel, photographs: Mapping[str, np.ndarray], count: int, seed: int,
    reasoner: Diagnoser | None = None, restorer: Restorer | None = None, report: Report = lambda n: None,
) -> dict[str, Table]:  # fmt: skip
    """All tables of one run. `count`: regions of trained kinds; of each other type a third of it."""
    held = list(photographs.values())
    first, second = held[::2], held[1::2]
    labelled, _ = trained_regions(first, max(LABELS), seed + 1)
    test, batches = trained_regions(second, count, seed)
    feature = features(model, test)
    steps = few_labels(model, (features(model, labelled), labelled.truth_N), (feature, test.truth_N))
    head = model.heads["technical"]
    ranks = [steps[-1] | {"measured": "trained kinds", "goal": 0.9}]
    types = UNSEEN | ({"over_restored": over_restored(restorer)} if restorer is not None else {})
    unseen = unseen_scored(model, types, second, max(12, count // 3), seed + 5)
    for name, (found, truth) in unseen.items():
        ranks.append(rank_row(name.replace("_", "-"), read(head.adapter, found, head.ladder_L5D), truth, goal=0.7))
    taught = together(unseen_scored(model, types, first, -(-max(LABELS) // len(types)), seed + 6))
    unseen_steps = few_labels(model, taught, together(unseen))
    few = Regions(test.pictures[: count // 2], test.truth_N[: count // 2])
    own = scored_row("quality model", read(head.adapter, feature[: count // 2], head.ladder_L5D), few.truth_N)
    rivals = [own, *rival_rows(reasoner, few, report)]
    more = [overdone_row(model, second, max(8, count // 4), seed), speed_row(model)]
    if reasoner is not None and restorer is not None:
        more.insert(0, restored_row(model, reasoner, restorer, second, max(8, count // 4), seed, report))
    if count >= AMONG:
        more[:0] = [retrieval_row(model, batches, feature), purification_row(model, batches, feature, seed)]
    note = "SRCC with full-reference quality; low, high: 95% bootstrap over pictures"
    three = dict.fromkeys(("value", "low", "high"), 3)
    return {
        "quality_ranks": Table.of("Rank correlation by type of damage", ranks, note, three),
        "quality_labels": Table.of("How many labels it takes", steps, note, three),
        "quality_labels_unseen": Table.of("Labels of types never trained", unseen_steps, note, three),
        "quality_rivals": Table.of("Against others, on the same pictures", rivals, note, three),
        "quality_more": Table.of("What else it is for", more, "low, high: 95% bootstrap", three),
    }


def dataset_table(model: QualityModel, name: str, rated: Sequence[Rated], seed: int = 0) -> Table:
    """UniQA's protocol on people's ratings: 10 splits by reference, 80% to train the adapter; medians."""
    feature = model.features(one.pixels() for one in rated)
    score = torch.tensor([one.score for one in rated])
    scale, ladder = float(model.clip.logit_scale), model.ladders()
    zero = agreement(read(Adapter(feature.shape[1], scale), feature, ladder), score)
    rows: list[Row] = [{"fit": "zero-shot, 4 ladders", "SRCC": zero.srcc, "PLCC": zero.plcc, "n": zero.n}]
    found = []
    for train, test in splits([one.reference for one in rated]):
        torch.manual_seed(seed)
        adapter = fit(Adapter(feature.shape[1], scale), feature[train], ladder, score[train])
        found.append(agreement(read(adapter, feature[test], ladder), score[test]))
    srcc, plcc = (float(np.median([getattr(a, x) for a in found])) for x in ("srcc", "plcc"))
    rows.append({"fit": "adapter, median of 10 splits", "SRCC": srcc, "PLCC": plcc, "n": found[0].n})
    return Table.of(f"{name}: people's ratings", rows, "", {"SRCC": 3, "PLCC": 3})
