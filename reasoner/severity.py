"""Expected severity, exactly: the whole distribution over 1..100 for one more forward pass per kind.

At `present`, the text `true,"severity":` and the tree of all numbers below it hang on the prefix as side branches (each
token sees the prefix and its own ancestors, at its own position). The probability of a number is the product of its
digits' and its delimiter's, each among the legal tokens. So P(present) x E[severity | present] is continuous and
deterministic, and not 0 merely because the greedy answer was "absent". Reading only the decoded path is off by 2-4.
"""

from __future__ import annotations

import math

import torch

from degradation.diagnosis import Belief
from reasoner.decode import Lexicon, Node, Session, legal
from reasoner.grammar import SEVERITIES, Choice, severity_opening

SEVERITY = Choice("severity", SEVERITIES, ",")
INTERVAL = (0.1, 0.9)  # quantiles of the central 80%


def belief(choice: Choice, session: Session, logits: torch.Tensor, lexicon: Lexicon) -> Belief:
    """What the model believes of a kind, at its `present` field (`logits` are those of that place)."""
    tokens, among = legal(lexicon.trie(choice), logits)
    probability = float(among[tokens.index(lexicon.ids("true")[0])].exp())
    return summarise(probability, severity_distribution(session, lexicon))


def severity_distribution(session: Session, lexicon: Lexicon) -> torch.Tensor:
    """P(severity = 1..100 | present), (100,) float64, sums to 1."""
    prefix = [*lexicon.ids("true"), *lexicon.ids(severity_opening())]
    ids, parents = list(prefix), list(range(-1, len(prefix) - 1))
    places = {id(lexicon.trie(SEVERITY)): len(prefix) - 1}
    _grow(lexicon.trie(SEVERITY), len(prefix) - 1, ids, parents, places)
    return _product(lexicon.trie(SEVERITY), session.explore(ids, parents), places, lexicon)


def _grow(node: Node, at: int, ids: list[int], parents: list[int], places: dict[int, int]) -> None:
    """Append the tokens below a node after which there is still something to choose."""
    for token, child in node.children.items():
        if len(child.children) > 1:
            ids.append(token)
            parents.append(at)
            places[id(child)] = len(ids) - 1
            _grow(child, places[id(child)], ids, parents, places)


def _product(trie: Node, logits: torch.Tensor, places: dict[int, int], lexicon: Lexicon) -> torch.Tensor:
    result = torch.zeros(len(SEVERITIES), dtype=torch.float64)
    conditional = {
        node: dict(zip(*_pair(legal_node, logits[at]))) for node, (legal_node, at) in _nodes(trie, places).items()
    }
    for i, value in enumerate(SEVERITIES):
        node, logprob = trie, 0.0
        for token in lexicon.path(value, SEVERITY):
            logprob += conditional[id(node)][token] if id(node) in conditional else 0.0
            node = node.children[token]
        result[i] = math.exp(logprob)
    return result


def _pair(node: Node, logits: torch.Tensor) -> tuple[list[int], list[float]]:
    tokens, among = legal(node, logits.double())
    return tokens, among.tolist()


def _nodes(trie: Node, places: dict[int, int]) -> dict[int, tuple[Node, int]]:
    """By identity: each node whose logits were computed, and their row."""
    found, stack = {}, [trie]
    while stack:
        node = stack.pop()
        if id(node) in places:
            found[id(node)] = (node, places[id(node)])
        stack.extend(node.children.values())
    return found


def summarise(probability: float, distribution: torch.Tensor) -> Belief:
    """Mean, standard deviation and central 80% of a distribution over 1..100."""
    values = torch.arange(1, len(distribution) + 1, dtype=distribution.dtype)
    mean = float((distribution * values).sum())
    spread = math.sqrt(max(0.0, float((distribution * (values - mean) ** 2).sum())))
    cumulative = distribution.cumsum(0)
    low, high = (float(values[min(int((cumulative < q).sum()), len(values) - 1)]) for q in INTERVAL)
    return Belief(probability=probability, severity_if_present=mean, spread=spread, interval=(low, high))
