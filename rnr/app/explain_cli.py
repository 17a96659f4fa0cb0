"""`rnr explain`, `rnr intervene`, `rnr records` and `rnr bench faithfulness`: their options."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnr.app.batches import models_of
from rnr.app.options import Device, InferenceSteps, Megapixels, Out, Overwrite, ReasonerName, RestorerName, Seed
from rnr.degradation.errors import Error
from rnr.degradation.loading import BUILT_IN
from rnr.degradation.renamed import renamed
from rnr.evaluation import options as bench
from rnr.images.files import MAX_MEGAPIXELS, PictureError
from rnr.work.console import stop
from rnr.work.models import Models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnr.explain.counterfactual import Counterfactual
    from rnr.explain.report import Explanation, Known

Photo = Annotated[Path, typer.Argument(metavar="image", help="An image.", show_default=False)]


def register(app: typer.Typer, bench: typer.Typer) -> None:
    for command in (explain, intervene):
        app.command(cls=renamed(steps="num-inference-steps"))(command)
    app.command()(records)
    bench.command()(faithfulness)


@contextmanager
def _explained() -> Iterator[None]:
    from rnr.work.console import complain

    try:
        yield
    except PictureError as error:
        complain(error)
        raise typer.Exit(1) from None
    except Error as error:
        stop(str(error))


def explain(
    photo: Photo,
    out: Out,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KIND=SEVERITY", help="The image is clean: damage it first, and score attribution."
        ),
    ] = None,
    num_inference_steps: InferenceSteps = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
) -> None:
    """Explain one image: every field with its alternatives, what each finding did to the pixels, dose and response,
    what removing one kind does to the others, which pixels a severity comes from.

    OUT gets NAME.explain.html, one file that needs no network, and NAME.explain.json.
    """
    from rnr.degradation.files import printable
    from rnr.explain.report import as_json
    from rnr.explain.report import explain as explained
    from rnr.images.files import read_picture
    from rnr.reasoner.views import as_uint8
    from rnr.report.plain import explanation
    from rnr.work.console import plain_stdout, stages
    from rnr.work.outputs import prepare_folder, write_text

    with _explained():
        prepare_folder(out, [photo])
        picture = read_picture(photo, max_megapixels)
        pixels, known = as_uint8(picture.pixels_HWC3), None
        if settings:
            pixels, known = _damaged(pixels, settings, seed)
        paths = _free(out, photo.stem, ("explain.html", "explain.json"), overwrite)
        models = models_of(reasoner, restorer, device)
        with stages("loading the models") as tell:
            found: Explanation = explained(
                models.reasoner, models.pipeline, pixels, known, num_inference_steps, seed, tell
            )
        page = explanation(printable(photo.name), "an explanation", found.sentence, found.sections)
        write_text(paths[0], page)
        write_text(paths[1], json.dumps(as_json(found), ensure_ascii=False, indent=1) + "\n")
    plain_stdout(found.sentence)
    plain_stdout(f"Page: {printable(paths[0])}")


def _damaged(pixels: Any, settings: list[str], seed: int) -> tuple[Any, Known]:
    from rnr.degradation.photographs import to_tensor, to_uint8
    from rnr.degradation.synthesize import degrade, prescribe
    from rnr.explain.report import Known
    from rnr.work.degrading import parse_settings

    clean, mixture = to_tensor(pixels), prescribe(parse_settings(settings), seed)
    return to_uint8(degrade(clean, mixture)), Known(clean, mixture)


def intervene(
    photo: Photo,
    out: Out,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KIND.FIELD=VALUE",
            help="Edits: noise.severity=80, noise.sigma=30. Forced: scene.lighting=dark. May be repeated.",
        ),
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=WORDS", help="Force this evidence; all that follows is conditioned on it."),
    ] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="KIND", help="As if it were absent.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="As if all others were absent.")] = None,
    num_inference_steps: InferenceSteps = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Show the counterfactual beside the original: restore by the image's own diagnosis, and by a changed one.

    OUT gets NAME.original.png, NAME.counterfactual.png, NAME.intervene.html and NAME.intervene.json.
    """
    from rnr.degradation.files import printable
    from rnr.explain.counterfactual import intervene as intervened
    from rnr.explain.counterfactual import intervention
    from rnr.images.files import read_picture
    from rnr.work.console import out as console
    from rnr.work.console import plain_stdout, stages
    from rnr.work.outputs import prepare_folder

    with _explained():
        change = intervention(settings or [], evidence or [], without or [], only or [])
        prepare_folder(out, [photo])
        picture = read_picture(photo, max_megapixels)
        names = ("original.png", "counterfactual.png", "intervene.html", "intervene.json")
        paths = _free(out, photo.stem, names, overwrite)
        models = models_of(reasoner, restorer, device)
        with stages("loading the models") as tell:
            pair = (models.reasoner, models.pipeline)
            found = intervened(*pair, picture.as_float(), change, num_inference_steps, seed, tell=tell)
        _write_counterfactual(found, picture.pixels_HWC3, photo, paths, models)
    console.print(found.table(models.reasoner.kinds).rich())
    plain_stdout(f"Page: {printable(paths[2])}")


def _write_counterfactual(found: Counterfactual, pixels: Any, photo: Path, paths: list[Path], models: Models) -> None:
    from PIL import Image

    from rnr.degradation.files import printable, whole
    from rnr.explain.page import Section
    from rnr.reasoner.views import as_uint8
    from rnr.report.plain import explanation
    from rnr.work.models import versions
    from rnr.work.outputs import write_text

    sides = (found.original, found.changed)
    for path, side in zip(paths, sides):
        with whole(path) as part:
            Image.fromarray(as_uint8(side.pixels_HWC3)).save(part, "PNG")
    table = found.table(models.reasoner.kinds)
    section = Section("The counterfactual beside the original", table=table)
    section.show("before", as_uint8(pixels))
    for caption, side in zip(("by its own diagnosis", found.intervention.words()), sides):
        section.show(caption, side.pixels_HWC3)
    difference = (found.changed.pixels_HWC3 - found.original.pixels_HWC3) * 4 + 0.5
    section.show("difference, 4 times amplified", difference)
    sentence = f"Intervention: {found.intervention.words()}."
    write_text(paths[2], explanation(printable(photo.name), "an intervention", sentence, [section]))
    data: dict[str, Any] = {
        "intervention": found.intervention.words(),
        "forced": dict(found.intervention.forced),
        "rows": table.rows,
    }
    data |= {name: side.record.model_dump(mode="json") for name, side in zip(("original", "counterfactual"), sides)}
    data |= {"mean_difference_levels": found.difference, "versions": versions()}
    write_text(paths[3], json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _free(out: Path, stem: str, endings: tuple[str, ...], overwrite: bool) -> list[Path]:
    """The files to write. Raises PictureError for one that exists."""
    paths = [out / f"{stem}.{ending}" for ending in endings]
    for path in paths:
        if path.exists() and not overwrite:
            raise PictureError(path, "already exists", "choose another output folder or allow --overwrite")
    return paths


def records(
    results: Annotated[Path, typer.Argument(help="What `rnr restore` or `rnr diagnose --jsonl` wrote.")],
    to: Annotated[str, typer.Option("--to", help="Jsonl, parquet, hf (a data set with images), inspect (a log).")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File or folder to write.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, for hf and inspect.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write records as one flat table with fixed types: JSON lines, parquet, a Hugging Face data set with images; or
    as a log that inspect_ai opens."""
    from rnr.degradation.files import printable
    from rnr.view.records import export
    from rnr.work.console import plain_stdout

    with _explained():
        path, count = export(results, to, out, images, overwrite)
    plain_stdout(f"{printable(path)}: {count} records")


def faithfulness(
    images: bench.Images,
    out: bench.Out,
    tests: Annotated[str | None, typer.Option("--tests", help="Comma-separated; all by default.")] = None,
    cases: Annotated[int, typer.Option("--cases", min=6, help="Minimal pairs of damaged crops.")] = 48,
    size: Annotated[int, typer.Option("--size", min=128, help="Side of the crops, px.")] = 144,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    limit: bench.Limit = None,
    seed: bench.Seed = 0,
    threads: bench.Threads = None,
) -> None:
    """Test whether the chain of thought causes the numbers, and the numbers the pixels. Each figure has n, a bootstrap
    95% interval and a negative control; the tests themselves are tested first, on synthetic reasoners.

    Definitions, sources and what others report: docs/explain.md.
    """
    import time

    from rnr.evaluation import command
    from rnr.explain.bench import ALL, Bench
    from rnr.explain.figures import table
    from rnr.reasoner import load_local
    from rnr.restorer import load_bridge

    started = time.monotonic()
    with command.errors(), _explained():
        names = command.chosen(tests, ALL)
        photographs, model, pipe = command.photographs(images, limit), load_local(reasoner), load_bridge(restorer)
        bench = Bench(model, pipe, photographs, cases, seed, command.progress, size)
        figures = [figure for name in ALL if name in names for figure in bench.test(name)]
        settings = command.identity(model, pipe) | {"images": images.name, "limit": limit, "cases": cases}
        settings |= {"tests": names, "seed": seed, "size": size}
        note = "low, high: bootstrap 95% interval over crops. control: the same figure where nothing is to be found."
        command.publish({"faithfulness": table("Faithfulness", figures, note)}, out, settings, started)
