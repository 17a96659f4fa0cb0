"""Does the reward rank restorations as the ground truth does? Rank correlation over rollouts at doses.

`rnr rl agreement --images DIR --rollouts 8 -o OUT`. A rollout restores a picture by its diagnosis at other doses of the
legs; its reward is compared with the share of the true damage that it removed (`measure.damage_left`), over all
rollouts and within the pictures. Intervals are bootstraps over pictures: rollouts of one picture go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnr.degradation.measure import damage_left
from rnr.evaluation.metrics import average, interval, spearman
from rnr.evaluation.tables import Row, Table, as_number
from rnr.rl.refine import Dosage, Tried, said
from rnr.rl.tasks import Task

if TYPE_CHECKING:
    from rnr.restorer import RestorePipeline

MEASURES = ("squared", "structural")  # of damage left


def doses_of(legs: Sequence[str], count: int, per_leg: bool, seed: int) -> list[Dosage]:
    """Doses of the rollouts, the full ones last: equal steps of all legs together, or each leg's drawn from 0..1."""
    if not per_leg:
        return [dict.fromkeys(legs, (number + 1) / count) for number in range(count)]
    draw = np.random.default_rng(seed)
    return [dict(zip(legs, draw.random(len(legs)).tolist())) for _ in range(count - 1)] + [dict.fromkeys(legs, 1.0)]


def measured(
    made: Iterator[tuple[str, Task]], restorer: RestorePipeline, score: Callable[..., float | None], count: int,
    per_leg: bool, seed: int, report: Callable[[int], None] = lambda done: None,
) -> list[Row]:  # fmt: skip
    """A row for each rollout: picture, doses, reward, damage removed.

    Args:
        made: Pictures with their diagnoses (`refine.cases`); one without legs has no rollouts.
        restorer: Restores.
        score: `score(restored, degraded, present)`, the reward.
        count: Rollouts of a picture, 3 or more.
        per_leg: Whether each leg has its own dose.
        seed: Of drawn doses.
        report: Gets the number of pictures that are done.
    """
    rows: list[Row] = []
    for done, (name, task) in enumerate(made, 1):
        tried = Tried(restorer, task)
        for doses in doses_of(tried.legs, count, per_leg, seed + task.number) if tried.legs else []:
            picture = tried.restored(doses)
            left = damage_left(picture[None], task.degraded[None], task.clean[None])
            row: Row = {"picture": name, "doses": said(doses)}
            row["reward"] = score(picture, task.degraded, task.present)
            rows.append(row | {measure: 1 - float(left[measure]) for measure in MEASURES})
        report(done)
    return rows


def table(rows: Sequence[Row], seed: int = 0) -> Table:
    """Rank correlation of reward and damage removed, over all rollouts and within the pictures."""
    scored: dict[str, list[Row]] = {}
    for row in rows:
        if row["reward"] is not None:
            scored.setdefault(str(row["picture"]), []).append(row)
    groups = list(scored.values())
    lines: list[Row] = []
    for measure in MEASURES if groups else ():
        for scope, of in (("all rollouts", pooled), ("within pictures", within)):

            def value(drawn: np.ndarray, of: Callable = of, measure: str = measure) -> float:
                return of([groups[i] for i in drawn], measure)

            low, high = interval(len(groups), value, seed)
            at = value(np.arange(len(groups)))
            lines.append(
                {"damage removed by": measure, "over": scope, "rank correlation": at, "low": low, "high": high}
            )
    spread = average([float(np.std([as_number(row, "reward") for row in group])) for group in groups])
    note = (
        f"Spearman, of {sum(map(len, groups))} scored rollouts of {len(groups)} pictures ({len(rows)} rollouts of "
        f"{len({row['picture'] for row in rows})} pictures were made); low, high: 95% bootstrap over the pictures; "
        f"mean spread of the reward within a picture {spread:.3f}"
    )
    return Table.of("Reward and ground truth", lines, note)


def pooled(groups: Sequence[Sequence[Row]], measure: str) -> float:
    """Over all rollouts of these pictures."""
    return _correlation([row for group in groups for row in group], measure)


def within(groups: Sequence[Sequence[Row]], measure: str) -> float:
    """Mean over the pictures whose rollouts differ in both."""
    found = [_correlation(group, measure) for group in groups]
    return average([each for each in found if each == each])


def _correlation(rows: Sequence[Row], measure: str) -> float:
    return spearman(*([as_number(row, name) for row in rows] for name in ("reward", measure)))
