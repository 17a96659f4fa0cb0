"""Which pixels a severity comes from, scored against the map of the damage itself, which synthesis knows.

Gradient x input (Shrikumar et al. 2016), occlusion on the native crops (Zeiler & Fergus 2014) and the legs of the
restorer, against the true map and beside a random one. Scores on cells of 8 px: rank correlation, IoU of the strongest
quarter, and the pointing game (Zhang et al. 2016): does the strongest cell lie in the true quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.depth import scene_depth
from rnr.degradation.haze import scattering
from rnr.degradation.kind import column
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import Mixture
from rnr.evaluation.metrics import spearman
from rnr.explain.cases import Case
from rnr.explain.figures import Figure
from rnr.explain.internals import Gradient, Internals, Run
from rnr.explain.pixels import batch_of, boxes
from rnr.explain.statistics import mean_of

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

CELL = 8  # px
QUARTER = 0.25  # of the cells count as the region
OCCLUDED = 32  # px, side of an occluded square
Ends = dict[tuple[str, ...], "torch.Tensor"]  # by the kinds of a leg, in order: (1, 3, H, W) in [0, 1]
METHODS = ("gradient x input", "occlusion", "leg of the restorer")
MEASURES = ("rank correlation", "IoU of the strongest quarter", "pointing game")


def true_map(kind: str, clean: torch.Tensor, mixture: Mixture) -> np.ndarray:
    """Where a kind damaged the picture, (H, W): of haze 1 - t (Koschmieder), else the mean absolute change by its step.

    Args:
        kind: One that the mixture holds.
        clean: (1, 3, H, W) in [0, 1].
        mixture: The recipe.
    """
    image, found = clean, torch.zeros(clean.shape[-2:])
    for step in mixture.steps:
        damaged = step.kind.apply(image, step.factors, step.seed)
        if step.kind.name == kind == "haze":
            depth = scene_depth(image, step.kind.generator(step.seed, image.device))
            beta = scattering(depth, step.factors["transmission"])
            found = 1 - torch.exp(-column(beta) * depth)[0, 0]
        elif step.kind.name == kind:
            found = (damaged - image).abs().mean(1)[0]
        image = damaged
    return found.numpy()


def gradient_times_input(gradient: Gradient) -> np.ndarray:
    """(H, W): |sum over channels of slope x pixel|."""
    return np.abs((gradient.pixels_HWC * gradient.image_HWC).sum(-1))


def occlusion(internals: Internals, run: Run, picture: np.ndarray, kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """By kind, (H, W): how far its expected severity falls when a square of a native crop becomes its mean colour.

    Where no crop lies nothing is said: NaN.
    """
    image, places = to_tensor(picture), boxes(picture, internals.reasoner.card)
    before = {kind: run.expected_severity(kind) for kind in kinds}
    found = {kind: np.full(picture.shape[:2], np.nan) for kind in kinds}
    for top, left, height, width in places[1:]:
        for row in range(top, top + height, OCCLUDED):
            for place in range(left, left + width, OCCLUDED):
                window = np.s_[row : min(row + OCCLUDED, top + height), place : min(place + OCCLUDED, left + width)]
                hidden = image.clone()
                hidden[(..., *window)] = image[(..., *window)].mean((2, 3), keepdim=True)
                with torch.no_grad():
                    again = internals.along(hidden, run, places)
                for kind in kinds:
                    found[kind][window] = before[kind] - again.expected_severity(kind)
    return found


def leg_maps(restorer: Any, pixels_HWC3: np.ndarray, source: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """By kind, (H, W): mean absolute change of the pixels by its leg (kinds of one leg share a map)."""
    ends: Ends = {}
    restorer.restore(pixels_HWC3, source, seed=seed, callback_on_step_end=noting(ends))
    start = batch_of(pixels_HWC3)
    found: dict[str, np.ndarray] = {}
    for names, end in ends.items():
        found |= dict.fromkeys(names, (end - start).abs().mean(1)[0].numpy())
        start = end
    return found


def noting(ends: Ends) -> Callable[..., None]:
    """A callback of the restorer that notes where each leg ended."""

    def note(pipe: Any, step: int, t: float, tensors: dict[str, Any]) -> None:
        ends[tuple(tensors["kinds"])] = tensors["sample"].clamp(0, 1)

    return note


def cells(map_HW: np.ndarray) -> np.ndarray:
    """Means over cells of 8 px; what does not fill a cell is cut off; a cell that holds NaN is NaN."""
    rows, columns = (side // CELL for side in map_HW.shape)
    return map_HW[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).mean((1, 3))


def scores(map_HW: np.ndarray, truth_HW: np.ndarray) -> dict[str, float]:
    """How well a map tells where the damage is; NaN where the ground truth is the same everywhere or nothing is said.

    Args:
        map_HW: Attribution, larger where more.
        truth_HW: Of the same shape.

    Returns:
        By `MEASURES`.
    """
    found, truth = cells(map_HW).ravel(), cells(truth_HW).ravel()
    known = np.isfinite(found)
    found, truth = found[known], truth[known]
    if len(found) < 8 or np.ptp(truth) < 1e-6 or np.ptp(found) == 0:
        return dict.fromkeys(MEASURES, float("nan"))
    count = max(1, round(QUARTER * len(found)))
    here, there = (set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (found, truth))
    overlap = len(here & there) / len(here | there)
    pointed = float(int(found.argmax()) in there)
    return dict(zip(MEASURES, (spearman(found.tolist(), truth.tolist()), overlap, pointed)))


def random_map(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The negative control: independent numbers, one a cell."""
    small = np.random.default_rng(seed).random([-(-side // CELL) for side in shape])
    return np.kron(small, np.ones((CELL, CELL)))[: shape[0], : shape[1]]


def worth_mapping(run: Run) -> list[str]:
    """The kinds that an answer holds present; where it holds none, the one with the highest expected severity."""
    return run.diagnosis.present or [max(run.reasoner.kinds, key=run.expected_severity)]


def maps_of(
    internals: Internals, run: Run, restorer: Any, picture: np.ndarray, kinds: Sequence[str], seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Attribution maps (H, W) by kind and method (`METHODS`); a leg that does not run has none.

    Args:
        internals: Of the reasoner.
        run: Of the picture, with the reasoner's own answer.
        restorer: Anything with `RestorePipeline.restore`.
        picture: uint8 (H, W, 3).
        kinds: Whose expected severities.
        seed: Of the restorer.
    """
    hidden = occlusion(internals, run, picture, kinds)
    legs = leg_maps(restorer, picture.astype(np.float32) / 255, run.record, seed)
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind in kinds:
        slope = gradient_times_input(internals.gradient(picture, kind, run.diagnosis))
        maps = dict(zip(METHODS, (slope, hidden[kind], legs.get(kind))))
        found[kind] = {method: each for method, each in maps.items() if each is not None}
    return found


def attribution_figures(
    reasoner: Any,
    restorer: Any,
    cases: Sequence[Case],
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> list[Figure]:
    """Scores of each method, by kind, beside those of random maps."""
    internals = Internals(reasoner)
    rows: dict[tuple[str, str, str], list[float]] = {}
    for number, case in enumerate(cases):
        truth = true_map(case.kind, case.clean, case.mixture)
        run = internals.run(case.picture)
        maps = maps_of(internals, run, restorer, case.picture, [case.kind])[case.kind]
        chance = scores(random_map(truth.shape, seed + number), truth)
        for method, found in [*maps.items(), ("random", None)]:
            result = chance if found is None else scores(found, truth)
            for measure, value in result.items():
                rows.setdefault((case.kind, method, measure), []).append(value)
        report(number + 1)
    figures = []
    for (kind, method, measure), values in rows.items():
        if method != "random":
            control = mean_of(rows[kind, "random", measure])
            figures.append(Figure("attribution", f"{kind}, {method}: {measure}", mean_of(values), control))
    return figures
