"""The commands of `rnr bench` that measure the latent restorer; heavy imports are theirs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnr.evaluation import command
from rnr.evaluation.options import Folders, Limit, Out, Seed, Threads
from rnr.restorer.loading import load as load_restorer

if TYPE_CHECKING:
    from rnr.degradation.protocols import Restorer as Restorer_
    from rnr.quality.model import QualityModel
    from rnr.restorer.latent import LatentRestorer

Restorer = Annotated[str, typer.Option("--restorer", help="A folder that `rnr train codes` wrote.")]
Scorer = Annotated[str, typer.Option("--scorer", help="built-in, or a folder that `rnr train quality` wrote.")]
Size = Annotated[int, typer.Option("--size", min=32, help="Side of the centre that is used, px.")]
Mixtures = Annotated[int, typer.Option("--mixtures", min=1, help="Damages of each photograph.")]


def latent(
    images: Folders,
    out: Out,
    restorer: Restorer,
    rival: Annotated[str | None, typer.Option("--rival", help="Other weights, for the table of ablations.")] = None,
    scorer: Scorer = "built-in",
    mixtures: Mixtures = 2,
    size: Size = 256,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the latent restorer: round trip, the quality dial from 0 to 100, what its parts are worth."""
    from rnr.evaluation import latent as module
    from rnr.evaluation.cases import cases
    from rnr.evaluation.tables import Table
    from rnr.quality.loading import load_clip

    started = time.monotonic()
    with command.errors():
        model, judge = latent_restorer(restorer), load_clip(scorer)
        other = latent_restorer(rival) if rival else None
        photographs = command.gathered(images, limit, spread=True)
        held = cases(photographs, size, mixtures, seed)
        tables = {"latent_round_trip": module.round_trip(model, photographs, size)}
        with command.progress("damages", len(held)) as report:
            rows = module.dial(model, judge, held, report)
        tables |= {"latent_dial": module.dial_table(rows), "latent_rows": Table.of("Dial by case", rows)}
        tables["latent_parts"] = module.ablations(model, judge, held, other)
        settings = module.about(model) | _asked(model, judge, images, scorer, mixtures, size, limit, seed)
        command.publish(tables, out, settings, started, silent=["latent_rows"])


def quality_adapter(
    images: Folders,
    out: Out,
    adapter: Annotated[Path, typer.Option("--adapter", help="A file that `rnr train quality-adapter` wrote.")],
    restorer: Annotated[str, typer.Option("--restorer", help="built-in, or a folder of experts.")] = "built-in",
    scorer: Scorer = "built-in",
    mixtures: Mixtures = 2,
    size: Size = 256,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure a quality adapter of the experts: without a quality and at three, by the true diagnosis."""
    from rnr.evaluation import latent as module
    from rnr.evaluation.cases import cases
    from rnr.evaluation.tables import Table
    from rnr.quality.loading import load_clip
    from rnr.restorer.latent import load_adapter
    from rnr.restorer.loading import load_bridge

    started = time.monotonic()
    with command.errors():
        pipe, judge = load_bridge(restorer), load_clip(scorer)
        plugged = load_adapter(adapter, pipe)
        held = cases(command.gathered(images, limit, spread=True), size, mixtures, seed, pipe.kinds)
        with command.progress("damages", len(held)) as report:
            rows = module.adapter_dial(pipe, judge, held, report)
        tables = {"quality_adapter": module.dial_table(rows, "not asked")}
        tables["quality_adapter_rows"] = Table.of("Quality adapter by case", rows)
        settings = _asked(pipe, judge, images, scorer, mixtures, size, limit, seed)
        settings["adapter"] = dict(plugged.identity)
        command.publish(tables, out, settings, started, silent=["quality_adapter_rows"])


def hacking(
    images: Folders,
    out: Out,
    restorer: Restorer,
    scorer: Scorer = "built-in",
    mixtures: Mixtures = 1,
    size: Size = 192,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Raise a quality score in pixels, in latents and among codes: what the true quality loses at equal gain."""
    from rnr.evaluation import hacking as module
    from rnr.evaluation.cases import cases
    from rnr.evaluation.tables import Table
    from rnr.quality.loading import load_clip

    started = time.monotonic()
    with command.errors():
        model, judge = latent_restorer(restorer), load_clip(scorer)
        held = cases(command.gathered(images, limit, spread=True), size, mixtures, seed)
        with command.progress("pictures", len(held)) as report:
            found = module.paths(model, judge, held, report)
        tables = {"hacking": module.table(found, held), "hacking_paths": Table.of("Paths", module.rows_of(found))}
        settings = _asked(model, judge, images, scorer, mixtures, size, limit, seed)
        settings |= {"steps": module.STEPS, "rates": module.RATES}
        command.publish(tables, out, settings, started, silent=["hacking_paths"])


def _asked(
    model: Restorer_, judge: QualityModel, images: list[Path], scorer: str, mixtures: int, size: int,
    limit: int | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """What a table of a latent restorer follows from."""
    asked = {"mixtures": mixtures, "size": size, "limit": limit, "seed": seed, "images": [f.name for f in images]}
    return command.identity(restorer=model) | asked | {"scorer": scorer, "scorer_hash": judge.identity["model_hash"]}


def latent_restorer(name: str) -> LatentRestorer:
    """Raises ValueError for another restorer."""
    from rnr.restorer.latent import LatentRestorer

    found = load_restorer(name)
    if not isinstance(found, LatentRestorer):
        raise ValueError(f"{name}: not a latent restorer; name a folder that `rnr train codes` wrote")
    return found


COMMANDS = (latent, quality_adapter, hacking)
