"""What the site shows besides docs/*.md: the README as its first page, files of the repository that pages link to,
notebooks with their outputs, and a page per room with its public names. Nothing here imports the project."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
API = (
    *("rnr", "degradation", "judge", "reasoner", "restorer", "quality", "graph", "explain", "rl", "evaluation"),
    "training",
    "unified",
)
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(#[^)\s]*)?(?=\))")
SHOWN = {".py": "python", ".toml": "toml", ".yml": "yaml", ".ipynb": "", ".md": "", "": "text", ".csv": "text"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    waiting = {"README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())}
    waiting |= {f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
    done: set[str] = set()
    while waiting - done:
        path = min(waiting - done)
        done.add(path)
        if not files.get_file_from_path(place(path)):
            files.append(File.generated(config, place(path), content=page(path)))
        if path.endswith(".md"):
            waiting |= {target for target in targets(path) if not inside(target)}
    for room in API:
        files.append(File.generated(config, f"api/{room}.md", content=reference(room)))
    for file in files:
        if file.src_uri.endswith(".ipynb"):
            file.inclusion = file.inclusion.EXCLUDED  # shown as a page
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    path = origin(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(path), match[1]))
        if not (ROOT / target).is_file():
            return match[0]
        return os.path.relpath(place(target), os.path.dirname(page.file.src_uri)) + (match[2] or "")

    return LINK.sub(moved, markdown)


def inside(path: str) -> bool:
    """A file that mkdocs takes by itself."""
    return path.startswith("docs/") and not path.endswith(".ipynb")


def place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path == "README.md":
        return "index.md"
    if inside(path):
        return path.removeprefix("docs/")
    return f"source/{path}" + ("" if path.endswith(".md") else ".md")


def origin(uri: str) -> str:
    """The file of the repository that a page shows; the reverse of `place`."""
    if uri == "index.md":
        return "README.md"
    if not uri.startswith("source/"):
        return f"docs/{uri}"
    path = uri.removeprefix("source/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def targets(path: str) -> set[str]:
    """Files of the repository that a page links to."""
    links = (match[1] for match in LINK.finditer((ROOT / path).read_text(encoding="utf-8")))
    found = {os.path.normpath(os.path.join(os.path.dirname(path), link)) for link in links}
    return {target for target in found if (ROOT / target).is_file()}


def page(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    if path.endswith(".ipynb"):
        return notebook(json.loads(text)["cells"])
    return f"# `{path}`\n\n{fence(text, SHOWN.get(Path(path).suffix, 'text'))}"


def fence(text: str, language: str = "text") -> str:
    return f"````{language}\n{text.rstrip()}\n````\n"


def notebook(cells: list[dict[str, Any]]) -> str:
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else fence(source, "python"))
        parts += [output(one) for one in cell.get("outputs", [])]
    return "\n\n".join(parts)


def output(one: dict[str, Any]) -> str:
    data = one.get("data", {"text/plain": one.get("text", "")})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="output of the cell above" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
    return fence("".join(data.get("text/plain", "")))


def reference(room: str) -> str:
    """A directive for mkdocstrings per public name, read from the table of lazy names in the room's __init__.py."""
    package = "rnr" if room == "rnr" else f"rnr.{room}"
    tree = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 2]
    table = next(ast.literal_eval(call.args[1]) for call in calls if getattr(call.func, "id", "") == "lazy_names")
    names = sorted((name, module) for module, found in table.items() for name in found)
    said = ast.get_docstring(tree) or ""
    intro = said if room != "rnr" else said.partition("\n")[0]
    head = f"# `{package}`\n\n{intro}\n\nExamples run in a folder that holds an image, photo.jpg.\n\n"
    return head + "\n".join(f"::: {module}.{name}\n" for name, module in names)
