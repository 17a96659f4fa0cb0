"""Options of the command line that several commands have: declared once, they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if it is not there.")]
Megapixels = Annotated[float, typer.Option(min=0, help="Refuse larger pictures (decompression bombs).")]
ReasonerName = Annotated[
    str,
    typer.Option("--reasoner", help="built-in, a weights folder, a hub name, a server's URL, vllm:FOLDER, a .toml."),
]
RestorerName = Annotated[
    str, typer.Option("--restorer", help="built-in, a weights folder, a hub name, a recipe (.toml).")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
