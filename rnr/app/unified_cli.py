"""`rnr train unified` and `rnr bench unified`: their options."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rnr.app import train_cli
from rnr.app.train_cli import Device, Images, Init, License, Minutes, Rate, Resume, Samples, Seed, Threads, Val
from rnr.evaluation import command
from rnr.evaluation import options as bench


def register(train: typer.Typer, bench: typer.Typer) -> None:
    train.command("unified")(train_unified)
    bench.command("unified")(bench_unified)


def train_unified(
    out: train_cli.Out,
    stage: Annotated[str, typer.Option(help="1: restoring alone; 2: assessing and restoring together.")] = "1",
    images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    recipe: Annotated[Path | None, typer.Option(help="More settings, such as recipes/unified.toml.")] = None,
    condition: Annotated[Literal["both", "numbers", "hidden"], typer.Option(
        help="What conditions a leg: both, numbers or hidden states alone (an ablation).")] = "both",
    shuffled: Annotated[bool, typer.Option("--shuffled", help="Not easy to hard: an ablation of stage 1.")] = False,
    no_assessment: Annotated[bool, typer.Option(
        "--no-assessment", help="Stage 2 without assessment, and without loss of text: an ablation.")] = False,
) -> None:  # fmt: skip
    """Train reasoner and restorer together: hidden states of the analysis condition the restoration (UARE)."""
    given: dict[str, object] = {"stage": stage if stage not in ("1", "2") else int(stage), "condition": condition}
    given |= {"easy_to_hard": False} if shuffled else {}
    given |= {"tasks": {"restore": 1.0}, "text_weight": 0.0} if no_assessment else {}
    if recipe and condition == "both":
        given.pop("condition")
    train_cli.built_in(
        lambda work, settings: work.train_unified(settings, recipe, minutes, work.Lines(), **given), out=out,
        images=images, val=val, samples=samples, seed=seed, resume=resume, init=init, rate=rate, threads=threads,
        device=device, license=license,
    )  # fmt: skip


def bench_unified(
    images: bench.Folders,
    out: bench.Out,
    model: Annotated[list[str] | None, typer.Option(
        "--model", metavar="NAME=FOLDER", help="A row: what `rnr train unified` wrote; may be repeated.")] = None,
    text: Annotated[str | None, typer.Option(help="Reasoner that writes the text of one more row.")] = None,
    mixtures: Annotated[int, typer.Option(min=1, help="Damages of each photograph.")] = 2,
    instructions: Annotated[int, typer.Option(min=0, help="In held-out words.")] = 200,
    size: bench.Size = 256,
    limit: bench.Limit = None,
    seed: bench.Seed = 0,
    threads: bench.Threads = None,
) -> None:  # fmt: skip
    """Compare unified pairs with the two models apart: restoration, diagnosis, instructions, interchanged states."""
    started = time.monotonic()
    with command.errors():
        from rnr.reasoner.loading import load as load_reasoner
        from rnr.unified import bench as module
        from rnr.unified import load

        models = {name: load(folder) for name, folder in module.named(model or []).items()}
        held = module.cases(command.gathered(images, limit, spread=True), size, mixtures, seed, load_reasoner().kinds)
        count = len(held) * (1 + len(models) + bool(models) * (1 + bool(text)))
        with command.progress("restorations", count) as report:
            tables = module.tables(models, text, held, instructions, seed, report)
        hashes = {name: each.identity["model_hash"] for name, each in models.items()}
        settings: dict[str, Any] = {"models": hashes, "text": text, "images": [folder.name for folder in images]}
        settings |= {"limit": limit, "mixtures": mixtures, "instructions": instructions, "size": size, "seed": seed}
        command.publish(tables, out, settings, started, silent=["unified_rows"])
