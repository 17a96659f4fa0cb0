"""From a name to a unified model: the one way, for everybody.

model = rnr.unified.load()                            # the built-in pair, joined and untrained
model = rnr.unified.load("runs/unified/weights")      # what `rnr train unified` wrote
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN, device_named, explained, one_at_a_time

if TYPE_CHECKING:
    from rnr.unified.model import UnifiedModel


def load(name: str | Path = BUILT_IN, device: str = "cpu", **bases: str) -> UnifiedModel:
    """The unified model of this name.

    Args:
        name: `built-in`: the built-in reasoner and restorer, joined, which restore as they do apart; or a folder.
        device: auto, cpu, cuda, …
        bases: `reasoner`, `restorer`: other models to begin with than the card names.

    Raises:
        SetupError: For what is missing or broken, or where a base has changed since; it says what to do.

    Example:
        >>> load().steps
        1
    """
    import torch

    from rnr.reasoner.loading import load_local
    from rnr.restorer.loading import load as load_restorer

    with one_at_a_time, explained(f"unified model {name}"):
        from rnr.restorer.qwen_edit import QwenEditRestorer
        from rnr.unified.export import apply_weights, read_card
        from rnr.unified.flow import FlowModel
        from rnr.unified.model import UnifiedModel

        card: dict[str, Any] = {} if str(name) == BUILT_IN else read_card(Path(name))
        where = device_named(device)
        names = {part: card.get(part, {}).get("name", BUILT_IN) for part in ("reasoner", "restorer")} | bases
        reasoner, pipe = load_local(names["reasoner"], where), load_restorer(names["restorer"], where)
        found = {"reasoner": reasoner.identity["model_hash"], "restorer": pipe.identity["model_hash"]}
        for part, hash_ in found.items():
            _check(name, part, card, hash_)
        began = {part: {"name": names[part], "hash": found[part]} for part in found}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of what begins at random: bridge and reader
            made = FlowModel if isinstance(pipe, QwenEditRestorer) else UnifiedModel
            model = made(reasoner, pipe, card | began).to(where)
        if lora := card.get("lora", 0):
            model.add_lora(lora)
        if card:
            model.condition = card["condition"]
            model.card["name"] = f"unified pair {name}"
            apply_weights(model, Path(name))
        return model.eval()


def part(name: str, which: str, device: str = "cpu") -> Any:
    """The `reasoner` or the `restorer` of a unified model: what the loaders of those rooms find by its folder."""
    model = load(name, device)
    return model.reasoner if which == "reasoner" else model


def _check(name: str | Path, part: str, card: dict[str, Any], found: str) -> None:
    """The weights are differences from a base: another one makes no sense of them."""
    if card and card[part]["hash"] not in ("", found):
        raise SetupError(
            f"{name}: was trained on {part} {card[part]['name']} with weights {card[part]['hash']}, here are {found}; "
            "train it again, or use the release that it came from"
        )
