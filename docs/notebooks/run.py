"""Runs notebooks and keeps their outputs, small: `python docs/notebooks/run.py docs/notebooks/*.ipynb`.

Needs no Jupyter: a cell is Python, what it prints is kept, and of its last expression the text or the image.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

WIDEST = 640  # px of an image that is kept


def run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The notebook with its outputs, and the names that it leaves."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    code = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    for count, cell in enumerate(code, 1):
        cell["outputs"] = outputs("".join(cell["source"]), f"{path.name} [{count}]", names, count)
        cell["execution_count"] = count
    return notebook, names


def outputs(source: str, where: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        found.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None:
        found.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": shown(value)})
    return found


def shown(value: Any) -> dict[str, Any]:
    from PIL import Image

    if not isinstance(value, Image.Image):
        return {"text/plain": repr(value).splitlines(keepends=True)}
    small, file = value.convert("RGB"), io.BytesIO()
    small.thumbnail((WIDEST, WIDEST))
    small.save(file, "JPEG", quality=80)
    text = f"<image {small.width} x {small.height}>"
    return {"image/jpeg": base64.b64encode(file.getvalue()).decode(), "text/plain": [text]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for path in [Path(argument).resolve() for argument in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:  # what a notebook writes is not kept
            os.chdir(folder)
            notebook, _ = run(path)
            os.chdir(path.parent)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path.name)
