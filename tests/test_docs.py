"""The documents: links lead somewhere, commands have the options that are written, code runs, the README is short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CURRENT = [page for page in PAGES if page.name not in ("lab-log.md", "CHANGELOG.md")]  # those tell of the past, too
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
WORDS = 700


def fences(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path):
    missing = [
        link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).resolve().exists()
    ]
    assert not missing


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= WORDS


def commands(page: Path) -> list[list[str]]:
    """The words of each line of a shell block that calls rnr, up to a comment or a pipe."""
    lines = [line for block in fences(page, "") for line in block.splitlines()]
    words = [shlex.split(line.split(" | ")[0], comments=True) for line in lines if re.match(r"(\S*/)?rnr ", line)]
    return [found[1:] for found in words]


@pytest.mark.parametrize("page", [page for page in CURRENT if commands(page)], ids=lambda page: page.name)
def test_commands_have_the_options_that_are_written(page: Path):
    import typer

    from rnr.app.cli import app

    root = typer.main.get_command(app)
    for words in commands(page):
        command, rest = root, list(words)
        while hasattr(command, "commands"):
            assert rest and rest[0] in command.commands, f"no such command: rnr {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        written = {word.split("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert written <= known, f"rnr {' '.join(words)}"


@pytest.mark.parametrize("name", ["docs/concepts.md", "docs/diagnosis.md", "rnr/api.py"])
def test_the_documented_threshold_of_findings_is_the_codes(name: str):
    from rnr.restorer.condition import CONFIDENT

    written = re.findall(r"P\(present\) below (\d\.\d+)", (ROOT / name).read_text(encoding="utf-8"))
    assert written and {float(value) for value in written} == {CONFIDENT}


@pytest.mark.parametrize("name", ["README.md", "docs/agent.md"])
def test_python_blocks_run(name: str, tmp_path: Path, photographs: dict[str, np.ndarray], monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph = Image.fromarray(photographs["coffee"][:128, :160]).point([value // 6 for value in range(256)] * 3)
    photograph.save("photo.jpg", quality=95)
    photograph.save("photo.png")
    scope: dict = {}
    blocks = [block for block in fences(ROOT / name, "python") if "postgresql://" not in block]  # which needs a server
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), scope)
