"""What no training costs: the doses of the legs, searched for each picture by the judge, beside what RL learned.

    rnr rl refine --images DIR --restorer built-in --restorer runs/chain-0/weights -o results/refine

RL counts only where it wins over this at equal calls. A call is one run of a model on a picture: a restoration, or a
look of the reasoner (a judge of several views looks as often). The search knows what the policy of `rl.chain` may do,
and the same reward; the ground truth is only measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr.degradation.intent import Intent
from rnr.degradation.photographs import to_uint8
from rnr.degradation.strength import FULL
from rnr.degradation.synthesize import truths
from rnr.evaluation.agent import SAME, case_of
from rnr.evaluation.journal import Journal
from rnr.evaluation.metrics import interval, percent
from rnr.evaluation.tables import Row, Table, as_number, mean
from rnr.restorer.chain import route
from rnr.restorer.condition import diagnosis_of
from rnr.rl.metrics import measure
from rnr.rl.noise import truncated_draw
from rnr.rl.tasks import Task

if TYPE_CHECKING:
    from rnr.restorer import RestorePipeline
    from rnr.rl.judge import Judge

Dosage = dict[str, float]  # by kind, 0..1
Score = Callable[[torch.Tensor], float | None]
FIRST_STEP, LAST_STEP = 0.4, 0.05  # of the search leg by leg, in dose; a choice
STD = 0.3  # of the logarithm of drawn doses, as `dose_std` of a recipe
PLAIN, BY_LEG, DRAWN = "plain", "legs", "draws"
WAYS = (BY_LEG, DRAWN, PLAIN)
COLUMNS = (
    "picture", "kinds", "restorer", "way", "input", "psnr", "damage", "ms_ssim", "over", "severity_before", "severity",
    "reward", "calls", "doses",
)  # fmt: skip
COMPARED = {"psnr": 2, "severity": 1, "damage": 3, "ms_ssim": 3}  # with digits


def cases(
    photographs: Mapping[str, np.ndarray],
    size: int,
    seed: int,
    reasoner: Any,
    done: Callable[[str], bool] | None = None,
) -> Iterator[tuple[str, Task]]:
    """The mixtures of 2-3 kinds of `rnr bench agent`, one of the centre of each photograph, diagnosed; of pictures that
    are `done` none is made."""
    for number, (name, photograph) in enumerate(photographs.items()):
        if done and done(name):
            continue
        case = case_of(number, name, photograph, size, seed, reasoner.kinds)
        (truth,) = truths(case.clean, case.damaged, case.mixture, reasoner.kinds)
        record = reasoner.diagnose([to_uint8(case.damaged)])[0]
        yield name, Task(number, case.damaged[0], case.clean[0], truth, record)


@dataclass
class Tried:
    """Restorations of one picture, each dose once; the first doses are those of one plain pass.

    Attributes:
        restorer: Restores.
        task: The picture.
        pictures: By doses, in the order in which they were tried.
    """

    restorer: RestorePipeline
    task: Task
    pictures: dict[tuple[float, ...], torch.Tensor] = field(default_factory=dict)

    @cached_property
    def legs(self) -> list[str]:
        """Kinds that are undone, in order; none where there is no diagnosis."""
        if diagnosis_of(self.task.source) is None:
            return []
        planned = route(self.task.source, None, self.restorer.kinds, self.restorer.kinds)  # type: ignore[arg-type]
        return [names[0] for names in planned]

    def restored(self, doses: Dosage) -> torch.Tensor:
        """(3, H, W) in [0, 1]; without legs the picture that came in."""
        key = tuple(doses.values())
        if not doses:
            return self.task.degraded
        if key not in self.pictures:
            intent = Intent(strength={kind: FULL * dose for kind, dose in doses.items()})
            pixels = self.task.degraded.permute(1, 2, 0).contiguous().numpy()
            made = self.restorer.restore(pixels, self.task.source, intent).pixels_HWC3
            self.pictures[key] = torch.from_numpy(np.array(made)).permute(2, 0, 1)
        return self.pictures[key]


def by_leg(best: Callable[[], Dosage]) -> Iterator[Dosage]:
    """Doses to try: each leg's a step down and up from the best so far, while that helps; then with half the step."""
    step = FIRST_STEP
    while step >= LAST_STEP:
        before: Dosage = {}
        while before != best():
            before = best()
            for kind in before:
                for dose in (best()[kind] - step, best()[kind] + step):
                    if 0 <= dose <= 1:
                        yield {**best(), kind: round(dose, 3)}
        step /= 2


def drawn(legs: Sequence[str], seed: int) -> Iterator[Dosage]:
    """Doses as the policy of `rl.chain` draws them before it has learned anything."""
    generator = torch.Generator().manual_seed(seed)
    while legs:
        uniform = torch.rand(len(legs), generator=generator, dtype=torch.float64)
        logs = truncated_draw(torch.zeros(len(legs)), torch.full((len(legs),), STD), uniform)
        yield dict(zip(legs, logs.exp().tolist()))


def search(tried: Tried, score: Score, way: str, candidates: int, seed: int = 0) -> tuple[Dosage, float | None, int]:
    """The best of so many restorations by the judge.

    Args:
        tried: Of the picture.
        score: The reward of a restored picture; doing nothing is worth 0.
        way: `legs` (coordinate search from the plain pass) or `draws` (best of n); `plain` makes one pass.
        candidates: Restorations that may be made, 1 or more.
        seed: Of `draws`.

    Returns:
        The best doses (all 0: the input, where nothing was worth more), their score, and the number of candidates.
    """
    if not tried.legs:
        return {}, None, 0
    plain = dict.fromkeys(tried.legs, 1.0)
    best, seen = (plain, score(tried.restored(plain))), {tuple(plain.values())}
    proposals = {PLAIN: iter(()), BY_LEG: by_leg(lambda: best[0]), DRAWN: drawn(list(plain), seed)}[way]
    while len(seen) < candidates and (doses := next(proposals, None)) is not None:
        if tuple(doses.values()) in seen:
            continue
        seen.add(tuple(doses.values()))
        value = score(tried.restored(doses))
        best = max(best, (doses, value), key=lambda pair: -np.inf if pair[1] is None else pair[1])
    if way != PLAIN and best[1] is not None and best[1] < 0:
        return dict.fromkeys(plain, 0.0), 0.0, len(seen)
    return *best, len(seen)


class Refining:
    """Each way with each restorer on each picture, at the same number of calls.

    Args:
        restorers: By name; the first one is what the others are compared with.
        judge: Looks for the search, and measures what it sees in the result.
        score: The reward, `score(restored, degraded)`.
        ways: Of `WAYS`.
        calls: Runs of models for each picture; `plain` makes two.
        seed: Of everything that is drawn.

    Raises:
        ValueError: For fewer calls than one candidate takes.
    """

    def __init__(
        self, restorers: Mapping[str, RestorePipeline], judge: Judge, score: Callable[..., float | None],
        ways: Sequence[str], calls: int, seed: int = 0,
    ) -> None:  # fmt: skip
        self.restorers, self.judge, self.score, self.ways, self.seed = restorers, judge, score, ways, seed
        self.candidates = (calls - judge.view_count) // (1 + judge.view_count)
        if self.candidates < 1:
            least = 2 * judge.view_count + 1
            raise ValueError(f"{calls} calls: {judge.view_count} views need {least} for one candidate")

    def measure(
        self, made: Iterator[tuple[str, Task]], journal: Journal, report: Callable[[int], None] = lambda done: None
    ) -> None:
        """A row of the journal for each picture, restorer and way."""
        for done, (name, task) in enumerate(made, 1):
            about: Row = {"picture": name, "kinds": "+".join(task.present)}
            journal.write([about | row for row in self.rows(task)])
            report(done)

    def rows(self, task: Task) -> list[Row]:
        """Of one picture. A picture that could not be diagnosed is left as it is."""
        rows = []
        for name, restorer in self.restorers.items():
            tried = Tried(restorer, task)
            for way in self.ways:
                found = search(
                    tried, lambda picture: self.score(picture, task.degraded), way, self.candidates, self.seed
                )
                rows.append({"restorer": name, "way": way, **self._measured(tried, way, *found)})
        return rows

    def _measured(self, tried: Tried, way: str, doses: Dosage, value: float | None, made: int) -> Row:
        task, views = tried.task, self.judge.view_count
        picture = tried.restored(doses)
        values = measure(picture, task.degraded, task.clean)
        row: Row = {"input": measure(task.degraded, task.degraded, task.clean)["psnr"]}
        row |= {name: values[name] for name in ("psnr", "damage", "ms_ssim", "over")}
        row |= {"severity_before": seen(self.judge, task.degraded), "severity": seen(self.judge, picture)}
        calls = 1 + made if way == PLAIN else views + made * (1 + views)
        return row | {"reward": value, "calls": calls, "doses": said(doses)}


def said(doses: Dosage) -> str:
    """Doses in a cell of a table: "haze=0.60 noise=1.00"."""
    return " ".join(f"{kind}={dose:.2f}" for kind, dose in doses.items())


def seen(judge: Judge, picture_CHW: torch.Tensor) -> float | None:
    """The severity of all kinds that a judge sees, in sum; None where it could not be said."""
    severities = judge.mean(picture_CHW)
    return None if severities is None else sum(severities.values())


def journal(out: Path, settings: dict[str, Any], resume: bool) -> Journal:
    return Journal(out / "refine_pictures.csv", COLUMNS, ("picture",), settings, resume)


def table(rows: Sequence[Row], seed: int = 0) -> Table:
    """A row per restorer and way: means, and differences from the first row with intervals over the pictures."""
    groups = list(dict.fromkeys((row["restorer"], row["way"]) for row in rows))
    parts = {group: [row for row in rows if (row["restorer"], row["way"]) == group] for group in groups}
    lines: list[Row] = []
    for (restorer, way), mine in parts.items():
        line: Row = {"restorer": restorer, "way": way, "calls": mean(row["calls"] for row in mine)}
        for name, digits in COMPARED.items():
            line[name] = mean(row[name] for row in mine)
            line[f"{name} to first"] = difference(parts[groups[0]], mine, name, digits, seed)
        worse = [as_number(row, "psnr") < as_number(row, "input") - SAME for row in mine]
        low, high = interval(len(worse), partial(_share, worse), seed)
        line |= {"worse than input": f"{percent(worse):.1f} ({low:.1f} to {high:.1f})", "n": len(mine)}
        lines.append(line)
    note = (
        "calls: runs of models for a picture; severity: what the judge still sees, all kinds; damage: share of squared "
        f"error left; worse than input: % of pictures that lost {SAME} dB or more; to first: mean difference from the "
        "first row, paired, with 95% bootstrap intervals over the pictures; "
        f"mean input PSNR {mean(row['input'] for row in rows):.2f} dB"
    )
    return Table.of("Doses searched, or learned", lines, note, COMPARED | {"calls": 1})


def difference(first: Sequence[Row], mine: Sequence[Row], name: str, digits: int, seed: int = 0) -> str | None:
    """ "+0.12 (-0.03 to +0.25)": of the pictures that both could measure; None where there are fewer than two."""
    base = {row["picture"]: row[name] for row in first}
    pairs = [(row[name], base[row["picture"]]) for row in mine]
    changes = np.array([float(a) - float(b) for a, b in pairs if None not in (a, b)])  # type: ignore[arg-type]
    if mine is first or len(changes) < 2:
        return None
    low, high = interval(len(changes), lambda drawn: float(changes[drawn].mean()), seed)
    return f"{changes.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _share(hits: Sequence[bool], drawn: np.ndarray) -> float:
    """% of hits among what was drawn."""
    return 100 * float(np.mean(np.array(hits)[drawn]))
