"""Skeleton decoding: a Diagnosis costs one forward pass per token that is really chosen, and is always valid.

The program of `grammar.py` says what comes next. Skeleton text is only queued; it rides along in the next pass. A
choice walks the trie of its legal strings, in the model's own tokens: logits are renormalised over the legal next
tokens, and where only one is left nothing is asked. A number is ended by its delimiter, which is the next skeleton's
first token.
One picture at a time, so a result never depends on what else is in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from degradation.diagnosis import TokenTrace
from reasoner.grammar import Choice, Program, Skeleton


@dataclass
class Node:
    """A place in a trie of token ids. `closing`: reached by the delimiter, which is not part of the value."""

    children: dict[int, Node] = field(default_factory=dict)
    closing: bool = False


class Lexicon:
    """Texts in a checkpoint's own tokens, piece by piece, and tries of choices; remembers both."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self._ids: dict[str, tuple[int, ...]] = {}
        self._tries: dict[tuple[tuple[str, ...], str], Node] = {}

    def ids(self, text: str) -> tuple[int, ...]:
        if text not in self._ids:
            self._ids[text] = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        return self._ids[text]

    def path(self, value: str, choice: Choice) -> tuple[int, ...]:
        """Tokens of a legal string, with the delimiter where the choice has one."""
        return self.ids(value) + (self.ids(choice.end)[:1] if choice.end else ())

    def trie(self, choice: Choice) -> Node:
        key = (choice.options, choice.end)
        if key not in self._tries:
            self._tries[key] = self._build(choice)
        return self._tries[key]

    def _build(self, choice: Choice) -> Node:
        root, paths = Node(), [self.path(value, choice) for value in choice.options]
        for path in paths:
            node = root
            for token in path:
                node = node.children.setdefault(token, Node())
            node.closing = bool(choice.end)
            if node.children or len(set(paths)) < len(paths):
                raise ValueError(f"{choice.path}: the tokenizer cannot tell its values apart")
        return root


class Session:
    """A text that grows inside the model's cache. `passes` counts forward passes."""

    def __init__(self, model, inputs: Mapping[str, torch.Tensor]):
        self.model, self.inputs = model, inputs
        self.pending: list[int] = []
        self.passes = 0
        self.cache: Any = None
        self._last: torch.Tensor | None = None
        vision = {k: v for k, v in inputs.items() if k in ("mm_token_type_ids", "image_grid_thw")}
        self._positions = model.model.get_rope_index(inputs["input_ids"], **vision)[0]  # (3, 1, prompt)
        self._next = int(self._positions.max()) + 1  # position of the next token

    def feed(self, ids: Sequence[int]) -> None:
        """Queue tokens; nothing runs yet."""
        self.pending.extend(ids)

    def logits(self) -> torch.Tensor:
        """Logits (vocabulary,) of what follows all that was fed, float32."""
        if self.pending or self._last is None:
            self._last = self._forward(self.pending, None, 1)[-1]
            self._next += len(self.pending)
            self.pending = []
        return self._last

    def explore(self, ids: Sequence[int], parents: Sequence[int]) -> torch.Tensor:
        """Logits (len(ids), vocabulary) after each token of a tree that hangs on the text; the text stays as it was.

        `parents[i]` < i is the token that i follows, -1 the text itself. One pass, whatever the tree.
        """
        self.logits()
        depth: list[int] = []
        past = self.cache.get_seq_length()
        sees = torch.zeros(len(ids), past + len(ids), dtype=torch.bool)
        sees[:, :past] = True
        for i, parent in enumerate(parents):
            depth.append(depth[parent] + 1 if parent >= 0 else 0)
            if parent >= 0:
                sees[i, past:] = sees[parent, past:]
            sees[i, past + i] = True
        result = self._forward(list(ids), (depth, sees), len(ids))
        self.cache.crop(-len(ids))
        return result

    @torch.no_grad()
    def _forward(self, ids: list[int], tree: tuple[list[int], torch.Tensor] | None, keep: int) -> torch.Tensor:
        device = self.model.device
        offsets = tree[0] if tree else list(range(len(ids)))
        positions = torch.tensor([self._next + offset for offset in offsets], device=device).expand(3, 1, -1)
        tokens, arguments = torch.tensor([ids], dtype=torch.long, device=device), {}
        if self.cache is None:
            tokens = torch.cat([self.inputs["input_ids"], tokens], 1)
            positions = torch.cat([self._positions, positions], 2)
            arguments = {k: v for k, v in self.inputs.items() if k not in ("input_ids", "attention_mask")}
        if tree:
            mask = torch.zeros(tree[1].shape, dtype=self.model.dtype).masked_fill(
                ~tree[1], torch.finfo(self.model.dtype).min
            )
            arguments["attention_mask"] = mask[None, None].to(device)
        output = self.model(
            input_ids=tokens, position_ids=positions, past_key_values=self.cache, use_cache=True, logits_to_keep=keep,
            **arguments,
        )  # fmt: skip
        self.cache, self.passes = output.past_key_values, self.passes + 1
        return output.logits[0].float()


@dataclass
class Decoded:
    """A written Diagnosis: its text, all its token ids, a trace per chosen field, and the passes it took."""

    text: str
    token_ids: list[int]
    trace: list[TokenTrace]
    passes: int


Picker = Callable[[list[int], torch.Tensor], int]
_Chosen = tuple[str, list[int], list[float]]
Watcher = Callable[[Choice, Session, torch.Tensor], None]


def greedy(tokens: list[int], logprobs: torch.Tensor) -> int:
    return tokens[int(logprobs.argmax())]


def sampler(temperature: float, seed: int) -> Picker:
    """Draws from the legal tokens; greedy at temperature 0."""
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature:g}")
    generator = torch.Generator().manual_seed(seed)

    def pick(tokens: list[int], logprobs: torch.Tensor) -> int:
        weights = torch.softmax(logprobs.cpu() / temperature, 0)
        return tokens[int(torch.multinomial(weights, 1, generator=generator))]

    return pick if temperature else greedy


def legal(node: Node, logits: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    """The tokens that may follow, and their log-probabilities among themselves."""
    tokens = list(node.children)
    return tokens, torch.log_softmax(logits[torch.tensor(tokens, device=logits.device)], 0)


def decode(
    session: Session,
    running: Program,
    lexicon: Lexicon,
    pick: Picker = greedy,
    forced: Mapping[str, str] | None = None,
    watch: Watcher | None = None,
) -> Decoded:
    """Run a program. `forced` {field: string} sets values; `watch(choice, session, logits)` sees each present field.

    Log-probabilities are among the legal tokens, at temperature 1. A number's tokens end with its delimiter.
    Raises ValueError for a forced field that is never asked or a string that is not legal there.
    """
    forced = dict(forced or {})
    token_ids: list[int] = []
    trace: list[TokenTrace] = []
    text, answer = "", None
    while (piece := _next_piece(running, answer)) is not None:
        if isinstance(piece, Skeleton):
            answer, value = None, piece.text
            session.feed(lexicon.ids(piece.text))
        else:
            if watch and piece.path.endswith(".present"):
                watch(piece, session, session.logits())
            value, ids, logprobs = _choose(piece, session, lexicon, pick, forced.pop(piece.path, None))
            span = {"start": len(text), "end": len(text) + len(value)}
            trace.append(TokenTrace(field=piece.path, token_ids=ids, logprobs=logprobs, **span))
            answer = value
        token_ids += lexicon.ids(value)
        text += value
    if forced:
        raise ValueError(f"forced fields that were never asked: {', '.join(sorted(forced))}")
    return Decoded(text, token_ids, trace, session.passes)


def _next_piece(running: Program, answer: str | None):
    try:
        return running.send(answer)
    except StopIteration:
        return None


def _choose(choice: Choice, session: Session, lexicon: Lexicon, pick: Picker, force: str | None) -> _Chosen:
    """Make one choice and feed its tokens: (string, token ids, log-probabilities)."""
    if force is not None and force not in choice.options:
        raise ValueError(f"{choice.path}: {force!r} is not legal; legal: {', '.join(choice.options[:12])} ...")
    wanted = lexicon.path(force, choice) if force is not None else None
    ids, logprobs = _walk(lexicon.trie(choice), session, pick, wanted)
    value = next(option for option in choice.options if lexicon.path(option, choice) == tuple(ids))
    return value, ids, logprobs


def _walk(node: Node, session: Session, pick: Picker, wanted: Sequence[int] | None) -> tuple[list[int], list[float]]:
    """From the root of a trie to a leaf, along `wanted` if given. Where one token is legal nothing is asked."""
    ids: list[int] = []
    logprobs: list[float] = []
    while node.children:
        token, logprob = next(iter(node.children)), 0.0
        if len(node.children) > 1:
            tokens, among = legal(node, session.logits())
            token = wanted[len(ids)] if wanted else pick(tokens, among)
            logprob = float(among[tokens.index(token)])
        node = node.children[token]
        ids.append(token)
        logprobs.append(logprob)
        if not node.closing:
            session.feed([token])
    return ids, logprobs
