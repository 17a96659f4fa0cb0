"""Does the diagnosis matter? Small twins, trained alike on as many samples, that see more or less of it.

`conditioned`: on diagnosis and scene, as the built-in restorer is trained; `no scene`: without the scene's labels;
`blind`: on no diagnosis at all. They are compared on the same damaged photographs, by the true diagnosis (and, with a
reasoner, by the predicted one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_uint8
from rnr.degradation.synthesize import truths
from rnr.evaluation.tables import Row, Table, mean
from rnr.restorer.condition import Condition, encode, stack
from rnr.restorer.data import Pairs
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.train import RestorerObjective, RestorerRun, validation_set
from rnr.training.checkpoint import CHECKPOINT
from rnr.training.engine import Engine

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser

WIDTHS, BLOCKS = (16, 32, 64), (1, 1, 2)
TWINS = ("conditioned", "no scene", "blind")
Source = Diagnosis | DiagnosisRecord | None


class Sceneless(RestorerObjective):
    """Its network never sees a label of the scene."""

    def loss(self, batch: Pairs, progress: float, seed: int) -> torch.Tensor:
        return super().loss(replace(batch, condition=without_scene(batch.condition)), progress, seed)


def without_scene(condition: Condition) -> Condition:
    return replace(condition, scene=torch.zeros_like(condition.scene))


@dataclass
class Twins:
    """Where they are trained, for how many samples (in 64 px crops), from which seed."""

    out: Path
    samples: int
    seed: int = 0
    threads: int = 1

    def train(
        self, name: str, photographs: list[np.ndarray], resume: bool, report: Callable[[int], None]
    ) -> RestorerNetwork:
        """The twin's averaged weights, after `samples` samples."""
        out, kind = self.out / name.replace(" ", "_"), Sceneless if name == "no scene" else RestorerObjective
        run = RestorerRun(
            out=out, samples=self.samples, seed=self.seed, blind=name == "blind", threads=self.threads,
            resume=resume and (out / CHECKPOINT).exists(),
        )  # fmt: skip
        torch.manual_seed(self.seed)  # the same initial weights for each
        objective = kind(RestorerNetwork(widths=WIDTHS, blocks=BLOCKS), run, photographs)
        engine = Engine(objective, run, lambda row: report(row["samples"]))
        engine.train()
        engine.averaged()
        return objective.model


@torch.no_grad()
def compare(
    networks: dict[str, RestorerNetwork], photographs: Sequence[np.ndarray], reasoner: Diagnoser | None = None
) -> list[Row]:
    """A row per task: input and PSNR in dB of each twin, one step."""
    rows: list[Row] = []
    known = next(iter(networks.values())).layout.factors
    for task, clean, degraded, mixture in validation_set(list(photographs), known):
        given: dict[str, Sequence[Source]] = {"": truths(clean, degraded, mixture)}
        if reasoner is not None:
            given[" predicted"] = reasoner.diagnose([to_uint8(image) for image in degraded])
        row: Row = {"task": task, "n": len(clean), "input": _mean_psnr(degraded, clean)}
        for name, network in networks.items():
            for suffix, sources in given.items() if name != "blind" else [("", [None] * len(clean))]:
                row[name + suffix] = _mean_psnr(_restore(network, degraded, sources, name), clean)
        rows.append(row)
    return rows


def _restore(network: RestorerNetwork, degraded: torch.Tensor, sources: Sequence[Source], name: str) -> torch.Tensor:
    condition = stack([encode(network.layout, source) for source in sources])
    condition = without_scene(condition) if name == "no scene" else condition
    return network.one_step(degraded, condition).clamp(0, 1)


def _mean_psnr(image: torch.Tensor, clean: torch.Tensor) -> float:
    return float(psnr(image, clean).clamp(max=60).mean())


def table(rows: Sequence[Row], samples: int) -> Table:
    """Per task, and the means over the tasks that hold damage."""
    rows = [_with_gains(row) for row in rows]
    damaged = [row for row in rows if row["task"] != "clean"]
    names = [name for name in rows[0] if name not in ("task", "n")] if rows else []
    means: Row = {"task": "mean of damaged", "n": None}
    note = (
        f"PSNR in dB, one step; small twins ({WIDTHS}, {BLOCKS}) after {samples} samples each, the same seed. "
        "diagnosis: `conditioned` minus blind, by the true diagnosis (predicted: by the reasoner's); "
        "scene: `conditioned` minus no scene."
    )
    lines = [*rows, means | {name: mean(row[name] for row in damaged) for name in names}]
    return Table.of("The diagnosis matters", lines, note)


def _with_gains(row: Row) -> Row:
    def gain(a: str, b: str) -> float | None:
        return float(str(row[a])) - float(str(row[b])) if a in row and b in row else None

    gains: Row = {
        "diagnosis": gain("conditioned", "blind"),
        "diagnosis predicted": gain("conditioned predicted", "blind"),
    }
    gains |= {"scene": gain("conditioned", "no scene")}
    return row | {name: value for name, value in gains.items() if value is not None}
