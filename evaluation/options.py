"""Options that several commands of `rnr bench` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnr.evaluation import command
from rnr.reasoner.loading import NAMES as REASONERS
from rnr.restorer.loading import NAMES as RESTORERS

Images = Annotated[Path, typer.Option("--images", help="Folder of clean photographs.")]
Folders = Annotated[list[Path], typer.Option("--images", help="Folder of clean photographs; may be repeated.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for tables and plots.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use only the first N photographs.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
ReasonerName = Annotated[str, typer.Option("--reasoner", help=REASONERS)]
RestorerName = Annotated[str, typer.Option("--restorer", help=RESTORERS)]
Threads = Annotated[  # takes effect where it is read
    int | None,
    typer.Option("--threads", min=1, help="CPU threads (all by default).", callback=command.use_threads),
]
Size = Annotated[int, typer.Option("--size", min=0, help="Side of the centre that is used, px; 0 = whole photographs.")]
