"""A name follows from the picture, not from the batch: whatever joins later, every picture is done once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.work.naming import plan
from rnr.work.outputs import LONGEST, place_of

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> list[Path]:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(name)
    return [Path(name) for name in names]


CASES: list[tuple[list[str], list[str], list[str]]] = [
    (["in/x.png", "in/y.png"], ["in"], ["x", "y"]),
    (["in/sub/x.png", "in/x.png"], ["in"], ["sub/x", "x"]),
    (["in/x.png", "in/x.bmp"], ["in"], ["x.png", "x.bmp"]),
    (["jan/x.png", "feb/x.png"], ["jan", "feb"], ["jan/x", "feb/x"]),
    (["jan/x.png", "feb/x.png"], ["jan/x.png", "feb/x.png"], ["jan/x", "feb/x"]),  # named outright
    (["jan/x.png", "feb/y.png"], ["jan", "feb"], ["x", "y"]),
    (["in/x.gif", "in/x.png"], ["in"], ["x.gif", "x.png"]),  # a GIF's result is a PNG
    (["in/sub/x.png"], ["in/*/*.png"], ["sub/x"]),
]


@pytest.mark.parametrize(("sources", "arguments", "names"), CASES)
def test_a_name_is_the_path_below_what_was_named(
    folder: Path, sources: list[str], arguments: list[str], names: list[str]
) -> None:
    found = make(*sources)
    assert [job.name for job in plan(found, arguments)] == names
    assert [job.name for job in plan(found[::-1], arguments)] == names[::-1]


@pytest.mark.parametrize("others", [(), ("in/z.png",), ("in/sub/x.png", "in/w.jpg")])
def test_a_name_does_not_follow_from_the_batch(folder: Path, others: tuple[str, ...]) -> None:
    picture, *rest = make("in/x.png", *others)
    assert plan([*rest, picture], ["in"])[-1].name == "x"


def test_no_two_pictures_share_a_file(folder: Path) -> None:
    found = make("a/b/x.png", "b/x.png", "c/a/b/x.png", "c/b/x.png", "a/b/X.png", "d/x.png.jpg", "d/x.png", "d/x.gif")
    jobs = plan(found, ["a/b", "b", "c/a/b", "c/b", "d"])
    claims = [claim for job in jobs for claim in job.claims]
    assert len(claims) == len(set(claims))
    assert not any(part == ".." for job in jobs for part in Path(job.name).parts)
    outside = Path("in", "..", "b", "x.png")
    assert plan([outside], ["in/*/../../*"])[0].name == "x"


def test_a_stem_may_be_as_long_as_a_file_name(folder: Path) -> None:
    for stem in ("x" * 251, "é" * 125, "写" * 83):
        (job,) = plan(make(f"{stem}.png"))
        assert len(os.fsencode(job.record(Path()).name)) <= LONGEST and job.file == f"{stem}.png"
        assert job.record(Path()) == plan([Path(f"{stem}.png")])[0].record(Path())


def contents(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("report")}


def test_what_joins_later_is_done_once_and_nothing_is_done_twice(folder: Path, cli: Cli, nothing_found: Path) -> None:
    def run(*arguments: str, done: int, before: int) -> None:
        code, stdout, stderr = cli("restore", *arguments, "-o", "out", "--resume", "--diagnosis", nothing_found)
        assert code == 0 and stdout.startswith(f"{done} left as found"), stderr
        assert (f"({before} of them before)" in stdout) == bool(before)
        now = contents(Path("out"))
        assert {name: now[name] for name in held} == held  # nothing renamed, nothing written again
        held.update(now)

    held: dict[str, bytes] = {}
    make("in/IMG_1.jpg", "in/b.png", f"in/{'x' * 251}.png")
    run("in", done=3, before=0)
    make("in/IMG_1.png", "in/b.bmp", "in/sub/b.png")
    run("in", "-r", done=6, before=3)
    make("feb/b.png", "feb/IMG_1.png")
    run("in", "feb", "-r", done=8, before=6)
    run("feb", done=2, before=2)
    run("in/b.bmp", "feb/b.png", "in", "-r", done=7, before=7)
    assert {name for name in held if name.endswith((".png", ".jpg", ".bmp"))} == {
        "IMG_1.jpg", "IMG_1.png", "b.png", "b.bmp", "sub/b.png", "feb/b.png", "feb/IMG_1.png", f"{'x' * 251}.png"
    }  # fmt: skip


def test_a_folder_that_moved_is_known_again(folder: Path, cli: Cli, nothing_found: Path) -> None:
    make("in/a.png")
    command = "-o", "out", "--resume", "--diagnosis", nothing_found
    assert cli("restore", "in", *command)[0] == 0
    data = json.loads(Path("out/a.diagnosis.json").read_text())
    assert data["source"]["place"] == place_of(Path("in/a.png")) and str(folder) not in json.dumps(data)
    Path("in").rename("moved")
    assert "(1 of them before)" in cli("restore", "moved", *command)[1]
