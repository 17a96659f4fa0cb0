"""The agent against one plain pass, on mixtures of 2-3 kinds: is looking again worth its time?

`restore` is the plain pass, kept whatever the judge says of it; `one-pass` is the same with the accept test. The two
`stepwise` rows after it remove the same kinds in another order. All ways share one store for a picture, so they see the
same diagnoses and the same first pass; seconds are those of the models, also where a result was already there.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import kinds
from rnr.degradation.measure import damage_left, psnr
from rnr.degradation.photographs import centre_of, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.evaluation.journal import Journal
from rnr.evaluation.metrics import percent
from rnr.evaluation.tables import Row, Table, as_number, mean

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Diagnoser, Restorer
    from rnr.evaluation.cases import Case
    from rnr.graph import Context
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

WAYS = ("restore", "one-pass", "auto", "stepwise", "stepwise, random order", "stepwise, reversed order")
KEY = ("picture",)
COLUMNS = (
    "picture", "kinds", "way", "input", "psnr", "squared", "structural", "severity_before", "severity", "steps",
    "calls", "rolled_back", "seconds", "reason",
)  # fmt: skip
FORMER = {"taken_back": "rolled_back"}  # columns of tables that were written before
SEVERITY = (15, 60)
SAME = 0.05  # dB: less is no difference


def journal(out: Path, settings: dict[str, Any], resume: bool) -> Journal:
    found = Journal(out / "agent_pictures.csv", COLUMNS, KEY, settings, resume)
    found.rows = [{FORMER.get(name, name): value for name, value in row.items()} for row in found.rows]
    return found


def mixture_of(number: int, seed: int, names: Collection[str]) -> dict[str, float]:
    """2 or 3 of these kinds with severities, for the picture of this number."""
    rng = random.Random(f"{seed} {number}")
    chosen = rng.sample([name for name in kinds() if name in names], rng.choice((2, 3)))
    return {name: min(rng.randint(*SEVERITY), int(kinds()[name].top)) for name in chosen}


def case_of(number: int, name: str, photograph: np.ndarray, size: int, seed: int, names: Collection[str]) -> Case:
    """The photograph of this number, its centre of `size` px (0: the whole), damaged by 2 or 3 of these kinds."""
    from rnr.evaluation.cases import Case

    clean = centre_of(photograph, size)
    mixture = prescribe(mixture_of(number, seed, names), seed + number)
    return Case(name, clean, degrade(clean, mixture), mixture)


class AgentBench:
    """Each way on each picture."""

    def __init__(
        self, reasoner: Diagnoser, restorer: Restorer, ways: Sequence[str], steps: int, candidates: int, seed: int
    ) -> None:
        from rnr.graph import build_graph

        self.models, self.ways, self.seed = (reasoner, restorer), ways, seed
        self.budget, self.graph = {"max_restorations": steps, "candidates": candidates, "seed": seed}, build_graph()

    def measure(
        self, photographs: Mapping[str, np.ndarray], size: int, journal: Journal, report: Callable[[int], None]
    ) -> None:
        for number, (name, photograph) in enumerate(photographs.items()):
            if not journal.done(picture=name):
                case = case_of(number, name, photograph, size, self.seed, self.models[0].kinds)
                about: Row = {"picture": name, "kinds": "+".join(step.kind.name for step in case.mixture.steps)}
                journal.write([about | row for row in self.rows(case.clean, case.damaged, number)])
            report(number + 1)

    def rows(self, clean: torch.Tensor, degraded: torch.Tensor, number: int) -> list[Row]:
        """One picture (1, 3, H, W), a row for each way."""
        from rnr.graph import Context, Store

        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            ref = store.put(to_uint8(degraded))
            result = []
            for way in self.ways:
                plain, strategy = way == "restore", "one-pass" if way == "restore" else way.split(",")[0]
                context = Context(*self.models, store, strategy, **self.budget)  # type: ignore[arg-type]
                state = self._run(context, ref, way, number)
                kept = _plain(state) if plain else state["best"]
                result.append({"way": way, **_measured(context, kept, clean, degraded), **_run_figures(state, kept)})
        return result

    def _run(self, context: Context, ref: Any, way: str, number: int) -> dict[str, Any]:
        state = self.graph.invoke({"picture": ref}, {"recursion_limit": 500}, context=context)
        order = _other_order(way, state["first"]["plan"], number)
        if order:
            state = self.graph.invoke({"picture": ref, "order": order}, {"recursion_limit": 500}, context=context)
        if state["status"] == "failed":
            raise ValueError(f"{way}: {state['reason']}")
        return state


def _other_order(way: str, planned: list[str], number: int) -> list[str]:
    if way.endswith("reversed order"):
        return planned[::-1]
    if way.endswith("random order"):
        return random.Random(number).sample(planned, len(planned))
    return []


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """What the first candidate of the one pass gave, accepted or not."""
    return state["steps"][0]["candidates"][0]["look"] if state["steps"] else state["first"]


def _measured(context: Context, look: Any, clean: torch.Tensor, degraded: torch.Tensor) -> Row:
    pixels = context.pictures.get(look["picture"])
    scaled = torch.from_numpy(pixels.astype("float32") / np.iinfo(pixels.dtype).max)
    restored = scaled.permute(2, 0, 1)[None]
    left = {name: float(value) for name, value in damage_left(restored, degraded, clean).items()}
    return {"input": float(psnr(degraded, clean)), "psnr": float(psnr(restored, clean)), **left}


def _run_figures(state: dict[str, Any], look: Any) -> Row:
    from rnr.graph.judging import total

    back = sum(step["chosen"] is None for step in state["steps"])
    row: Row = {"severity_before": total(state["first"]), "severity": total(look), "steps": len(state["steps"])}
    made = sum(len(step["candidates"]) for step in state["steps"])
    row["calls"] = 1 + 2 * made  # of models: the first look; a restoration and a look for each candidate
    return row | {"rolled_back": back, "seconds": float(state["spent"]), "reason": state["reason"]}


def table(rows: Sequence[Row], ways: Sequence[str]) -> Table:
    """A row per way."""
    base = {str(row["picture"]): row for row in rows if row["way"] == "restore"}
    lines: list[Row] = []
    for way in ways:
        mine = [row for row in rows if row["way"] == way]
        gains = [as_number(row, "psnr") - as_number(base[str(row["picture"])], "psnr") for row in mine if base]
        worse = [as_number(row, "psnr") < as_number(row, "input") - SAME for row in mine]
        line: Row = {"way": way, "psnr": mean(row["psnr"] for row in mine), "gain": mean(gains)}
        line |= {
            "wins": percent([gain > SAME for gain in gains]),
            "losses": percent([gain < -SAME for gain in gains]),
        }
        averaged = ("squared", "structural", "severity", "steps", "calls")
        line |= {name: mean(row[name] for row in mine) for name in averaged}
        line |= {"rolled back": mean(row["rolled_back"] for row in mine), "worse than input": percent(worse)}
        spent = [as_number(row, "seconds") / as_number(base[str(row["picture"])], "seconds") for row in mine if base]
        lines.append(line | {"time": mean(spent), "n": len(mine)})
    note = (
        f"Mean input PSNR {mean(row['input'] for row in rows):.2f} dB. gain: PSNR over `restore`, dB; wins, losses: "
        f"% of pictures more than {SAME} dB above or below it; squared, structural: damage left; severity: what the "
        "judge still sees, all kinds; worse than input: % of pictures; time: that of `restore` is 1."
    )
    digits = {"wins": 0, "losses": 0, "worse than input": 0, "severity": 1, "steps": 1}
    return Table.of("The agent", lines, note, digits)


def decisions(rows: Sequence[Row]) -> Table:
    """How the runs of `auto` ended."""
    auto = [str(row["reason"]).split(":")[0] for row in rows if row["way"] == "auto"]
    counts: list[Row] = [{"auto ended with": reason, "pictures": auto.count(reason)} for reason in dict.fromkeys(auto)]
    return Table.of("Why it ended", counts)
