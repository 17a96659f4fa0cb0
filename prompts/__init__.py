"""Every word a model reads, versioned: `load("restore_edit").fill(diagnosis=...)`.

A template is a text file (jinja2) in `templates/`; `versions.json` locks its version to its sha256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnr.degradation._lazy import one_name

one_name(__name__)
FOLDER = Path(__file__).parent / "templates"
LOCK = Path(__file__).parent / "versions.json"


@dataclass(frozen=True)
class Prompt:
    """A template and its identity, as records keep it."""

    name: str
    version: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, **values: Any) -> str:
        """The text for these values. Raises jinja2.UndefinedError for one that is missing."""
        import jinja2

        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(self.text).render(**values)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


@cache
def load(name: str) -> Prompt:
    """Raises ValueError that lists the prompts there are."""
    path = FOLDER / f"{name}.txt"
    if not path.is_file():
        raise ValueError(f"no prompt {name!r}; there are {', '.join(names())}")
    return Prompt(name, versions()[name]["version"], path.read_text(encoding="utf-8"))


@cache
def versions() -> dict[str, dict[str, str]]:
    """{name: {version, sha256}} as locked."""
    return json.loads(LOCK.read_text(encoding="utf-8"))
