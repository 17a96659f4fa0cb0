"""`rnr train` and `rnr data`: the built-in models, real ones by a recipe, and the training set as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rnr.degradation.errors import MissingExtra, SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.evaluation import options as bench
from rnr.evaluation.options import Seed
from rnr.evaluation.reasoner_cli import predictions
from rnr.work.console import hush, plain_stdout, stop


class Part(StrEnum):
    """A part of the restorer of tasks."""

    cfrm = "cfrm"
    controller = "controller"
    tfa = "tfa"


train_app = typer.Typer(no_args_is_help=True, help="Train the built-in models, or real ones by a recipe.")
data_app = typer.Typer(no_args_is_help=True, help="Write what trainings read as files.")
data_app.command("predictions")(predictions)

Images = Annotated[Path | None, typer.Option("--images", help="Folder of clean photographs.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for checkpoints, curves and weights.")]
Val = Annotated[Path | None, typer.Option(help="Folder of other photographs, for validation.")]
Samples = Annotated[int | None, typer.Option(min=1, help="Length of the schedule.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")]
Init = Annotated[Path | None, typer.Option(help="Weights to start from, with a new schedule: built-in, or a folder.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate at its highest.")]
Confusion = Annotated[
    Path | None, typer.Option(help="A reasoner's predictions for known damage: the file of `rnr data predictions`.")
]
Restored = Annotated[
    str | None, typer.Option(help="Show the reasoner restored images, too: by this restorer, `built-in` or a folder.")
]
License = Annotated[str | None, typer.Option("--license", help="Of the weights (SPDX): what the photographs allow.")]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Stop in time, to be resumed.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Recipe = Annotated[
    Path | None, typer.Option(help="A real model with LoRA instead of the built-in one: recipes/*.toml.")
]
Model = Annotated[str | None, typer.Option(help="Another base than the recipe's: a folder or a hub name.")]
Reader = Annotated[
    Path | None, typer.Option("--reader", help="Folder of PP-OCRv4's recogniser, where its package is not installed.")
]
Data = Annotated[Path | None, typer.Option(help="What `rnr data build` wrote; for --recipe.")]


@train_app.command("reasoner")
def train_reasoner(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, restored: Restored = None,
    threads: Threads = None, license: License = None, recipe: Recipe = None, model: Model = None, data: Data = None,
    objects: Annotated[Path | None, typer.Option(help="CSV of what the photographs show: recipes/objects.csv.")] = None,
) -> None:  # fmt: skip
    """Train image -> Diagnosis: supervised fine-tuning on images damaged in known ways."""
    own = {"--images": images, "--val": val, "--samples": samples, "--seed": seed or None, "--init": init,
           "--rate": rate, "--restored": restored, "--threads": threads,
           "--license": license, "--objects": objects}  # fmt: skip
    if recipe or model:
        _refuse(own, "go with the built-in reasoner: a real one has its recipe and --data")
        _real("reasoner", recipe, model, data, out, resume)
    else:
        _refuse({"--data": data}, "goes with --recipe: the built-in reasoner learns from --images")
        built_in(lambda work, given: work.train_reasoner(given, work.Lines()),
                  out=out, images=images, val=val, samples=samples, seed=seed, resume=resume, init=init,
                  rate=rate, restored=restored, threads=threads, license=license,
                  objects=objects)  # fmt: skip


@train_app.command("restorer")
def train_restorer(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, confusion: Confusion = None, threads: Threads = None, device: Device = "auto",
    license: License = None, recipe: Recipe = None, model: Model = None,
) -> None:  # fmt: skip
    """Train image + Diagnosis -> image: a diffusion bridge, conditioned on right, wrong and missing diagnoses."""
    own = {"--val": val, "--samples": samples, "--seed": seed or None, "--init": init, "--rate": rate,
           "--confusion": confusion, "--threads": threads, "--license": license}  # fmt: skip
    if recipe or model:
        _refuse(own, "go with the built-in restorer: a real one has its recipe and --images")
        _real("restorer", recipe, model, images, out, resume, device)
    else:
        built_in(lambda work, given: work.train_restorer(given, work.Lines()),
                  out=out, images=images, val=val, samples=samples, seed=seed, resume=resume, init=init,
                  rate=rate, confusion=confusion, threads=threads, device=device, license=license)  # fmt: skip


@train_app.command("expert")
def train_expert(
    kind: Annotated[str, typer.Argument(help="Kind of degradation, such as noise.")], out: Out,
    images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    blocks: Annotated[str, typer.Option(help="Residual blocks at 1/2, 1/4, 1/8 of the resolution.")] = "1,1,1",
    residue: Annotated[str | None, typer.Option(
        help="Show what the experts of this restorer leave: `built-in` or a folder.")] = None,
    physics: Annotated[bool, typer.Option(
        "--physics", help="Give the expert the image as physics would undo it, by the diagnosed factors.")] = False,
    severity: Annotated[bool, typer.Option(
        "--severity", help="Condition it on the severity that the diagnosis gives.")] = False,
    overview: Annotated[bool, typer.Option(
        "--overview", help="Train the look at the whole image, alone; a later training from --init adds the U-Net."
    )] = False,
    spread: Annotated[bool, typer.Option(
        "--point-spread", help="Train the reader of a blur's point spread function, alone; a later training from "
        "--init restores by it.")] = False,
    blind: Annotated[bool, typer.Option(
        "--blind", help="Train a plain regressor on the same crops, without bridge and finding: to compare a leg with."
    )] = False,
    minutes: Minutes = None,
) -> None:  # fmt: skip
    """Train the network of one leg: it removes one kind of degradation and leaves the others."""
    built_in(
        lambda work, given: work.train_expert(
            kind, given, blocks, residue, minutes, work.Lines(),
            physics=physics, overview=overview, spread=spread, finding=severity, blind=blind,
        ),
        out=out, images=images, val=val, samples=samples, seed=seed, resume=resume, init=init, rate=rate,
        threads=threads, device=device, license=license,
    )  # fmt: skip


@train_app.command("quality")
def train_quality(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    teacher: Annotated[str | None, typer.Option(help="URL of a server whose model writes captions, too.")] = None,
    teacher_model: Annotated[str | None, typer.Option(help="Its name there; the first one by default.")] = None,
    captions: Annotated[int | None, typer.Option(
        min=2, help="Pictures that the teacher writes of.", show_default="1000")] = None,
    purify: Annotated[bool, typer.Option(
        "--purify", help="Weigh captions by relevance and informativeness: for captions that may be wrong.")] = False,
    noise: Annotated[float | None, typer.Option(
        min=0, max=1, help="Share of captions replaced by others' or by chatter: an experiment.")] = None,
    head: Annotated[str | None, typer.Option(
        help="Instead: fit this head, technical or aesthetic, of --init to --dataset.")] = None,
    dataset: Annotated[str | None, typer.Option(help="People's ratings for --head: ava, aadb, koniq10k, ...")] = None,
    data: Annotated[Path | None, typer.Option(help="Its folder, as it was unpacked.")] = None,
) -> None:  # fmt: skip
    """Train image -> quality: damaged images beside words of their damage, then the adapter that reads scores.

    With --head: fit one more adapter to people's ratings; the rest of the weights stays as it is.
    """
    from rnr.work import training

    if head:
        _refuse({"--images": images, "--val": val, "--rate": rate, "--teacher": teacher, "--purify": purify or None,
                 "--noise": noise, "--minutes": minutes, "--threads": threads},
                "go with pre-training; --head takes --init, --dataset and --data")  # fmt: skip
        if dataset is None or data is None:
            stop("name the ratings: --dataset ava --data DIR")
        _show(lambda: training.train_head(
            training.Lines(), head=head, dataset=dataset, data=data, init=init and str(init), out=out, samples=samples,
            seed=seed, device=device, license=license), out)  # fmt: skip
        return
    _refuse({"--dataset": dataset, "--data": data}, "goes with --head")
    if not teacher:
        _refuse({"--teacher-model": teacher_model, "--captions": captions}, "goes with --teacher")
    more = {"teacher": teacher, "teacher_model": teacher_model, "captions": captions, "purify": purify, "noise": noise}
    built_in(lambda work, given: work.train_quality(given, minutes, work.Lines(), **more), out=out, images=images,
              val=val, samples=samples, seed=seed, resume=resume, init=init, rate=rate, threads=threads, device=device,
              license=license)  # fmt: skip


@train_app.command("detector")
def train_detector(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Annotated[Path | None, typer.Option(help="A detector's file to start from.")] = None,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
) -> None:  # fmt: skip
    """Train the small network whose maps the built-in reasoner sees: where each kind changed the pixels."""
    built_in(lambda work, given: work.train_detector(given, minutes, work.Lines()), out=out, images=images, val=val,
              samples=samples, seed=seed, resume=resume, init=init, rate=rate, threads=threads, device=device,
              license=license)  # fmt: skip


@train_app.command("instructions")
def train_instructions(
    out: Out, samples: Samples = None, seed: Seed = 0, resume: Resume = False, rate: Rate = None,
    threads: Threads = None, device: Device = "auto", license: License = None, minutes: Minutes = None,
) -> None:  # fmt: skip
    """Train the reader of instructions: words -> kinds to remove. It needs no images, only the templates of prompts."""
    from rnr.work import training

    _show(lambda: training.train_instructions(
        training.Lines(), out=out, samples=samples, seed=seed, resume=resume, rate=rate, threads=threads,
        device=device, license=license, minutes=minutes), out)  # fmt: skip


@train_app.command("autoencoder")
def train_autoencoder(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
) -> None:  # fmt: skip
    """Train the autoencoder of the latent restorers: an image through a quarter of its resolution and back."""
    built_in(lambda work, given: work.train_autoencoder(given, minutes, work.Lines()), out=out, images=images,
              val=val, samples=samples, seed=seed, resume=resume, rate=rate, threads=threads, device=device,
              license=license)  # fmt: skip


@train_app.command("codes")
def train_codes(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    autoencoder: Annotated[str, typer.Option(
        help="built-in, a folder or a hub name of an AutoencoderKL or VQModel.")] = BUILT_IN,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Without the score as input: an ablation.")] = False,
) -> None:  # fmt: skip
    """Train the latent restorer on an autoencoder: its codebooks, then the Transformer that predicts codes."""
    built_in(lambda work, given: work.train_codes(given, autoencoder, not no_quality, minutes, work.Lines()), out=out,
              images=images, val=val, samples=samples, seed=seed, resume=resume, rate=rate, threads=threads,
              device=device, license=license)  # fmt: skip


@train_app.command("quality-adapter")
def train_quality_adapter(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    restorer: Annotated[str, typer.Option("--restorer", help="built-in, or a folder of experts.")] = BUILT_IN,
    scorer: Annotated[str, typer.Option("--scorer", help="Says how good a target is: see `rnr quality`.")] = BUILT_IN,
) -> None:  # fmt: skip
    """Train the adapter by which the experts can be asked for a quality; the experts stay as they are."""
    built_in(lambda work, given: work.train_quality_adapter(given, restorer, scorer, minutes, work.Lines()), out=out,
              images=images, val=val, samples=samples, seed=seed, resume=resume, rate=rate, threads=threads,
              device=device, license=license)  # fmt: skip


@train_app.command("tasks")
def train_tasks(
    out: Out, images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    task: Annotated[list[str] | None, typer.Option(
        "--task", metavar="NAME", help="Train this one, too: classification, reading; may be repeated.")] = None,
    autoencoder: Annotated[str | None, typer.Option(
        help="built-in, a folder or a hub name of an AutoencoderKL or VQModel.", show_default="built-in")] = None,
    without: Annotated[list[Part] | None, typer.Option(
        "--without", help="Leave this part out: an ablation; may be repeated.")] = None,
    reader: Reader = None,
    recipe: Annotated[Path | None, typer.Option(
        help="Stable Diffusion's U-Net as the prior, frozen: recipes/unirestore_sd_turbo.toml.")] = None,
) -> None:  # fmt: skip
    """Train a restorer for people and machines: all its parts, on a frozen autoencoder. Perception is always a task."""
    parts = [part.value for part in without or []]
    built_in(lambda work, given: work.train_tasks(given, task or [], autoencoder, parts, recipe, reader, minutes,
                                                   work.Lines()),
              out=out, images=images, val=val, samples=samples, seed=seed, resume=resume, rate=rate,
              threads=threads, device=device, license=license)  # fmt: skip


@train_app.command("task")
def train_task(
    name: Annotated[str, typer.Argument(help="classification, reading, or a name of yours with --model.")],
    out: Out,
    restorer: Annotated[Path, typer.Option("--restorer", help="What `rnr train tasks` wrote.")],
    images: Images = None, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    rate: Rate = None, threads: Threads = None, device: Device = "auto", license: License = None,
    minutes: Minutes = None,
    model: Annotated[str | None, typer.Option(
        "--model", metavar="MODULE:NAME", help="Function that returns your network, of classes or of pixels.")] = None,
    labels: Annotated[Path | None, typer.Option(
        help="CSV (file, label) or a folder of masks; without, the clean image is the ground truth.")] = None,
    reader: Reader = None,
) -> None:  # fmt: skip
    """Add a task to a restorer of tasks: its prompt is trained, and nothing else changes."""
    built_in(lambda work, given: work.train_task(given, name, restorer, model, labels, reader, minutes, work.Lines()),
              out=out, images=images, val=val, samples=samples, seed=seed, resume=resume, rate=rate,
              threads=threads, device=device, license=license)  # fmt: skip


@train_app.command("average")
def average(
    weights: Annotated[list[Path], typer.Argument(help="Folders of restorers with the same start, or built-in.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the weights.")],
    val: Val = None,
) -> None:
    """Make one restorer of several: the mean of their weights, often better than any of them."""
    from rnr.work import training

    _show(lambda: training.average_restorers(weights, out, val), out)


def _refuse(options: dict[str, Any], reason: str) -> None:
    """Nothing that was asked for is dropped in silence."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        stop(f"{', '.join(given)}: {reason}")


def built_in(run: Callable[[Any, Any], Path], **settings: Any) -> None:
    """`run` gets the module of the trainings and the settings of one."""
    from rnr.work import training

    if settings["images"] is None:
        stop("name the clean photographs: --images DIR")
    _show(lambda: run(training, training.Training(**settings)), settings["out"])


def _real(
    which: str, recipe: Path | None, model: str | None, source: Path | None, out: Path, resume: bool, device: str = ""
) -> None:
    from rnr.work import training

    if source is None:
        stop("name the data set: --data DIR" if which == "reasoner" else "name the clean photographs: --images DIR")
    report = training.Lines()
    if which == "reasoner":
        _show(lambda: training.finetune_reasoner(recipe, model, source, out, resume, report), out)
    else:
        _show(lambda: training.finetune_restorer(recipe, model, source, out, resume, report, device), out)


def _show(run: Any, out: Path) -> None:
    hush()
    try:
        weights = run()
    except (SetupError, MissingExtra) as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop(f"interrupted; go on with --resume --out {out}", 130)
    plain_stdout(f"weights: {weights}")


@data_app.command("build")
def build_data(
    images: bench.Images,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the data set; the same command goes on there.")],
    samples: Annotated[int, typer.Option(min=1, help="Images in all.")] = 10_000,
    size: Annotated[int, typer.Option(min=128, help="Side of an image, px.")] = 512,
    shard: Annotated[int, typer.Option(min=1, help="Images a shard.")] = 1_000,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    teacher: Annotated[str | None, typer.Option(help="URL of a server whose model describes the scenes.")] = None,
    teacher_model: Annotated[str | None, typer.Option(help="Its name there; the first one by default.")] = None,
) -> None:
    """Write damaged images with their true diagnoses, as parquet shards that `datasets` reads, and a card."""
    from rnr.work import training

    if not teacher:
        _refuse({"--teacher-model": teacher_model}, "goes with --teacher")
    hush()
    try:
        cores = workers or os.cpu_count() or 1
        training.build_data(images, out, samples, size, seed, shard, cores, teacher, teacher_model)
    except SetupError as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop("interrupted; the same command goes on", 130)
    plain_stdout(f"data set: {out}")
