"""Plain hooks on `Qwen3VLForConditionalGeneration` that note and change what its text layers read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def watching(model: Any, change: Mapping[int, tuple[list[int], torch.Tensor]]) -> Iterator[dict[int, torch.Tensor]]:
    """Hooks that note the residual stream (S, D) before each text layer and before the final norm, by layer.

    Args:
        model: `Qwen3VLForConditionalGeneration`.
        change: By layer, tokens and the states (tokens, D) that take their place.
    """
    text = model.model.language_model
    seen: dict[int, torch.Tensor] = {}

    def note(layer: int) -> Any:
        def hook(module: Any, arguments: tuple, options: dict) -> tuple[tuple, dict]:
            states = arguments[0] if arguments else options["hidden_states"]
            if layer in change:
                tokens, values = change[layer]
                states = states.clone()
                states[0, tokens] = values.to(states)
            seen[layer] = states[0].detach()
            if arguments:
                return (states, *arguments[1:]), options
            return arguments, {**options, "hidden_states": states}

        return hook

    modules = [*text.layers, text.norm]
    handles = [m.register_forward_pre_hook(note(i), with_kwargs=True) for i, m in enumerate(modules)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def eager(model: Any, wanted: bool) -> Iterator[list[torch.Tensor]]:
    """Attention weights (heads, S, S) of each text layer, in a list; only plain attention computes any."""
    weights: list[torch.Tensor] = []
    if not wanted:
        yield weights
        return
    text = model.model.language_model
    before = text.config._attn_implementation
    text.config._attn_implementation = "eager"
    handles = [
        layer.self_attn.register_forward_hook(lambda module, inputs, output: weights.append(output[1][0].detach()))
        for layer in text.layers
    ]
    try:
        yield weights
    finally:
        text.config._attn_implementation = before
        for handle in handles:
            handle.remove()
