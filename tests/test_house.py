"""The house itself: which room imports which, what that costs, what is declared, where the documents point."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rnr

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# A room may import those named beside it, and nothing above it.
BELOW = {
    "degradation": set(),
    "prompts": {"degradation"},
    "training": {"degradation", "prompts"},
    "reasoner": {"degradation", "prompts", "training"},
    "restorer": {"degradation", "prompts", "training"},
    "quality": {"degradation", "prompts", "training", "reasoner"},
    "judge": {"degradation", "prompts", "training", "reasoner", "restorer", "quality"},
    "graph": {"degradation", "prompts", "reasoner", "restorer", "quality", "judge"},
    "evaluation": {"degradation", "prompts", "training", "reasoner", "restorer", "quality", "judge", "graph"},
    "explain": {"degradation", "prompts", "training", "reasoner", "restorer", "quality", "judge", "evaluation"},
    "rl": {"degradation", "prompts", "training", "reasoner", "restorer", "quality", "judge", "evaluation", "explain"},
    "unified": {
        *("degradation", "prompts", "training", "reasoner", "restorer", "quality", "judge", "evaluation", "explain"),
    },
    "rnr": {
        *("degradation", "prompts", "training", "reasoner", "restorer", "quality", "judge", "graph", "explain"),
        *("evaluation", "rl", "unified"),
    },
}
ROOMS = list(BELOW)
FRONT = ["images", "report", "work", "serve", "view", "app"]  # rooms in rnr/; each may import those before it


def package(room: str) -> str:
    return room if room == "rnr" else f"rnr.{room}"


ASKED_FOR = {"torchvision", "vllm", "ray", "qwen_vl_utils", "pi_heif", "pylibjxl"}


def imports(room: str) -> Iterator[tuple[Path, str]]:
    """(file, module) of every import statement of a room, also those inside functions: a room of ours by its name,
    another package by its top-level name; `from rnr import prompts` is room `prompts`."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, place(alias.name)) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [alias.name for alias in node.names] if node.module == "rnr" else [""]
                yield from ((path, place(f"{node.module}.{name}")) for name in names)


def place(module: str) -> str:
    first, _, rest = module.partition(".")
    second = rest.partition(".")[0]
    return second if first == "rnr" and second in ROOMS else first


def declared() -> dict[str, Requirement]:
    """All requirements of the project and its extras, by canonical name."""
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts) if r.name != PROJECT["name"]}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_package_is_a_room_of_the_house() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    inside = {f"rnr.{path.parent.name}" for path in ROOT.glob("rnr/*/__init__.py") if not path.parent.is_symlink()}
    inside |= {
        f"rnr.{room}.{path.parent.name}" for room in set(ROOMS) - {"rnr"} for path in ROOT.glob(f"{room}/*/__init__.py")
    }
    assert packages == set(ROOMS) and set(map(package, ROOMS)) | inside == set(setuptools["packages"])
    links = {path.name: path.readlink() for path in (ROOT / "rnr").iterdir() if path.is_symlink()}
    assert links == {name: Path("..", name) for name in {*ROOMS, "recipes"} - {"rnr"}}


@pytest.mark.parametrize("room", [room for room in BELOW if room != "rnr"])
def test_a_room_has_one_import_name(room: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and f"ImportError: `import rnr.{room}`, not `import {room}`" in done.stderr


def test_all_errors_of_ours_have_one_base() -> None:
    from rnr.degradation.errors import DiagnosisError, MissingExtra, SetupError
    from rnr.graph import StoreError, ThreadError
    from rnr.graph.state import ContextError
    from rnr.images.codecs import Refused
    from rnr.images.files import SkippedFile
    from rnr.reasoner.chat import ServerError
    from rnr.serve.errors import ServiceError

    found = [MissingExtra, StoreError, ThreadError, ServerError, Refused, rnr.SetupError, rnr.PictureError]
    found += [ServiceError, DiagnosisError, SkippedFile, ContextError, SetupError]
    assert all(issubclass(error, rnr.Error) for error in found)
    named = {node.name for room in ROOMS for path in (ROOT / room).rglob("*.py") for node in exceptions(path)}
    signals = {"Cancelled"}  # as KeyboardInterrupt: no error
    assert named - signals == {"Error", *(error.__name__ for error in found)}


def exceptions(path: Path) -> Iterator[ast.ClassDef]:
    """The classes of a module that are raised, by the name of a base."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and any(re.search(r"(Error|Exception)$", ast.unparse(b)) for b in node.bases):
            yield node


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_downwards(room: str) -> None:
    above = set(ROOMS) - BELOW[room] - {room}
    assert {f"{path.relative_to(ROOT)}: {name}" for path, name in imports(room) if name in above} == set()


@pytest.mark.parametrize("room", FRONT)
def test_imports_inside_the_front_door_point_downwards(room: str) -> None:
    assert set(FRONT) == {path.parent.name for path in ROOT.glob("rnr/*/__init__.py") if not path.parent.is_symlink()}
    above = {*FRONT[FRONT.index(room) + 1 :], "api", "agent_api"}
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "rnr" / room).glob("*.py")}
    upwards = {name: set(re.findall(r"rnr\.(\w+)", text)) & above for name, text in texts.items()}
    assert upwards == dict.fromkeys(texts, set())


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_hides_a_public_name(room: str) -> None:
    # `import room.name` would put the module where the function stood.
    modules = {path.stem for path in (ROOT / room).glob("*.py")}
    assert modules & set(getattr(importlib.import_module(package(room)), "__all__", ())) == set()


def test_importing_all_rooms_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "diffusers", "langgraph"} | ASKED_FOR
    program = f"import sys, {', '.join(map(package, ROOMS))}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_what_few_have_is_imported_where_it_is_asked_for() -> None:
    found = set()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {f"{path.relative_to(ROOT)}: {name}" for name in named if name.split(".")[0] in ASKED_FOR}
    assert found == set()


def test_what_is_imported_is_declared() -> None:
    owners = metadata.packages_distributions()
    names = declared().keys()
    missing = set()
    for path, module in ((path, module) for room in ROOMS for path, module in imports(room)):
        distributions = {canonicalize_name(name) for name in owners.get(module, [module])}
        if module not in sys.stdlib_module_names and module not in ROOMS and not distributions & names:
            missing.add(f"{path.relative_to(ROOT)}: {module}")
    assert missing == set()


def test_the_constraints_pin_every_requirement_within_its_range() -> None:
    versions, extras = pinned(), PROJECT["optional-dependencies"]
    # qwen goes by the installed torch, postgres needs a server, ray, heif and jxl are tested where they are installed,
    # vllm pins another torch
    left_out = ("qwen", "postgres", "ray", "heif", "jxl", "trackers", "vllm")
    untested = [Requirement(text) for extra in left_out for text in extras[extra]]
    for name, requirement in declared().items():
        if requirement not in untested:
            assert requirement.specifier.contains(versions[name]), f"{requirement} against {versions[name]}"


def test_what_make_test_leaves_out_as_slow_runs_for_every_change_and_every_week() -> None:
    weekly, every_change = ((ROOT / path).read_text() for path in (".github/workflows/weekly.yml", ".ci/run"))
    assert "run: make test-slow" in weekly and "schedule:" in weekly and "make test-slow" in every_change.splitlines()
    rule = (ROOT / "Makefile").read_text().partition("\ntest-slow:")[2].partition("\n\n")[0]
    assert "pytest -m slow" in rule


def test_changelog_and_citation_know_the_version() -> None:
    assert f"## {rnr.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {rnr.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document", sorted(p.relative_to(ROOT).as_posix() for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
)
def test_the_documents_point_to_files_that_exist(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not re.match(r"\w+:", link) and not (path.parent / link).exists()] == []
