"""What people install: the sdist, the wheel made of it, in an environment that knows no checkout, beside files that are
called as our rooms are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image

import rnr

pytestmark = pytest.mark.deploy
ROOT = Path(__file__).parents[1]
THEIRS = ("prompts", "graph", "rl", "evaluation", "degradation", "judge", "reasoner", "restorer", "training")
PROGRAM = """
import sys, graph, rl, prompts
assert graph.MINE and rl.MINE and prompts.MINE
import rnr.app.cli
assert rnr.__file__.startswith(sys.prefix), rnr.__file__
for arguments in (
    ["diagnose", "photo.png", "--jsonl"],
    ["restore", "photo.png", "-o", "restored", "--only", "noise"],
    ["agent", "photo.png", "-o", "agent", "--strategy", "one-pass"],
):
    rnr.app.cli.app([*arguments, "--device", "cpu"], standalone_mode=False)
"""


def run(*command: Any, cwd: Path, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the sdist of the files that git knows. Without isolation: the build backend is that of this environment."""
    root = tmp_path_factory.mktemp("wheel")
    for name in run("git", "ls-files", cwd=ROOT).splitlines():
        (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / "src" / name, follow_symlinks=False)
    build = "from setuptools import build_meta; print(build_meta.build_sdist('..'))"
    sdist = root / run(sys.executable, "-c", build, cwd=root / "src").splitlines()[-1]
    with tarfile.open(sdist) as archive:
        assert not any(member.name.endswith((".pyc", ".sqlite")) for member in archive)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", root, sdist, cwd=root)
    return next(root.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a bare environment that holds the wheel. It finds the requirements in this environment (a path in a .pth file;
    that environment's own .pth files, and so its editable install of ours, are not read)."""
    root = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", root, cwd=root)
    python = root / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=root).strip())
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=root)
    return python


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, np.ndarray]) -> Path:
    """A user's own folder: a noisy photograph, and modules whose names are those of our rooms."""
    for name in THEIRS:
        (tmp_path / f"{name}.py").write_text("MINE = True\n")
    crop = photographs["astronaut"][60:188, 160:288]
    noisy = np.clip(crop + np.random.default_rng(0).normal(0, 40, crop.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photo.png")
    return tmp_path


def test_the_wheel_holds_rnr_alone_with_all_that_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"rnr"}
    ours = set(run("git", "ls-files", cwd=ROOT).splitlines())
    inside = {path.readlink().name: f"rnr/{path.name}" for path in (ROOT / "rnr").iterdir() if path.is_symlink()}
    split = [name.partition("/") for name in ours if "/" in name and name not in inside.values()]
    wanted = {f"{inside.get(top, top)}/{rest}" for top, _, rest in split if top in {"rnr", *inside}}
    assert len(wanted) > 200 and wanted <= set(names)


def test_the_metadata_are_good_and_name_both_licences(wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, cwd=wheel.parent)
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(info).decode()
    assert f"Version: {rnr.__version__}\n" in metadata and "License-File: WEIGHTS-NOTICE.md\n" in metadata
    assert "License-Expression: Apache-2.0 AND LicenseRef-Weights\n" in metadata
    assert any(name.endswith("licenses/WEIGHTS-NOTICE.md") for name in archive.namelist())


def test_diagnose_restore_and_agent_beside_a_users_own_modules(python: Path, folder: Path) -> None:
    said = run(python, "-c", PROGRAM, cwd=folder)
    assert "noise" in json.loads(said.splitlines()[0])["diagnosis"]["plan"]
    for name in ("restored", "agent"):
        before, after = (np.asarray(Image.open(path / "photo.png")) for path in (folder, folder / name))
        assert before.shape == after.shape and not np.array_equal(before, after)
        assert (folder / name / "report.html").is_file()


def test_mcp_beside_a_users_own_modules(python: Path, folder: Path) -> None:
    from mcp import Client, StdioServerParameters

    async def main() -> None:
        options = ["-m", "rnr", "mcp", ".", "-o", "out", "--device", "cpu", "--workers", "1", "--threads", "1"]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        server = StdioServerParameters(command=str(python), args=options, env=env, cwd=str(folder))
        async with Client(server, read_timeout_seconds=200) as client:
            seen = await client.call_tool("diagnose", {"picture": "photo.png"})
            assert not seen.is_error and "noise" in seen.structured_content["present"]

    anyio.run(main)


def test_the_weights_of_the_wheel_are_those_of_its_record(python: Path, folder: Path) -> None:
    assert "all are whole, and the hashes of" in run(python, "-m", "rnr", "weights", "--check", cwd=folder)
