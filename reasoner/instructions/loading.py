"""The file of a reader of instructions: half precision, with what is known of its training in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rnr.degradation.errors import SetupError
from rnr.degradation.files import whole
from rnr.degradation.loading import BUILT_IN
from rnr.reasoner.instructions.reader import Reader

WEIGHTS, KEY = "reader.safetensors", "reader"
FOLDER = Path(__file__).parent / "weights"


def load(name: str | Path = BUILT_IN) -> Reader:
    """A trained reader, on the CPU, in float32.

    Args:
        name: built-in, or a folder that `rnr train instructions` wrote.

    Raises:
        SetupError: Names the file that is missing or holds no reader.

    Example:
        >>> load().read("only remove the rain, keep the mist").remove
        ('rain',)
    """
    path = (FOLDER if str(name) == BUILT_IN else Path(name)) / WEIGHTS
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        reader = Reader(about["kinds"])
        reader.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError, OSError) as error:
        raise SetupError(f"{path}: no reader of instructions ({error}); `rnr train instructions` makes one") from None
    return reader.eval().requires_grad_(False)


def save(reader: Reader, folder: Path, about: Mapping[str, Any]) -> Path:
    """Write the weights into a folder, with `about`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous().cpu() for name, value in reader.state_dict().items()}
    with whole(folder / WEIGHTS) as part:
        save_file(tensors, str(part), {KEY: json.dumps({"kinds": reader.kinds, **about})})
    return folder / WEIGHTS
