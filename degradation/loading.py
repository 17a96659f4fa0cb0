"""From a name to an object: recipes and import paths, devices, and what goes wrong on the way, with its remedy."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rnr.degradation._lazy import install
from rnr.degradation.errors import SetupError

BUILT_IN = "built-in"
EXTRAS = {"ray": "ray", "torchvision": "qwen", "qwen_vl_utils": "qwen"}  # whose module it is; else `train`
OUT_OF_MEMORY = "a smaller batch or size, gradient_checkpointing, quantisation or offload in the recipe need less"
one_at_a_time = threading.RLock()  # transformers cannot load two models at the same time


def recipe_of(name: str) -> tuple[str, dict[str, Any]]:
    """A model's name and the options to load it with.

    Args:
        name: A TOML file (`model = "..."` and options), or just a name, which has no options.

    Raises:
        SetupError: For a file that cannot be read or names no model.
    """
    if not name.endswith(".toml"):
        return name, {}
    try:
        options = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SetupError(f"{name}: cannot be read as a recipe ({error})") from None
    for held, new in ((options, "num_inference_steps"), (options.get("training", {}), "max_steps")):
        if "steps" in held:
            raise SetupError(f"{name}: `steps` is called `{new}` now; rename it")
    if not isinstance(options.get("model"), str):
        raise SetupError(f'{name}: names no model; write model = "..." into it')
    return options.pop("model"), options


def higher(name: str, part: str, device: str) -> Any:
    """The reasoner or the restorer of a model that a higher room trained, or None where this is no such folder.

    Args:
        name: A folder that holds NAME.json, NAME being an entry point of the group `rnr.models`.
        part: `reasoner` or `restorer`.
        device: auto, cpu, cuda, …
    """
    if not Path(name).is_dir():
        return None
    points = [point for point in entry_points(group="rnr.models") if (Path(name) / f"{point.name}.json").is_file()]
    return points[0].load()(name, part, device) if points else None


def object_at(path: str) -> Any:
    """What a path such as "my_module:my_reward" names; dots after the colon reach into it.

    Args:
        path: The module as it is imported, a colon, the name in it.

    Raises:
        SetupError: For a module that is not found or fails, or that holds no such name.

    Example:
        >>> object_at("math:sqrt")(9.0)
        3.0
    """
    module, _, name = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a program in bin/ has not got it; last, so that it shadows nothing
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a user's module raises when it is run
        missing = isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name))
        remedy = "run from the folder that holds it, or put that on PYTHONPATH" if missing else "mend that module"
        raise SetupError(f"{path}: cannot import {module} ({type(error).__name__}: {error}); {remedy}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            known = ", ".join(public for public in dir(found) if not public.startswith("_"))
            raise SetupError(f"{path}: {module} has no {name}; it has: {known or 'nothing public'}")
        found = getattr(found, part)
    return found


def device_named(name: str) -> str:
    """A device of this machine for `auto`, `cpu`, `cuda`, … Raises SetupError for one that cannot be used."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except Exception as error:  # AssertionError, RuntimeError, NotImplementedError: by the build of torch
        problem = str(error).splitlines()[0]
        raise SetupError(f"device {name!r} cannot be used here ({problem}); try cpu") from None
    return name


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """What goes wrong while something is loaded or trained, as SetupError."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name), "train")
        raise SetupError(f"{error.name} is not installed, {name} needs it: {install(extra)}") from error
    except TypeError as error:
        raise SetupError(f"{name}: {error}; is every option of the recipe spelt right?") from error
    except SetupError:
        raise
    except (ValueError, OSError, MemoryError) as error:
        raise SetupError(f"{error}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; the models themselves know better what to turn
            raise
        raise SetupError(f"{name}: out of memory; {OUT_OF_MEMORY}") from error
