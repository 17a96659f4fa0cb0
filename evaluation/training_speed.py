"""`rnr bench training`: training steps a second, the engine's against the first generation's, in one run.

A crop is 64x64 px; each network trains as its own trainer does (batches, loss, optimiser), drawing of batches included.
The reasoner's training is counted in samples a second of processor time: what else the machine does changes that less.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.arithmetic import flushed_denormals
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.training import Objective, Run
else:
    torch = LazyModule("torch")

KIND = "noise"  # of the expert; a choice


def table(photographs: Sequence[np.ndarray], seconds: float) -> Table:
    """Crops a second of each network and precision, the ratio to the network without experts, and the reasoner's speed.

    Args:
        photographs: Undamaged, uint8 HWC.
        seconds: Time for each.
    """
    speeds = {"network without experts, fp32": first_generation(photographs, seconds)}
    speeds |= {f"expert, {precision}": expert(photographs, precision, seconds) for precision in ("fp32", "bf16")}
    base = next(iter(speeds.values()))
    rows: list[Row] = [{"training": name, "crops/s": speed, "ratio": speed / base} for name, speed in speeds.items()]
    if importlib.util.find_spec("trl"):  # of the extra `train`
        rows.append({"training": "reasoner", "samples/CPU s": reasoner(photographs, seconds)})
    note = (
        "Crops of 64x64 px a second on the CPU, drawing of batches included; `auto` takes the faster one. Samples a "
        "second of processor time: of new rows, each of which a training shows twice."
    )
    return Table.of("Training speed", rows, note, {"crops/s": 1, "ratio": 2})


def expert(photographs: Sequence[np.ndarray], precision: str, seconds: float) -> float:
    """Crops a second of an expert's training."""
    from rnr.restorer.expert import ExpertNetwork
    from rnr.restorer.expert_train import ExpertObjective
    from rnr.training import Run

    return trained(ExpertObjective(ExpertNetwork(KIND), photographs), Run, precision, seconds)


def first_generation(photographs: Sequence[np.ndarray], seconds: float) -> float:
    """Crops a second of the network without experts, as `rnr train restorer` trains it."""
    from rnr.restorer.network import RestorerNetwork
    from rnr.restorer.train import RestorerObjective, RestorerRun

    objective = RestorerObjective(RestorerNetwork(), RestorerRun(out=Path()), photographs)
    return trained(objective, RestorerRun, "fp32", seconds)


@flushed_denormals()
def reasoner(photographs: Sequence[np.ndarray], seconds: float) -> float:
    """Samples a second of processor time of `rnr.reasoner.train`, rows included, from the built-in weights on."""
    from PIL import Image

    from rnr.reasoner.callbacks import Stopwatch
    from rnr.reasoner.card import BUILT_IN
    from rnr.reasoner.settings import ReasonerRun
    from rnr.reasoner.train import trainer_of

    clock = Stopwatch(seconds)
    with tempfile.TemporaryDirectory() as folder:
        for number, photograph in enumerate(photographs):
            Image.fromarray(photograph).save(Path(folder) / f"{number}.png")
        run = ReasonerRun(data=Path(folder), output=Path(folder) / "run", init=BUILT_IN)
        trainer, _ = trainer_of(run, None, report=lambda row: None)
        trainer.add_callback(clock)
        trainer.train()
    return run.batch * clock.steps_per_second


def trained(objective: Objective, kind: type[Run], precision: str, seconds: float) -> float:
    """Crops a second of a training by the engine, in this precision."""
    from rnr.training import Engine

    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(objective, kind(out=Path(folder), threads=torch.get_num_threads()))
        engine.precision = precision

        def update() -> int:
            before = engine.samples
            engine.update()
            return engine.samples - before

        return per_second(update, seconds)


def per_second(update: Callable[[], int], seconds: float) -> float:
    """Crops a second over about this time, after two updates that warm up."""
    for _ in range(2):
        update()
    began, crops = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        crops += update()
    return crops / (time.perf_counter() - began)
