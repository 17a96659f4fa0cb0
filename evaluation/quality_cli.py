"""`rnr bench quality-model`, `quality-sheet` and `purification`; heavy imports are their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rnr.evaluation import command
from rnr.evaluation.options import Images, Limit, Out, ReasonerName, RestorerName, Seed, Threads
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer


def quality_model(
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="Folder of clean photographs; may be repeated.")
    ] = None,
    out: Out = Path("results/quality-model"),
    scorer: Annotated[str, typer.Option("--scorer", help="built-in, or a folder or hub name of a CLIP.")] = "built-in",
    regions: Annotated[int, typer.Option("--regions", min=24, help="Damaged regions to rank.")] = 400,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Instead: koniq10k, clive, kadid10k, ...")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Its folder, as it was unpacked.")] = None,
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the quality model: ranks by full-reference quality, labels needed, rivals, restorations, words, speed."""
    from rnr.evaluation import quality_model as module
    from rnr.quality.datasets import read
    from rnr.quality.loading import load_clip

    started = time.monotonic()
    with command.errors():
        if bool(images) == bool(dataset) or bool(dataset) != bool(data):
            raise ValueError("name --images DIR, or both --dataset NAME and --data DIR")
        model = load_clip(scorer)
        settings = {"scorer": scorer, "scorer_hash": model.identity["model_hash"], "seed": seed, "limit": limit}
        if dataset and data:
            tables = {f"quality_{dataset}": module.dataset_table(model, dataset, read(dataset, data)[:limit])}
            command.publish(tables, out, settings | {"dataset": dataset}, started)
            return
        held = command.gathered(images or [], limit)
        judge, pair = load_reasoner(reasoner), load_restorer(restorer)
        settings |= command.identity(judge, pair) | {"images": [f.name for f in images or []], "regions": regions}
        with command.progress("pictures", regions // 2) as report:
            tables = module.tables(model, held, regions, seed, judge, pair, report)
        command.publish(tables, out, settings, started)


def quality_sheet(
    images: Annotated[Path | None, typer.Option("--images", help="Folder of real pictures.")] = None,
    out: Out = Path("results/quality-sheet"),
    judged: Annotated[Path | None, typer.Option(
        "--judged", help="Instead: compare the scores with the column eye of this table.")] = None,
    scorer: Annotated[str, typer.Option("--scorer", help="Who scores: built-in, a folder, ...")] = "built-in",
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Show real pictures before and after restoration with both scores, as one sheet to rank by eye."""
    from rnr.evaluation import quality_sheet as module
    from rnr.quality.loading import load as load_scorer

    started = time.monotonic()
    with command.errors():
        if judged is not None:
            agreed = module.agreement_table(judged)
            command.publish({"quality_eye": agreed}, out, {"judged": judged.name}, started)
            return
        if images is None:
            raise ValueError("name --images DIR, or --judged TABLE")
        pictures, models = command.photographs(images, limit), (load_reasoner(reasoner), load_restorer(restorer))
        with command.progress("pictures", len(pictures)) as report:
            found = module.pairs(pictures, *models, load_scorer(scorer), report)
        settings = command.identity(*models) | {"images": images.name, "scorer": scorer, "limit": limit}
        command.publish({"quality_sheet": module.table(found)}, out, settings, started)
        module.sheet(found, out / "quality_sheet.jpg")


def purification(
    images: Images,
    val: Annotated[Path, typer.Option("--val", help="Folder of other photographs, to measure on.")],
    out: Out = Path("results/purification"),
    samples: Annotated[int, typer.Option("--samples", min=8, help="Length of each of the three trainings.")] = 8_000,
    labels: Annotated[int, typer.Option("--labels", min=16, help="Damaged pictures for each adapter.")] = 640,
    regions: Annotated[int, typer.Option("--regions", min=24, help="Damaged pictures to measure on.")] = 400,
    init: Annotated[str, typer.Option("--init", help="Weights that all three start from; none by default.")] = "",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train the quality model thrice, by true, spoilt and purified captions, and compare; the same command goes on."""
    from rnr.degradation.kind import PHYSICS
    from rnr.evaluation import purification as module

    started = time.monotonic()
    with command.errors():
        held = list(command.photographs(val, limit).values())
        asked = {"samples": samples, "labels": labels, "init": init, "seed": seed, "threads": threads or 1}
        twins = module.trained(images, out, lambda row: typer.echo(str(row), err=True), **asked)
        found = {name: module.scores(weights, held, regions, seed) for name, weights in twins.items()}
        table = module.table({name: each for name, (each, _) in found.items()}, found["clean"][1])
        settings = {"physics": PHYSICS, "images": images.name, "val": val.name, "regions": regions, "limit": limit}
        command.publish({"purification": table}, out, settings | asked, started)


COMMANDS = (quality_model, quality_sheet, purification)
