"""A model by a recipe: a TOML file that names it and the options to load it with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from rnr.degradation.errors import OptionError


def recipe_of(name: str) -> tuple[str, dict[str, Any]]:
    """A model's name and the options to load it with.

    Args:
        name: A TOML file (`model = "..."` and options), or just a name, which is its own recipe.

    Raises:
        OptionError: It names the file and what is missing.

    Example:
        >>> recipe_of("built-in")
        ('built-in', {})
    """
    if not name.endswith(".toml"):
        return name, {}
    try:
        options = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{name}: cannot be read as a recipe ({error})") from None
    if not isinstance(options.get("model"), str):
        raise OptionError(f'{name}: names no model; write model = "..." into it')
    return options.pop("model"), options
