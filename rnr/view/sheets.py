"""The sheets of an rl run: `samples/step-*.png`, rows of (damaged, restored, clean) of the first held-out pictures."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnr.view.items import Held

SHEETS = "samples/step-*.png"
COLUMNS = {"before": 0, "after": 1, "clean": 2}


def pictures_of(folder: Path, place: int) -> dict[str, Held]:
    """The pictures of the held-out picture at this place, of the last evaluation; empty where no sheet shows it."""
    from PIL import Image

    sheets = sorted(folder.glob(SHEETS))
    if not sheets:
        return {}
    with Image.open(sheets[-1]) as sheet:
        rows = round(sheet.height / (sheet.width / len(COLUMNS)))  # tasks are square
    if place >= rows:
        return {}
    return {role: (sheets[-1], partial(_cell, row=place, column=column, rows=rows)) for role, column in COLUMNS.items()}


def _cell(path: Path, row: int, column: int, rows: int) -> bytes:
    from PIL import Image

    with Image.open(path) as sheet:
        width, height, out = sheet.width // len(COLUMNS), sheet.height // rows, io.BytesIO()
        sheet.crop((column * width, row * height, (column + 1) * width, (row + 1) * height)).save(out, "PNG")
    return out.getvalue()
