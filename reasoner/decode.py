"""Skeleton decoding: a Diagnosis costs one forward pass per token that is really chosen, and is always valid.

The program of `grammar.py` says what comes next. Skeleton text is only queued; it rides along in the next pass. A
choice walks the trie of its legal strings, in the model's own tokens: logits are renormalised over the legal next
tokens, and where only one is left nothing is asked. A small trie (all digits of a number) is asked in one pass, as side
branches of the text. A number is ended by its delimiter, which is the next skeleton's first token.
One picture at a time, so a result never depends on what else is in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from rnr.degradation.diagnosis import TokenTrace
from rnr.degradation.kind import PHYSICS
from rnr.reasoner.forcing import listed
from rnr.reasoner.grammar import Choice, Program, Skeleton, successors

MOST_AHEAD = 64  # tokens that a pass may look ahead
ALTERNATIVES, LEAST = 3, 0.01  # of a token, at most so many, each at least so likely; a choice: what a tooltip shows

Path = tuple[int, ...]


@dataclass
class Node:
    """A place in a trie of token ids. `closing`: reached by the delimiter, which is not part of the value."""

    children: dict[int, Node] = field(default_factory=dict)
    closing: bool = False

    @cached_property
    def branches(self) -> list[Path]:
        """Token paths to all places below where there is still something to choose."""
        below = [(token, child) for token, child in self.children.items() if child.children]
        here = [(token,) for token, child in below if len(child.children) > 1]
        return here + [(token, *path) for token, child in below for path in child.branches]


class Lexicon:
    """Texts in a checkpoint's own tokens, piece by piece, and tries of choices; remembers both.

    `names`, `physics`: of the program that will be written (all kinds by default).
    """

    def __init__(self, tokenizer, names: Sequence[str] | None = None, physics: int = PHYSICS):
        self.tokenizer, self.names, self.physics = tokenizer, names, physics
        self._ids: dict[str, tuple[int, ...]] = {}
        self._tries: dict[tuple[tuple[str, ...], str], Node] = {}
        self._ahead: dict[Choice, list[Path]] = {}

    @cached_property
    def successors(self) -> dict[tuple[str, str], tuple[str, Choice]]:
        return successors(self.names, self.physics)

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

    def ahead(self, choice: Choice) -> list[Path]:
        """Token paths to look along when this choice is asked: its own digits, and where few strings are legal, the
        text after each of them and the digits of the next choice. Fewer where these are too many tokens."""
        if choice not in self._ahead:
            own = self.trie(choice).branches
            beyond = [path for value in choice.options for path in self._beyond(choice, value)]
            self._ahead[choice] = next((p for p in (own + beyond, own) if _tokens(p) <= MOST_AHEAD), [])
        return self._ahead[choice]

    def _beyond(self, choice: Choice, value: str) -> list[Path]:
        if (choice.path, value) not in self.successors:
            return []
        text, following = self.successors[choice.path, value]
        start = (*self.ids(value), *self.ids(text))
        return [start, *((*start, *path) for path in self.trie(following).branches)]

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


def _tokens(paths: Sequence[Path]) -> int:
    """How many tokens these paths have, common beginnings counted once."""
    return len({path[:end] for path in paths for end in range(1, len(path) + 1)})


class Session:
    """A text that grows inside the model's cache. `passes` counts forward passes.

    A pass may look ahead: side branches hang on the text (each token sees the text and its own branch), and what would
    follow them is known without another pass if the text goes on that way.
    """

    def __init__(self, model, inputs: Mapping[str, torch.Tensor]):
        self.model, self.inputs = model, inputs
        self.device, self.dtype = model.device, model.dtype  # looked up once: it takes a walk over all modules
        self.pending: list[int] = []  # fed, not yet in the cache
        self.known: dict[Path, torch.Tensor] = {}  # logits by the tokens that follow the cached text
        self.passes = 0
        self.cache: Any = None
        vision = {k: v for k, v in inputs.items() if k in ("mm_token_type_ids", "image_grid_thw")}
        self._positions = model.model.get_rope_index(inputs["input_ids"], **vision)[0]  # (3, 1, prompt)
        self._next = int(self._positions.max()) + 1  # position of the next token

    def feed(self, ids: Sequence[int]) -> None:
        """Queue tokens; nothing runs yet."""
        self.pending.extend(ids)

    def logits(self, then: Path = (), ahead: Sequence[Path] = ()) -> torch.Tensor:
        """Logits (vocabulary,), float32, of what follows all that was fed and `then`; a pass only if not known yet.

        A pass also looks along the paths of `ahead` (the first one, with the pictures, does not).
        """
        while (key := (*self.pending, *then)) not in self.known:
            self._run([*ahead, then] if then else ahead)
        return self.known[key]

    @torch.inference_mode()
    def _run(self, ahead: Sequence[Path]) -> None:
        """What was fed goes into the cache; `known` is then about what follows it."""
        fed, self.pending = self.pending, []
        if self.cache is None:
            self.known = {(): self._prompt(fed)}
            return
        branches = dict.fromkeys(path[:end] for path in ahead for end in range(1, len(path) + 1))
        index = {path: place for place, path in enumerate(branches, len(fed))}
        parents = [*range(-1, len(fed) - 1), *(index.get(path[:-1], len(fed) - 1) for path in branches)]
        rows = self._layers([*fed, *(path[-1] for path in branches)], parents, len(branches) + bool(fed))
        if branches:
            self.cache.crop(-len(branches))
        if fed:
            self.known[()], rows, self._next = rows[0], rows[1:], self._next + len(fed)
        self.known = {(): self.known[()], **dict(zip(branches, rows))}

    def _prompt(self, fed: list[int]) -> torch.Tensor:
        """The first pass: pictures, words and what was fed; logits (vocabulary,)."""
        more = torch.tensor([fed], dtype=torch.long, device=self.device)
        positions = torch.arange(len(fed), device=self.device).expand(3, 1, -1) + self._next
        rest = {k: v for k, v in self.inputs.items() if k not in ("input_ids", "attention_mask")}
        output = self.model(
            input_ids=torch.cat([self.inputs["input_ids"], more], 1),
            position_ids=torch.cat([self._positions, positions], 2), use_cache=True, logits_to_keep=1, **rest,
        )  # fmt: skip
        self.cache, self.passes, self._next = output.past_key_values, self.passes + 1, self._next + len(fed)
        return output.logits[0, -1].float()

    def _layers(self, ids: list[int], parents: list[int], keep: int) -> torch.Tensor:
        """A tree of tokens through the text layers: logits (keep, vocabulary) of the last ones.

        The layers alone, because the wrappers of the whole model take as long as a small model's arithmetic.
        """
        past = self.cache.get_seq_length()
        depth: list[int] = []
        sees = torch.zeros(len(ids), past + len(ids), dtype=torch.bool)
        sees[:, :past] = True
        for i, parent in enumerate(parents):
            depth.append(depth[parent] + 1 if parent >= 0 else 0)
            if parent >= 0:
                sees[i, past:] = sees[parent, past:]
            sees[i, past + i] = True
        lowest = torch.finfo(self.dtype).min
        mask = torch.zeros(1, 1, *sees.shape, dtype=self.dtype).masked_fill(~sees, lowest).to(self.device)
        text = self.model.model.language_model
        hidden = text.embed_tokens(torch.tensor([ids], device=self.device))
        rotary = text.rotary_emb(hidden, torch.tensor(depth, device=self.device).expand(3, 1, -1) + self._next)
        for layer in text.layers:
            hidden = layer(hidden, attention_mask=mask, past_key_values=self.cache, position_embeddings=rotary)
        self.passes += 1
        return self.model.lm_head(text.norm(hidden[:, -keep:]))[0].float()


@dataclass
class Decoded:
    """A written Diagnosis: its text, all its token ids, a trace per chosen field, and the passes it took."""

    text: str
    token_ids: list[int]
    trace: list[TokenTrace]
    passes: int


Picker = Callable[[list[int], torch.Tensor], int]
_Others = list[tuple[str, float]]
_Chosen = tuple[str, list[int], list[float], list[_Others]]
Watcher = Callable[[Choice, Session], None]


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
    instead: Mapping[str, str] | None = None,
) -> Decoded:
    """Run a program. `forced` {field: string} sets values; `watch(choice, session)` is called at each present field.

    `instead` {field: any text} is read in the place of a value, legal or not (an experiment on what the words do); the
    text need be no Diagnosis: after what is not legal the program goes on as after the field's first legal string.

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
        elif instead and piece.path in instead:
            value = instead[piece.path]
            answer = value if value in piece.options else piece.options[0]
            session.feed(lexicon.ids(value))
        else:
            if watch and piece.path.endswith(".present"):
                session.logits(ahead=lexicon.ahead(piece))
                watch(piece, session)
            value, ids, logprobs, others = _choose(piece, session, lexicon, pick, forced.pop(piece.path, None))
            span = {"start": len(text), "end": len(text) + len(value)}
            trace.append(TokenTrace(field=piece.path, token_ids=ids, logprobs=logprobs, alternatives=others, **span))
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
    """Make one choice and feed its tokens: (string, token ids, log-probabilities, alternatives)."""
    if force is not None and force not in choice.options:
        raise ValueError(f"{choice.path}: {force!r} is not legal; legal: {', '.join(listed(choice))}")
    wanted = lexicon.path(force, choice) if force is not None else None
    steps = _walk(lexicon.trie(choice), session, pick, wanted, lexicon.ahead(choice))
    ids = [token for token, _, _ in steps]
    value = next(option for option in choice.options if lexicon.path(option, choice) == tuple(ids))
    others = [[(lexicon.tokenizer.decode([other]), each) for other, each in also] for _, _, also in steps]
    return value, ids, [logprob for _, logprob, _ in steps], others


def _walk(
    node: Node, session: Session, pick: Picker, wanted: Sequence[int] | None, ahead: Sequence[Path]
) -> list[tuple[int, float, list[tuple[int, float]]]]:
    """From the root of a trie to a leaf, along `wanted` if given: token, log-probability, the likeliest others.
    Where one token is legal nothing is asked."""
    steps: list[tuple[int, float, list[tuple[int, float]]]] = []
    while node.children:
        token, logprob, others = next(iter(node.children)), 0.0, []
        if len(node.children) > 1:
            tokens, among = legal(node, session.logits(ahead=ahead))
            token = wanted[len(steps)] if wanted else pick(tokens, among)
            logprob = float(among[tokens.index(token)])
            others = _others(token, tokens, among)
        node, ahead = node.children[token], ()
        steps.append((token, logprob, others))
        if not node.closing:
            session.feed([token])
    return steps


def _others(chosen: int, tokens: Sequence[int], logprobs: torch.Tensor) -> list[tuple[int, float]]:
    """The likeliest of the legal tokens that were not chosen, with their log-probabilities."""
    likely = logprobs.topk(min(ALTERNATIVES + 1, len(tokens)))
    pairs = [(tokens[place], value) for place, value in zip(likely.indices.tolist(), likely.values.tolist())]
    return [(token, value) for token, value in pairs if token != chosen and value >= math.log(LEAST)][:ALTERNATIVES]
