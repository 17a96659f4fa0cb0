"""A run on disk: tensors in safetensors, and an index of names in its metadata.

    hidden                       (layers + 1, S, D)   residual streams
    attention                    (layers, heads, S, S)  where it was asked for
    probabilities.FIELD          (options,)           of each field, in the order of the index
    metadata["index"]            JSON: {"format", "places": {name: {asked, start, end, value}}, "options": {field: []},
                                 "length", "diagnosis", "model", "model_hash", "prompt", "prompt_version", "versions"}

S counts the tokens of prompt, answer and side branches; the first `length` are prompt and answer.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.errors import Error
from rnr.degradation.files import whole
from rnr.explain.script import Place
from rnr.reasoner.reasoner import versions

if TYPE_CHECKING:
    import torch

    from rnr.explain.internals import Run
else:
    torch = LazyModule("torch")

FORMAT = 1


@dataclass(frozen=True)
class SavedRun:
    """What `load_run` reads: tensors by name, places by the names of fields and views, and the index as it is."""

    tensors: dict[str, torch.Tensor]
    places: dict[str, Place]
    index: dict[str, Any]


def save_run(run: Run, path: str | Path) -> Path:
    """Write a run; the module says how. The file appears whole or not at all.

    Args:
        run: Of `Internals.run`.
        path: Usually .safetensors.

    Returns:
        The path.

    Example:
        >>> from PIL import Image
        >>> from rnr.explain import Internals
        >>> from rnr.reasoner import load_local
        >>> run = Internals(load_local()).run(Image.open("photo.jpg"))
        >>> load_run(save_run(run, "run.safetensors")).places["findings.noise.present"].value
        'true'
    """
    from safetensors.torch import save_file

    fields = {name: run.probabilities(name) for name in run.script.trees}
    tensors = {"hidden": run.states.contiguous()}
    tensors |= {f"probabilities.{name}": torch.tensor(list(row.values())) for name, row in fields.items()}
    if run.weights is not None:
        tensors["attention"] = run.weights.contiguous()
    reasoner = run.reasoner
    index = {
        "format": FORMAT, "length": run.script.length, "diagnosis": run.diagnosis.model_dump(),
        "places": {name: asdict(place) for name, place in run.script.places.items()},
        "options": {name: list(row) for name, row in fields.items()},
        "model": reasoner.name, "model_hash": reasoner.model_hash,
        "prompt": reasoner.prompt.name, "prompt_version": reasoner.prompt.version,
        "versions": versions(),
    }  # fmt: skip
    with whole(path) as part:
        save_file(tensors, str(part), metadata={"index": json.dumps(index, ensure_ascii=False)})
    return Path(path)


def load_run(path: str | Path) -> SavedRun:
    """Read a run.

    Args:
        path: What `save_run` wrote.

    Returns:
        Its tensors and places by name; no weights are needed.

    Raises:
        Error: Names a file that is none.

    Example:
        >>> load_run("photo.jpg")
        Traceback (most recent call last):
        ...
        rnr.degradation.errors.Error: photo.jpg: not a saved run ...
    """
    from safetensors import safe_open

    try:
        with safe_open(str(path), "pt") as file:
            index = json.loads((file.metadata() or {})["index"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        places = {name: Place(**place) for name, place in index["places"].items()}
    except Exception as error:  # safetensors and json have no common base
        raise Error(f"{path}: not a saved run ({type(error).__name__}: {error}); write it with save_run") from error
    return SavedRun(tensors, places, index)
