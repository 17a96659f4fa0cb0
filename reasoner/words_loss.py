"""The loss of written text: a weight for each token, and numbers that are spread about the true one."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def words_loss(logits_BSV: torch.Tensor, batch: Mapping[str, torch.Tensor], first: int = 1) -> torch.Tensor:
    """Weighted cross-entropy; spread numbers by their shares. Zero where nothing is learned.

    Args:
        logits_BSV: What is expected of the tokens from number `first` on.
        batch: Of `rnr.reasoner.collate.Collator`: labels (B, S'), loss_weights (B, S'), and, where numbers are spread,
            soft_places (N, 3: row, position, token) and soft_shares (N,).
        first: Number of the first token that logits are of.
    """
    labels, weights = batch["labels"][:, first:], batch["loss_weights"][:, first:]
    row, at = (weights > 0).nonzero(as_tuple=True)
    if not len(row):
        return logits_BSV.sum() * 0
    logs = logits_BSV[row, at].float().log_softmax(-1)
    targets = torch.nn.functional.one_hot(labels[row, at], logs.shape[-1]).to(logs)
    if "soft_places" in batch:
        number = torch.full_like(labels, -1)  # of the learned tokens; -1 for those that are not
        number[row, at] = torch.arange(len(row), device=labels.device)
        places, shares = batch["soft_places"], batch["soft_shares"].to(logs)
        spread = number[places[:, 0], places[:, 1] - first]
        learned = spread >= 0
        targets[spread[learned]] = 0
        targets[spread[learned], places[learned, 2]] = shares[learned]
    loss = -(targets * logs).sum(-1)
    return (loss * weights[row, at]).sum() / weights.sum()
