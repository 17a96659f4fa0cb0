"""A small reader of instructions: words -> which kinds are to be removed, whether something else is wished, how sure.

The built-in reasoner's tokenizer has the closed words of a Diagnosis and bytes for the rest. Read byte by byte an
instruction is longer than a whole Diagnosis. So the words are read here, each as the mean of its hashed letter groups
(fastText, Bojanowski et al. 2017), in a small Transformer; a query for each kind looks where it is spoken of.

Letters alone mislead: "rainbow" looks like rain, and a network is sure of sentences in words that it never saw. So an
instruction is read twice, with all its words and with those alone that its training knows, and the certainty is the
lower one of the two that both say the same.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import nn

from rnr.reasoner.instructions.phrasings import Wish, vocabulary

BUCKETS, WIDTH, HEADS, LAYERS = 4096, 96, 4, 2  # a choice: 0.6 M parameters
MOST = 40  # words that are read; further ones are left out
DROPPED = 0.05  # share of activations that training leaves out; a choice
BATCH = 64  # instructions in an update; a choice
GROUPS = (3, 4)  # letters in a group
MARKS = ",;"  # that are read as words
HELD = 0.5  # P above which a wish is held
# Certainty below which nothing is restored. Of 1,000 held-out instructions at 0 / 0.9 / 0.99 / 0.999 / 0.9999: 100 / 86
# / 78 / 70 / 62% are at least so certain, 76 / 84 / 87 / 89 / 89% of those are right, and 16 / 10 / 7 / 6 / 6% remove a
# kind that was to stay (`rnr bench instructions`, 2026-11-30). By all words alone, at 0.999: 75%, 88%, 6%.
SURE = 0.999


class Reader(nn.Module):
    """Instructions -> logits of "remove" for each kind, and of "something unknown is wished".

    Args:
        kinds: Names, in the order of the logits; the last logit is that of the unknown.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        self.kinds = list(kinds)
        self.letters = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.places = nn.Embedding(MOST, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPPED, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.queries = nn.Parameter(torch.randn(len(self.kinds) + 1, WIDTH) / WIDTH**0.5)
        self.look = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.head = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Logits (B, kinds + 1)."""
        words, hidden = self._embedded([words_of(text) for text in texts])
        seen = self.layers(words, src_key_padding_mask=hidden)
        queries = self.queries.expand(len(texts), -1, -1)
        found, _ = self.look(queries, seen, seen, key_padding_mask=hidden, need_weights=False)
        return self.head(torch.cat([found, queries], -1))[..., 0]

    def _embedded(self, texts: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Words (B, N, WIDTH), and where there is none (B, N)."""
        device, longest = self.queries.device, max(map(len, texts))
        groups = [groups_of(word) for text in texts for word in text]
        starts = torch.tensor([0, *map(len, groups)][:-1]).cumsum(0)
        flat = self.letters(torch.tensor([g for each in groups for g in each], device=device), starts.to(device))
        lengths = torch.tensor([len(text) for text in texts], device=device)
        hidden = torch.arange(longest, device=device) >= lengths[:, None]
        words = flat.new_zeros(len(texts), longest, WIDTH).masked_scatter(~hidden[..., None], flat)
        return words + self.places.weight[:longest], hidden

    def loss(self, texts: Sequence[str], wishes: Sequence[Wish]) -> torch.Tensor:
        """Cross-entropy of what was meant."""
        return nn.functional.binary_cross_entropy_with_logits(self(texts), self.targets(wishes))

    def targets(self, wishes: Sequence[Wish]) -> torch.Tensor:
        """(B, kinds + 1) of 0 and 1."""
        rows = [[*(kind in wish.remove for kind in self.kinds), wish.unknown] for wish in wishes]
        return torch.tensor(rows, dtype=torch.float32, device=self.queries.device)

    @torch.no_grad()
    def read(self, text: str) -> Wish:
        """What an instruction asks for, and how certain that is: not at all where it is too long to be read to its end.

        Example:
            >>> Reader(["rain"]).read("only remove the rain").remove in ((), ("rain",))
            True
        """
        known = vocabulary(tuple(self.kinds))
        familiar = " ".join(word for word in words_of(text) if word in known or word in MARKS)
        chances, again = self([text, familiar]).sigmoid()
        held = chances > HELD
        certainty = min(float(torch.where(held, each, 1 - each).prod()) for each in (chances, again))
        certainty = certainty if len(split(text)) <= MOST else 0.0
        remove = tuple(kind for kind, wished in zip(self.kinds, held.tolist()) if wished)
        return Wish(remove, bool(held[-1]), certainty)


def split(text: str) -> list[str]:
    """The words and marks of a text, in lower case."""
    return re.findall(rf"\w+|[{MARKS}]", text.lower())


def words_of(text: str) -> list[str]:
    """At most MOST of them, at least one."""
    return split(text)[:MOST] or [""]


def groups_of(word: str) -> list[int]:
    """Buckets of a word and of its groups of letters; the hash is the same everywhere."""
    marked = f"<{word}>"
    parts = {marked, *(marked[i : i + n] for n in GROUPS for i in range(len(marked) - n + 1))}
    return sorted(zlib.crc32(part.encode()) % BUCKETS for part in parts)
