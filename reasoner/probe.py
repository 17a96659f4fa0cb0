"""Deep supervision of the vision tower (Lee et al., AISTATS 2015): each view alone must say what is wrong.

Through the words of a diagnosis the tower learns a severity late, and from one view what it could read from another
not at all. A linear probe on the mean token of each view has no such excuse. A second one must say of each token of the
views that show places how much each kind changed the pixels under it: synthesis knows where rain and snow fell, and one
number a picture is little to learn that from. Both serve training only; exported weights do not hold them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rnr.degradation.diagnosis import reasoning_order

SEVERITY = 5.0  # weight of the severity's error (0..1) beside the presence's cross-entropy
TRACE = 10.0  # weight of the traces' error (square roots, about 0.1): a choice, half of the rest
PLACES = (0, 1, 2, 5)  # views whose tokens are places of the picture: overview, crops, marks
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
        self.places = [view for view in PLACES if view < views]
        self.trace = nn.Parameter(torch.zeros(len(self.places), width, len(self.kinds)))
        self.level = nn.Parameter(torch.zeros(len(self.places), len(self.kinds)))
        self.seen: torch.Tensor | None = None
        model.model.visual.merger.register_forward_hook(self._look)

    def _look(self, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.seen = output if module.training else None

    def loss(self, truth_BK: torch.Tensor, traces_BVTK: torch.Tensor | None = None) -> torch.Tensor:
        """Mean loss over views and kinds of the pictures just seen.

        Args:
            truth_BK: Severity in 0..1, 0 = absent.
            traces_BVTK: Square root of the mean change by each kind under each token of the views in `PLACES`.
        """
        assert self.seen is not None
        views, seen, self.seen = len(self.read), self.seen, None
        tokens_BVTD = seen.unflatten(0, (len(truth_BK), views, -1))
        tokens_BVD = self.norm(tokens_BVTD.mean(2))
        said = torch.einsum("bvd,vdk->bvk", tokens_BVD / tokens_BVD.shape[-1] ** 0.5, self.read) + self.bias
        loss = read_error(said, truth_BK[:, None].expand(-1, views, -1), SEVERITY)
        return loss if traces_BVTK is None else loss + TRACE * self._traces_error(tokens_BVTD, traces_BVTK)

    def _traces_error(self, tokens_BVTD: torch.Tensor, traces_BVTK: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(tokens_BVTD[:, self.places]) / tokens_BVTD.shape[-1] ** 0.5
        said = torch.einsum("bvtd,vdk->bvtk", tokens, self.trace) + self.level[:, None]
        return (said - traces_BVTK).abs().mean()


def read_error(said: torch.Tensor, truth: torch.Tensor, weight: float) -> torch.Tensor:
    """Cross-entropy of presence, and the error of the severity where the kind is present.

    Args:
        said: Logits of presence, then severities in 0..1 (..., 2 K).
        truth: Severities in 0..1, 0 = absent (..., K).
        weight: Of the severity's error.
    """
    logit, severity = said.chunk(2, -1)
    present = (truth > 0).to(said.dtype)
    presence = nn.functional.binary_cross_entropy_with_logits(logit, present)
    error = (severity - truth).abs() * present
    return presence + weight * error.sum() / present.sum().clamp(min=1)


def attach(model: nn.Module, views: int) -> None:
    """Give a model its probe: a part of it, so that optimiser, average and checkpoints include it."""
    setattr(model, NAME, Probe(model, views))


def detach(model: nn.Module) -> None:
    """Take the probe off again, if there is one."""
    if hasattr(model, NAME):
        delattr(model, NAME)
