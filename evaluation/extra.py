"""Packages of the extra `bench` (matplotlib, scikit-image, scipy, xgrammar), asked for where they are used."""

from __future__ import annotations

import importlib
from typing import Any


class MissingExtra(RuntimeError):
    """A benchmark needs a package that is not installed; the message says how to get it."""


def need(module: str) -> Any:
    """Import a module of the extra. Raises MissingExtra that names the command to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        message = f"this benchmark needs {package}; install it with: pip install 'reason-and-restore[bench]'"
        raise MissingExtra(message) from error
