"""A restorer's network that tests need no training for."""

from __future__ import annotations

import torch

from rnr.restorer import RestorerNetwork

SMALL = {"widths": (16, 32), "blocks": (1, 1), "condition": 32}


def heedful() -> RestorerNetwork:
    """A small network without experts that was never trained, but heeds its condition: always the same, in numbers that
    half precision holds."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = RestorerNetwork(**SMALL).eval()
        for p in network.parameters():  # many begin at zero
            p.add_(0.03 * torch.randn(p.shape))
            p.copy_(p.half())
    return network
