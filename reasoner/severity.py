"""Expected severity, exactly: the whole distribution over 1..100, in the pass that asks whether the kind is present.

At `present`, the text `true,"severity":` and the tree of all numbers below it hang on the prefix as side branches (each
token sees the prefix and its own ancestors, at its own position). The probability of a number is the product of its
digits' and its delimiter's, each among the legal tokens. So P(present) x E[severity | present] is continuous and
deterministic, and not 0 merely because the greedy answer was "absent". Reading only the decoded path is off by 2-4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from rnr.degradation.diagnosis import Belief
from rnr.reasoner.decode import Lexicon, Node, Path, Session, legal
from rnr.reasoner.grammar import SEVERITIES, Choice, severity_opening

SEVERITY = Choice("severity", SEVERITIES, ",")
INTERVAL = (0.1, 0.9)  # quantiles of the central 80%


def belief(choice: Choice, session: Session, lexicon: Lexicon) -> Belief:
    """What the model believes of a kind, at its `present` field."""
    tokens, among = legal(lexicon.trie(choice), session.logits())
    probability = float(among[tokens.index(lexicon.ids("true")[0])].exp())
    trie, start = lexicon.trie(SEVERITY), (*lexicon.ids("true"), *lexicon.ids(severity_opening()))
    places = [start + path for path in ((), *trie.branches)]
    logits = {path[len(start) :]: session.logits(path, [*lexicon.ahead(choice), *places]) for path in places}
    return summarise(probability, severity_distribution(logits, lexicon))


def severity_distribution(logits: Mapping[Path, torch.Tensor], lexicon: Lexicon) -> torch.Tensor:
    """P(severity = 1..100 | present), (100,) float64, sums to 1, from the logits after each place of the trie."""
    conditional = {path: _among(lexicon.trie(SEVERITY), path, row) for path, row in logits.items()}
    result = torch.zeros(len(SEVERITIES), dtype=torch.float64)
    for i, value in enumerate(SEVERITIES):
        path = lexicon.path(value, SEVERITY)
        steps = ((path[:end], path[end]) for end in range(len(path)))
        result[i] = math.exp(sum(conditional[at][token] for at, token in steps if at in conditional))
    return result


def _among(node: Node, path: Path, logits: torch.Tensor) -> dict[int, float]:
    """Log-probabilities of the legal tokens at a place of a trie."""
    for token in path:
        node = node.children[token]
    tokens, among = legal(node, logits.double())
    return dict(zip(tokens, among.tolist()))


def summarise(probability: float, distribution: torch.Tensor) -> Belief:
    """Mean, standard deviation and central 80% of a distribution over 1..100."""
    values = torch.arange(1, len(distribution) + 1, dtype=distribution.dtype)
    mean = float((distribution * values).sum())
    spread = math.sqrt(max(0.0, float((distribution * (values - mean) ** 2).sum())))
    cumulative = distribution.cumsum(0)
    low, high = (float(values[min(int((cumulative < q).sum()), len(values) - 1)]) for q in INTERVAL)
    shares = [round(share, 4) for share in distribution.tolist()]
    return Belief(
        probability=probability, severity_if_present=mean, spread=spread, interval=(low, high), distribution=shares
    )
