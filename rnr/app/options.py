"""Options of the command line that several commands have: declared once, they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnr.evaluation.options import ReasonerName, RestorerName, Seed
from rnr.images.frames import Which
from rnr.quality.loading import NAMES as SCORERS

__all__ = ["ReasonerName", "RestorerName", "Seed"]  # as `rnr bench` has them
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if it is not there.")]
Megapixels = Annotated[float, typer.Option(min=0, help="Refuse larger images (decompression bombs).")]
QualityBy = Annotated[
    str | None,
    typer.Option("--scorer", help=f"Let this give the quality in each diagnosis, not the reasoner: {SCORERS}"),
]
ScorerName = Annotated[str, typer.Option("--scorer", help=SCORERS)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="What the restorer computes in: bf16 is twice as fast where the processor has units for it."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
InferenceSteps = Annotated[
    int | None,
    typer.Option(
        "--num-inference-steps",
        min=1,
        max=100,
        help="Built-in: 1 is nearest to the clean image, 2-8 give more texture.",
        show_default="1",
    ),
]
Unreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Files in folders that cannot be read are no failure (exit code 0).")
]
WhichFrames = Annotated[
    Which, typer.Option("--frames", help="Of a file with several pages or frames: all of them, or the first.")
]
Quality = Annotated[
    float | None,
    typer.Option(
        "--quality",
        metavar="0..100",
        help="Score that the result is to have; for a latent restorer, or with --quality-adapter (docs/latent.md).",
    ),
]
QualityAdapter = Annotated[
    Path | None,
    typer.Option("--quality-adapter", metavar="FILE", help="Lets the experts be asked for --quality (docs/latent.md)."),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="NAME", help="What the result is for: perception, classification, reading (docs/tasks.md)."
    ),
]
Unified = Annotated[
    str | None, typer.Option("--unified", metavar="FOLDER", help="A pair that `rnr train unified` wrote, for both.")
]
Instruct = Annotated[
    str | None,
    typer.Option("--instruct", metavar="WORDS", help='What is to go: "only remove the rain, keep the mist".'),
]
Strengths = Annotated[
    list[str] | None,
    typer.Option(
        "--strength", metavar="[KIND=]0..100", help="How far to go: 0 leaves the image as it is. May be repeated."
    ),
]
