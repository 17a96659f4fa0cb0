"""The notebook runs from its first cell to its last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "intervene.ipynb"


@pytest.mark.slow  # 60 passes through the built-in pair
def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert len(names["rows"]) == len(names["words"]) and names["probe"].score.n == 30
    assert names["gradient"].pixels_HWC.shape == names["photo"].shape
    last = names["patched"][names["run"].layers]["noise.present"]
    assert last < names["run"].expected_severity("noise")  # the clean picture's answer
    said = capsys.readouterr().out
    assert "shuffled labels" in said and "without noise" in said


def test_the_notebook_holds_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
