"""The notebooks run from their first cell to their last, and hold what was seen, small."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
LARGEST = 200_000  # bytes, outputs included
SEEN = {  # of each: what must be true of the names that it leaves
    "restore": lambda names: names["quality"](names["result"].pixels_HWC3) > names["quality"](names["damaged"]) + 3,
    "faithfulness": lambda names: 0 <= names["share"] < 1 and len(names["rows"]) == len(names["cases"]),
    "grpo": lambda names: sum("reward" in row for row in names["trainer"].state.log_history) == 3,
    "agent": lambda names: "__interrupt__" not in names["state"] and names["result"].story,
    "train": lambda names: names["young"].kinds,
}


def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook_runner", NOTEBOOKS / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # each loads the built-in pair and takes 15 to 40 s of one core
@pytest.mark.parametrize("name", SEEN)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, names = runner().run(NOTEBOOKS / f"{name}.ipynb")
    assert SEEN[name](names)


@pytest.mark.parametrize("name", SEEN)
def test_a_notebook_holds_what_was_seen(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds and kinds <= {"stream", "execute_result"} and path.stat().st_size <= LARGEST
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))


def test_the_runner_keeps_what_a_cell_prints_and_its_last_value() -> None:
    names: dict[str, Any] = {}
    first, second = runner().outputs("a = 2\nprint(a)\na + 1", "cell", names, 1)
    assert first["text"] == ["2\n"] and second["data"] == {"text/plain": ["3"]} and names == names | {"a": 2}
    assert runner().outputs("a", "cell", {"a": None}, 1) == []
