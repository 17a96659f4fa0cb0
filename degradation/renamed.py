"""Options of the command line by their earlier names: taken with a notice, and not listed by --help."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand


def renamed(**names: str) -> type[TyperCommand]:
    """The class of a command whose options had other names.

    Args:
        names: Earlier name -> present name, without dashes before them.

    Example:
        >>> app = typer.Typer()
        >>> @app.command(cls=renamed(steps="max-steps"))
        ... def train(max_steps: int = 1) -> None: ...
    """

    class Renamed(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, [_present(arg, names) for arg in args])

    return Renamed


def _present(arg: str, names: dict[str, str]) -> str:
    option, sign, value = arg.partition("=")
    new = names.get(option[2:]) if option.startswith("--") else None
    if new is None:
        return arg
    typer.echo(f"{option} is called --{new} now; the old name will go", err=True)
    return f"--{new}{sign}{value}"
