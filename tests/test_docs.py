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
INLINE = re.compile(r"(?<!`)`((?:[^`\s]*/)?rnr [^`]+)`(?!`)")
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
    """The words of each line of a shell block and of each piece of code in a sentence that calls rnr, up to a comment
    or a pipe."""
    lines = [line for block in fences(page, "") for line in block.splitlines()]
    lines += [line.replace("\n", " ") for line in INLINE.findall(page.read_text(encoding="utf-8"))]
    words = [shlex.split(line.split(" | ")[0], comments=True) for line in lines if re.match(r"(\S*/)?rnr ", line)]
    return [found[1:] for found in words]


@pytest.mark.parametrize("page", [page for page in CURRENT if commands(page)], ids=lambda page: page.name)
def test_commands_have_the_options_that_are_written(page: Path):
    import typer

    from rnr.app.cli import app

    root = typer.main.get_command(app)
    for words in commands(page):
        command, rest = root, list(words)
        while rest and hasattr(command, "commands"):  # `rnr bench` alone names a group
            assert rest[0] in command.commands, f"no such command: rnr {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        written = {word.split("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)} - {"--help"}
        assert written <= known, f"rnr {' '.join(words)}"


@pytest.mark.parametrize("name", ["docs/concepts.md", "docs/diagnosis.md", "rnr/api.py"])
def test_the_documented_threshold_of_findings_is_the_codes(name: str):
    from rnr.restorer.condition import CONFIDENT

    written = re.findall(r"P\(present\) below (\d\.\d+)", (ROOT / name).read_text(encoding="utf-8"))
    assert written and {float(value) for value in written} == {CONFIDENT}


SHOWN = {  # blocks with these words are not run, and why
    "postgresql://": "needs a server",
    "GRPOTrainer(": "a piece of examples/grpo_reasoner.py, which tests/rl runs",
    "nnsight": "changes all objects of its process; tests/explain/test_nnsight.py runs it in one of its own",
    "runs/codes/weights": "weights that a training makes; tests/restorer/latent runs the same on small ones",
    "runs/adapter/": "a file that a training makes; tests/restorer/latent runs the same on a small one",
    "runs/tasks/weights": "weights that a training makes; tests/restorer/latent runs the same on small ones",
    "runs/unified2/weights": "weights that a training makes; tests/unified runs the same on small ones",
}
WITH_CODE = [page for page in CURRENT if fences(page, "python")]


def given(photograph: Image.Image) -> dict[str, object]:
    """What a page speaks of and does not make: another photograph, hidden states of many."""
    rng = np.random.default_rng(0)
    return {
        "another_photo": np.asarray(photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "features": rng.normal(size=(20, 8)),
        "severities": list(range(20)),
    }


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, photographs: dict[str, np.ndarray], monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph = Image.fromarray(photographs["coffee"][:128, :160]).point([value // 6 for value in range(256)] * 3)
    photograph.save("photo.jpg", quality=95)
    photograph.save("photo.png")
    scope = given(photograph)
    for block in fences(page, "python"):
        if not any(words in block for words in SHOWN):
            exec(compile(block, page.name, "exec"), scope)


def test_every_block_that_is_only_shown_has_its_reason():
    blocks = [block for page in WITH_CODE for block in fences(page, "python")]
    assert all(any(words in block for block in blocks) for words in SHOWN)


def test_the_reward_and_the_judge_of_the_guide_work(photographs: dict[str, np.ndarray]):
    import torch

    from rnr.reasoner import load_local
    from rnr.rl import Judge

    scope: dict = {}
    for block in fences(ROOT / "docs" / "rewards-and-judges.md", "python"):
        exec(compile(block, "rewards-and-judges.md", "exec"), scope)
    image = torch.from_numpy(photographs["coffee"][:128, :160].copy()).permute(2, 0, 1) / 255
    assert scope["contrast"]([""], [image], [image / 2]) == [pytest.approx(float(image.std()) / 2)]
    reasoner = load_local()
    plain, calm = Judge(reasoner).severities(image), scope["Calm"](reasoner).severities(image)
    assert plain and calm == [{kind: s if s >= 10 else 0.0 for kind, s in view.items()} for view in plain]
    assert calm != plain


def test_the_diagnosis_that_is_shown_is_one():
    from rnr.degradation import Diagnosis
    from rnr.degradation.kind import kind_named

    (block,) = fences(ROOT / "docs" / "diagnosis.md", "json")
    shown = Diagnosis.from_json(f'{{"findings": {block}}}')
    assert list(shown.findings["noise"].factors) == [factor.name for factor in kind_named("noise").factors]
