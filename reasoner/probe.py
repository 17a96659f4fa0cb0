"""Deep supervision of the vision tower (Lee et al., AISTATS 2015): each view alone must say what is wrong.

Through the words of a diagnosis the tower learns a severity late, and from one view what it could read from another
not at all. A linear probe on the mean token of each view has no such excuse. It serves training only; exported weights
do not hold it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rnr.degradation.diagnosis import reasoning_order

SEVERITY = 5.0  # weight of the severity's error (0..1) beside the presence's cross-entropy
NAME = "probe"  # the attribute of the model under training that holds it


class Probe(nn.Module):
    """(presence logit, severity in 0..1) of each kind from each view's mean token."""

    def __init__(self, model: Any, views: int) -> None:
        super().__init__()
        self.kinds = reasoning_order()
        width = model.config.vision_config.out_hidden_size
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.read = nn.Parameter(torch.zeros(views, width, 2 * len(self.kinds)))
        self.bias = nn.Parameter(torch.zeros(views, 2 * len(self.kinds)))
        self.seen: torch.Tensor | None = None
        model.model.visual.merger.register_forward_hook(self._look)

    def _look(self, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.seen = output if module.training else None

    def loss(self, truth_BK: torch.Tensor) -> torch.Tensor:
        """Mean loss over views and kinds of the pictures just seen; `truth_BK`: severity in 0..1, 0 = absent."""
        assert self.seen is not None
        views, seen, self.seen = len(self.read), self.seen, None
        tokens_BVD = self.norm(seen.unflatten(0, (len(truth_BK), views, -1)).mean(2))
        said = torch.einsum("bvd,vdk->bvk", tokens_BVD / tokens_BVD.shape[-1] ** 0.5, self.read) + self.bias
        logit_BVK, severity_BVK = said.chunk(2, -1)
        truth_BVK = truth_BK[:, None].expand_as(logit_BVK)
        present = (truth_BVK > 0).to(said.dtype)
        presence = nn.functional.binary_cross_entropy_with_logits(logit_BVK, present)
        error = (severity_BVK - truth_BVK).abs() * present
        return presence + SEVERITY * error.sum() / present.sum().clamp(min=1)


def attach(model: nn.Module, views: int) -> None:
    """Give a model its probe: a part of it, so that optimiser, average and checkpoints include it."""
    setattr(model, NAME, Probe(model, views))


def detach(model: nn.Module) -> None:
    """Take the probe off again, if there is one."""
    if hasattr(model, NAME):
        delattr(model, NAME)
