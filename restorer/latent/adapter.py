"""TFA: a task feature adapter that fuses the encoder's features into the decoder, as a prompt vector says (UniRestore).

The gates are those of an LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000). At each place of the decoder, with its
hidden state h, the repaired encoder features e, and the task's prompt p:

    f, i, o, g = gates(h, e), each scaled and shifted by p
    h + scale * W (sigmoid(o) tanh(sigmoid(f) e' + sigmoid(i) tanh(g)))

W begins at zero: an untrained adapter is the plain decoder. The prompt is all that a task has of its own.

Shapes: h_BCHW of the decoder, e_BCHW of the encoder at the same resolution, prompt_D.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from rnr.restorer.expert import zero
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.codes import Standard


class Place(NamedTuple):
    """Where an adapter sits: before this up block of the decoder (their number: after the last one), which of the
    encoder's features it takes, and the channels of both."""

    block: int
    feature: int
    encoder: int
    decoder: int


def places(autoencoder: Autoencoder) -> list[Place]:
    """All places of a decoder at whose resolution the encoder has features, the coarsest first."""
    widths = list(autoencoder.model.config["block_out_channels"])
    count = len(widths)
    found = []
    for block in range(count + 1):
        level = max(0, count - 1 - block)  # how often the resolution was halved
        decoder = widths[-1] if block == 0 else widths[count - block]
        if block == 0:
            found.append(Place(0, count, widths[-1], decoder))  # the middle
        elif level > 0 or count == 1:
            feature = max(0, level - 1)  # a block's own features are those after its step down
            found.append(Place(block, feature, widths[feature], decoder))
    return found


class TaskAdapter(nn.Module):
    """TFA at one place of the decoder.

    Args:
        encoder: Channels of the encoder's features.
        decoder: Channels of the decoder's hidden state.
        width: Of the gates.
        prompt: Length of the prompt vector.
    """

    def __init__(self, encoder: int, decoder: int, width: int, prompt: int) -> None:
        super().__init__()
        self.encoder, self.decoder = Standard(encoder), Standard(decoder)
        self.entry = nn.Conv2d(encoder, width, 1)
        self.gates = nn.Conv2d(encoder + decoder, 4 * width, 3, padding=1)
        self.steer = nn.Linear(prompt, 8 * width)
        self.exit = nn.Conv2d(width, decoder, 3, padding=1)
        zero(self.exit)

    def forward(self, h_BCHW: torch.Tensor, e_BCHW: torch.Tensor, prompt_D: torch.Tensor) -> torch.Tensor:
        seen, known = self.encoder(e_BCHW.float()), self.decoder(h_BCHW.float())
        scale, shift = self.steer(prompt_D)[None, :, None, None].chunk(2, 1)
        forget, admit, show, new = torch.addcmul(shift, self.gates(torch.cat([seen, known], 1)), 1 + scale).chunk(4, 1)
        cell = forget.sigmoid() * self.entry(seen) + admit.sigmoid() * new.tanh()
        said = self.exit(show.sigmoid() * cell.tanh())
        return h_BCHW + (self.decoder.deviation * said).to(h_BCHW.dtype)
