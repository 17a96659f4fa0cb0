"""From a name to a reasoner: the one way, for everybody.

reasoner = rnr.reasoner.load("built-in")
reasoner = rnr.reasoner.load("http://localhost:8000")
reasoner = rnr.reasoner.load("recipes/qwen3vl_8b.toml", device="auto")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN, device_named, explained, higher, one_at_a_time, recipe_of

if TYPE_CHECKING:
    from rnr.reasoner.client import ServerReasoner
    from rnr.reasoner.reasoner import Reasoner

NAMES = "built-in, a weights folder, a hub name, a server's URL, vllm:FOLDER, a recipe (.toml)."  # for --help


def is_server(name: str) -> bool:
    """Whether this names a model behind a server, or vLLM in this process, rather than weights.

    Args:
        name: As `load` takes it.

    Example:
        >>> is_server("http://localhost:8000"), is_server("built-in")
        (True, False)
    """
    return name.startswith(("http://", "https://", "vllm:"))


def load(name: str | Path = BUILT_IN, device: str = "cpu", **options: Any) -> Reasoner | ServerReasoner:
    """The reasoner of this name.

    Args:
        name: `built-in`, a weights folder, a hub name, the URL of an OpenAI-compatible server, `vllm:FOLDER`, or a
            recipe (a TOML file with `model = "..."` and options).
        device: auto, cpu, cuda, …; where a server computes is its own affair.
        options: Those of `Reasoner.from_pretrained`, or of `ServerReasoner` for a server; they overrule the recipe's.

    Returns:
        A `rnr.degradation.protocols.Diagnoser`.

    Raises:
        SetupError: For what is missing, broken, or made for another release; it says what to do.

    Example:
        >>> load("built-in").kinds[0]
        'compression'
    """
    model, wanted = recipe_of(str(name))
    with one_at_a_time, explained(model):
        if is_server(model):
            from rnr.reasoner.client import ServerReasoner

            return ServerReasoner(model, **wanted | options)
        if (found := higher(model, "reasoner", device)) is not None:
            return found
        from rnr.reasoner.reasoner import Reasoner

        return Reasoner.from_pretrained(model, device_named(device), **wanted | options)


def load_local(name: str | Path = BUILT_IN, device: str = "cpu", **options: Any) -> Reasoner:
    """The same as `load` for those who need the weights in this process.

    Args:
        name: `built-in`, a weights folder, a hub name, or a recipe that names one of these.
        device: auto, cpu, cuda, …
        options: Those of `Reasoner.from_pretrained`.

    Returns:
        The reasoner.

    Raises:
        SetupError: As `load`, and for a server.

    Example:
        >>> load_local("built-in").model.config.model_type
        'qwen3_vl'
    """
    from rnr.reasoner.reasoner import Reasoner

    found = load(name, device, **options)
    if isinstance(found, Reasoner):
        return found
    raise SetupError(f"{name}: this needs a reasoner's weights in this process; name built-in, a folder or a hub name")
