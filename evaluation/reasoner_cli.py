"""The commands of `rnr bench` that measure the reasoner; heavy imports are theirs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rnr.evaluation import command
from rnr.evaluation.options import Folders, Images, Limit, Out, ReasonerName, RestorerName, Resume, Seed, Threads
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer


def predictions(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON file to write.")],
    regions: Annotated[int, typer.Option("--regions", min=1, help="Damaged crops of 128 px to diagnose.")] = 5000,
    reasoner: ReasonerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Write a reasoner's predictions for known damage: the file that `rnr train restorer --confusion` trains with."""
    from rnr.evaluation.predictions import diagnosed, write_predictions

    with command.errors():
        photographs, model = command.photographs(images, limit), load_reasoner(reasoner)
        with command.progress("diagnosing", regions) as report:
            batches = diagnosed(model, list(photographs.values()), regions, seed, report)
        about = {"regions": regions, "seed": seed, "photographs": len(photographs), "kinds": model.kinds}
        rows = write_predictions(batches, out, command.identity(model) | about)
    typer.echo(f"{out}: {sum(map(len, rows.values()))} beliefs of {len(rows)} kinds")


def diagnosis(
    images: Images,
    out: Out,
    mixtures: Annotated[int, typer.Option("--mixtures", min=1, help="Damaged regions per photograph.")] = 8,
    random_weights: Annotated[
        int,
        typer.Option("--random-weights", min=0, help="Instead: how many of N outputs of untrained weights are valid."),
    ] = 0,
    reasoner: ReasonerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the reasoner on mixtures of 0-3 kinds: presence, severity, factors, words, calibration, validity."""
    from rnr.evaluation import diagnosis_run

    started = time.monotonic()
    with command.errors():
        photographs = list(command.photographs(images, limit).values())
        settings = {"images": images.name, "mixtures": mixtures, "limit": limit, "seed": seed}
        if random_weights:
            tables = diagnosis_run.untrained(photographs, random_weights, seed)
            settings |= {"random_weights": random_weights}
        else:
            model = load_reasoner(reasoner)
            tables = diagnosis_run.trained(model, photographs, mixtures, seed, out)
            settings |= command.identity(model)
        command.publish(tables, out, settings, started)


def robustness(
    images: Images,
    out: Out,
    mixtures: Annotated[int, typer.Option("--mixtures", min=1, help="Damaged regions per photograph.")] = 2,
    reasoner: ReasonerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the reasoner on changes that mean nothing, on types outside its training, and on forced evidence."""
    from rnr.evaluation import robustness
    from rnr.evaluation.robustness_edits import edits_table
    from rnr.evaluation.samples import batches
    from rnr.reasoner import Reasoner

    started = time.monotonic()
    with command.errors():
        photographs = list(command.photographs(images, limit).values())
        model, count = load_reasoner(reasoner), mixtures * len(photographs)
        with command.progress("diagnosing", count) as report:
            shown = robustness.looked_at(model, batches(photographs, count, seed, names=model.kinds), report)
        tables = {}
        with command.progress("changed pictures", len(shown)) as report:
            tables["robustness_changes"] = robustness.changes_table(model, shown, report)
        unknown = 1 + len(robustness.strangers(model.kinds))
        with command.progress("unknown damage", unknown * len(photographs)) as report:
            tables["robustness_strangers"] = robustness.strangers_table(model, photographs, seed, report)
        if isinstance(model, Reasoner):  # a server takes no word but its own
            with command.progress("forced evidence", len(shown)) as report:
                tables["robustness_forced"] = robustness.forced_table(model, shown, report)
            with command.progress("edited evidence", len(shown)) as report:
                drawn = batches(photographs, count, seed, names=model.kinds)
                tables["robustness_edits"] = edits_table(model, drawn, report)
            with command.progress("false evidence", len(model.kinds)) as report:
                tables["robustness_false"] = robustness.false_table(model, photographs, report)
        settings = {"images": images.name, "mixtures": mixtures, "limit": limit, "seed": seed} | command.identity(model)
        command.publish(tables, out, settings, started)


def unfamiliar(
    images: Folders,
    out: Out,
    pictures: Annotated[
        list[Path] | None, typer.Option("--pictures", help="Folder of other undamaged images; may be repeated.")
    ] = None,
    drawings: Annotated[int, typer.Option("--drawings", min=0, help="Undamaged graphics to draw from --seed.")] = 500,
    mixtures: Annotated[int, typer.Option("--mixtures", min=0, help="Damaged regions per photograph, for recall.")] = 2,
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    seed: Seed = 1000,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Count undamaged photographs and graphics that come back as they were, and the damage that is found.

    Says, too, how well calibrated the belief is that an image is no photograph.
    """
    from rnr.evaluation import unfamiliar as module
    from rnr.evaluation.robustness import looked_at
    from rnr.evaluation.samples import batches

    started = time.monotonic()
    with command.errors():
        photographs = {folder.name: command.photographs(folder, limit) for folder in images}
        groups = photographs | {folder.name: command.photographs(folder, None) for folder in pictures or []}
        groups |= {module.DRAWN: module.graphics(drawings, seed)} if drawings else {}
        diagnoser, model = load_reasoner(reasoner), load_restorer(restorer)
        settings = command.identity(diagnoser, model) | {"groups": list(groups), "limit": limit, "seed": seed}
        settings |= {"drawings": drawings}
        held = module.journal(out, settings, resume)
        with command.progress("undamaged images", sum(map(len, groups.values()))) as report:
            module.measure(diagnoser, model, groups, held, report)
        tables = {"unfamiliar_harm": module.harm_table(held.rows)}
        shown = []
        if mixtures:
            clean = [photograph for named in photographs.values() for photograph in named.values()]
            count = mixtures * len(clean)
            with command.progress("damaged regions", count) as report:
                shown = looked_at(diagnoser, batches(clean, count, seed, names=diagnoser.kinds), report)
            tables["unfamiliar_recall"] = module.recall_table(shown, diagnoser.kinds)
        damaged = [module.graphic(record) for _, _, record in shown]
        tables["unfamiliar_medium"] = module.medium_table(held.rows, photographs, damaged)
        command.publish(tables, out, settings | {"mixtures": mixtures}, started)


def objects(
    images: Images,
    labels: Annotated[Path, typer.Option("--objects", help="CSV of what they show: recipes/objects.csv.")],
    out: Out,
    reasoner: ReasonerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the words of what photographs show: F1 per word, undamaged and under damage of severity 50."""
    from rnr.degradation.photographs import read_objects
    from rnr.evaluation import objects as module

    started = time.monotonic()
    with command.errors():
        photographs, model = command.photographs(images, limit), load_reasoner(reasoner)
        with command.progress("photographs", len(photographs)) as report:
            tables = {"objects": module.table(model, photographs, read_objects(labels), seed, report)}
        settings = command.identity(model) | {"images": images.name, "limit": limit, "seed": seed}
        command.publish(tables, out, settings, started)


def decoding(
    images: Images,
    out: Out,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Damaged regions to diagnose both ways.")] = 24,
    reasoner: ReasonerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Compare skeleton decoding with grammar-constrained greedy generate: the same tokens, fewer passes, less time.

    With a server's URL as --reasoner: answers kept to the schema against free ones there.
    """
    from rnr.evaluation import decoding, served
    from rnr.evaluation.samples import batches
    from rnr.evaluation.tables import Table
    from rnr.reasoner import Reasoner

    started = time.monotonic()
    with command.errors():
        photographs, model = command.photographs(images, limit), load_reasoner(reasoner)
        way: Any = decoding if isinstance(model, Reasoner) else served
        drawn = batches(list(photographs.values()), pictures, seed, names=model.kinds)
        damaged = [picture for batch in drawn for picture in batch.pictures()][:pictures]
        with command.progress("decoding twice", len(damaged)) as report:
            rows = way.compare(model, damaged, report)
        settings = command.identity(model) | {"images": images.name, "pictures": pictures, "seed": seed}
        tables = {"decoding": way.summary(rows), "decoding_pictures": Table.of("Decoding by picture", rows)}
        command.publish(tables, out, settings, started, silent=["decoding_pictures"])


COMMANDS = (diagnosis, robustness, unfamiliar, objects, decoding)
