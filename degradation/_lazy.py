"""Modules and names that load on first use, so that `import rnr` stays fast and needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from rnr.degradation.errors import MissingExtra


class LazyModule(ModuleType):
    """Stands for module `name` and imports it when an attribute is first read."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


def one_name(package: str) -> None:
    """Refuses a room under another name than rnr's, or its classes would exist twice. Raises ImportError."""
    if package.partition(".")[0] != "rnr":
        raise ImportError(f"`import rnr.{package}`, not `import {package}`: the folders of a checkout are parts of rnr")


def lazy_names(package: str, homes: Mapping[str, tuple[str, ...]]) -> tuple[Callable[[str], Any], list[str]]:
    """`__getattr__` and `__all__` of a package whose names live in these modules: {module: names}."""
    one_name(package)
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(home[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, sorted(home)


def install(extra: str) -> str:
    """The command that adds an extra: in a checkout from there, elsewhere to the package that is installed."""
    checkout = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
    return f"pip install -e '.[{extra}]'" if checkout else f"pip install 'reason-and-restore[{extra}]'"


def need(module: str, extra: str) -> Any:
    """Import a module of an extra. Raises MissingExtra that names the command to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        message = f"this needs {package}; install it with: {install(extra)}"
        raise MissingExtra(message) from error
