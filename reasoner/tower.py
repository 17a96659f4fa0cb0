"""The vision tower as a training runs it: views of one colour are looked at once, all views attend in one call.

The same numbers within rounding as transformers' own passes, which a test compares; the model stays unmodified.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3VLForConditionalGeneration
else:
    torch = LazyModule("torch")

Which = tuple["torch.Tensor", "torch.Tensor"]


def distinct(views_NX: torch.Tensor) -> Which:
    """Which of the views are to be looked at, and for each view its place among these.

    Views of one colour are equal to those of the same colour; all others count as different.

    Args:
        views_NX: Pixels of each view, in [-1, 1].

    Returns:
        Numbers of views (M,), and places 0..M-1 (N,).

    Example:
        >>> grey, striped = torch.zeros(4), torch.tensor([0.0, 1.0, 0.0, 1.0])
        >>> distinct(torch.stack([grey, striped, grey]))[1].tolist()
        [0, 1, 0]
    """
    number = torch.arange(len(views_NX), device=views_NX.device)
    plain = views_NX.amin(1) == views_NX.amax(1)
    colour = torch.where(plain, views_NX[:, 0], number.to(views_NX) + 2)  # no pixel is 2 or more
    place = colour.unique(return_inverse=True)[1]
    kept = torch.full((int(place.max()) + 1,), len(views_NX), device=number.device)
    return kept.scatter_reduce(0, place, number, "amin"), place


def look_once(model: Qwen3VLForConditionalGeneration) -> None:
    """Views of one colour pass the tower once, and its mergers give their features back to each.

    Training hides all views but one in three tenths of its pictures (`rnr.reasoner.collate.HIDDEN`), so that a quarter
    of the views is the same grey: forward and backward passes take 0.80 of the time.
    """
    visual: Any = model.model.visual
    places: list[torch.Tensor | None] = [None]

    def less(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        pixels, grid = args[0], kwargs["grid_thw"]
        places[0] = None
        if not bool((grid == grid[0]).all()):
            return args, kwargs
        views = pixels.unflatten(0, (len(grid), -1))
        kept, places[0] = distinct(views.flatten(1))
        return (views[kept].flatten(0, 1), *args[1:]), kwargs | {"grid_thw": grid[kept]}

    def more(module: Any, args: tuple, output_TD: torch.Tensor) -> torch.Tensor:
        if places[0] is None:
            return output_TD
        return output_TD.unflatten(0, (int(places[0].max()) + 1, -1))[places[0]].flatten(0, 1)

    visual.register_forward_pre_hook(less, with_kwargs=True)
    for merger in (visual.merger, *visual.deepstack_merger_list):
        merger.register_forward_hook(more, prepend=True)  # before the probe looks


def attend_together(model: Qwen3VLForConditionalGeneration) -> None:
    """One call of the attention for all views of a size, where transformers makes one for each view."""
    for block in model.model.visual.blocks:
        attention: Any = block.attn
        attention.forward = types.MethodType(_attend, attention)


def _attend(
    self: Any, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, position_embeddings: Any = None, **kwargs: Any
) -> torch.Tensor:
    """As `Qwen3VLVisionAttention.forward`; views of different sizes go there."""
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    lengths = cu_seqlens.diff()
    if not bool((lengths == lengths[0]).all()):
        return type(self).forward(self, hidden_states, cu_seqlens, position_embeddings, **kwargs)
    query, key, value = self.qkv(hidden_states).unflatten(1, (3, self.num_heads, -1)).unbind(1)
    turned = (*apply_rotary_pos_emb_vision(query, key, *position_embeddings), value)
    query, key, value = (x.unflatten(0, (len(lengths), -1)).transpose(1, 2) for x in turned)
    seen_NHTD = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=self.scaling)
    return self.proj(seen_NHTD.transpose(1, 2).flatten(0, 1).flatten(1))
