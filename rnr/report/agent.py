"""The report of the agent: each run as a tree, one HTML file that opens from disk without a network.

The trunk is what was accepted; a step that was rolled back hangs beside it with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.files import short_hash
from rnr.degradation.kind import kinds
from rnr.graph.store import Store
from rnr.images.files import Picture
from rnr.images.previews import limit_for, previews, thumbnail
from rnr.report.plain import Pictured, page

if TYPE_CHECKING:
    from rnr.graph import Run
    from rnr.graph.state import Candidate, Look, Step

SHOT = 360  # px, longer side of a step's picture
FAINT = 5.0  # a kind that never reaches this severity is not drawn
PLOT = (640, 240, 40, 14, 30, 96)  # width, height, margins left, top, bottom, right


@dataclass(frozen=True)
class Shot:
    """One candidate of a step."""

    image: str
    title: str
    change: str  # what `judge.Change` says of it
    chosen: bool
    reason: str


@dataclass(frozen=True)
class StepView:
    """A step as the page shows it; `changes` are (title, before, after) of the candidate that was looked at hardest."""

    number: int
    title: str
    why: str
    decision: str
    reason: str
    shots: list[Shot]
    changes: list[tuple[str, float, float]]
    record: DiagnosisRecord | None

    @property
    def accepted(self) -> bool:
        return self.decision == "accepted"


@dataclass(frozen=True)
class Line:
    """One kind over the steps: points of the trunk, and (from, to) of what was rolled back. Pixels of the plot."""

    title: str
    colour: int
    trunk: list[tuple[float, float]]
    tried: list[tuple[float, float, float, float]]
    label_y: float
    last: float


@dataclass(frozen=True)
class Plot:
    width: int
    height: int
    left: int
    floor: float
    levels: list[tuple[int, float]]
    ticks: list[tuple[str, float]]
    lines: list[Line]


@dataclass
class AgentEntry(Pictured):
    """A picture that the agent worked on."""

    run: Run | None = None
    about: str = ""
    reading: str = ""  # of an instruction
    output: str = ""
    root: DiagnosisRecord | None = None
    steps: list[StepView] = field(default_factory=list)
    plot: Plot | None = None

    @classmethod
    def of(cls, source: str, picture: Picture, store: Store, run: Run, output: str, reading: str = "") -> AgentEntry:
        status = run.status if run.status in ("waiting", "failed") else "untouched" if run.untouched else "restored"
        width, height = picture.size
        entry = cls(source, status, run=run, output=output, reading=reading)  # type: ignore[arg-type]
        entry.about = f"{width} × {height}, {picture.bit_depth}-bit {picture.format}"
        entry.previews = previews(picture, None if run.untouched else store.get(run.picture), limit_for(1))
        entry.root = store.record(run.first) if run.first else None
        entry.steps = [_view(step, store) for step in run.steps]
        entry.plot = _plot(run)
        return entry

    @property
    def key(self) -> str:
        return short_hash(self.run.thread) if self.run else ""

    @property
    def seconds(self) -> float:
        return self.run.state.get("spent", 0.0) if self.run else 0.0

    @property
    def headline(self) -> str:
        """haze 62 → 8, noise 40 → 3; 3 steps, 1 rolled back"""
        if self.run is None or self.run.first is None or self.run.best is None:
            return self.run.reason if self.run else self.problem
        changes = [f"{title} {a:.0f} → {b:.0f}" for title, a, b in _changes(self.run.first, self.run.best)]
        rolled_back = sum(not step.accepted for step in self.steps)
        many = f"{len(self.steps)} step{'' if len(self.steps) == 1 else 's'}, {rolled_back} rolled back"
        return f"{', '.join(changes) or 'no damage found'}; {many}" if self.steps else self.run.reason

    @property
    def reason(self) -> str:
        return self.run.reason if self.run else self.problem


def _view(step: Step, store: Store) -> StepView:
    proposal, candidates = step["proposal"], step["candidates"]
    shown = candidates[_hardest(step)] if candidates else None
    removed = " and ".join(kinds()[kind].words.title for kind in proposal["kinds"])
    return StepView(
        number=proposal["number"],
        title=f"remove {removed}",
        why=f"{proposal['strategy']}: {proposal['why']}",
        decision=step["decision"],
        reason=step["reason"],
        shots=[_shot(c, store, number == step["chosen"]) for number, c in enumerate(candidates)],
        changes=_changes(step["start"], shown["look"]) if shown else [],
        record=store.record(shown["look"]) if shown else None,
    )


def _hardest(step: Step) -> int:
    """The accepted candidate, or the one whose reason stands for the step."""
    reasons = [candidate["reason"] for candidate in step["candidates"]]
    return reasons.index(step["reason"]) if step["chosen"] is None else step["chosen"]


def _shot(candidate: Candidate, store: Store, chosen: bool) -> Shot:
    draw = candidate["draw"]
    title = f"{draw['steps']} step{'' if draw['steps'] == 1 else 's'} of the restorer"
    title += f", seed {draw['seed']}" if draw["eta"] else ""
    image = thumbnail(store.get(candidate["picture"]), SHOT)
    return Shot(image, title, _change_words(candidate), chosen, candidate["reason"])


def _change_words(candidate: Candidate) -> str:
    found = candidate.get("change")
    if found is None:  # a thread of an older release
        return ""
    return f"content {found['content']:.2f}, over-correction {found['over']:.0f}"


def _changes(before: Look, after: Look) -> list[tuple[str, float, float]]:
    """Kinds that were or became visible."""
    pairs = {kind: (before["severity"].get(kind, 0.0), value) for kind, value in after["severity"].items()}
    shown = [kind for kind, (a, b) in pairs.items() if kind in before["present"] or abs(a - b) >= FAINT]
    return [(kinds()[kind].words.title, *pairs[kind]) for kind in shown]


def _plot(run: Run) -> Plot | None:
    """Expected severity over the steps; None where there was no step."""
    if run.first is None or not run.steps:
        return None
    width, height, left, top, bottom, right = PLOT
    count = len(run.steps)

    def x(step: float) -> float:
        return round(left + (width - left - right) * step / count, 1)

    def y(severity: float) -> float:
        return round(top + (height - top - bottom) * (1 - severity / 100), 1)

    tries = [(s["start"], s["candidates"][_hardest(s)]["look"], s["chosen"] is not None)
             for s in run.steps if s["candidates"]]  # fmt: skip
    numbers = [n for n, s in enumerate(run.steps, 1) if s["candidates"]]
    seen = [run.first, *(look for _, look, _ in tries)]
    lines = []
    for colour, kind in enumerate(kinds()):
        if max(look["severity"].get(kind, 0.0) for look in seen) < FAINT:
            continue
        trunk, held, tried = [(x(0), y(run.first["severity"].get(kind, 0.0)))], run.first, []
        for number, (start, look, accepted) in zip(numbers, tries):
            if accepted:
                held = look
            else:
                a, b = (each["severity"].get(kind, 0.0) for each in (start, look))
                tried.append((x(number - 1), y(a), x(number), y(b)))
            trunk.append((x(number), y(held["severity"].get(kind, 0.0))))
        lines.append(
            Line(kinds()[kind].words.title, colour, trunk, tried, trunk[-1][1], held["severity"].get(kind, 0.0))
        )
    ticks = [("as it came", x(0)), *((f"step {n}", x(n)) for n in range(1, count + 1))]
    return Plot(width, height, left, y(0), [(v, y(v)) for v in (0, 25, 50, 75, 100)], ticks, _spread(lines))


def _spread(lines: list[Line]) -> list[Line]:
    """Labels at the right end, moved apart until none covers another."""
    placed: list[Line] = []
    ceiling = float(PLOT[1] - PLOT[4] + 4)
    for line in sorted(lines, key=lambda each: -each.label_y):
        ceiling = min(ceiling, line.label_y)
        placed.append(Line(line.title, line.colour, line.trunk, line.tried, ceiling, line.last))
        ceiling -= 15
    return placed


def render(entries: Sequence[AgentEntry], interrupted: bool = False) -> str:
    """The whole page. Everything that comes from file names or models is escaped by the template engine."""
    return page("agent.html", entries, interrupted)
