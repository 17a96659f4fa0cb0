"""The whole answer of a reasoner as one sequence of tokens, by the names of the Diagnosis' fields.

`decode` writes an answer piece by piece in a cache. To look inside a model, one forward pass over the finished answer
is simpler: every hidden state, every attention and every gradient belongs to the same pass. The sequence is the prompt,
the answer, and behind it side branches. A branch hangs on the place where a field is asked and holds the beginnings of
its legal strings (all digits of a number), so that the probability of every string can be read off exactly, as
`rnr.reasoner.severity` reads it. A token sees its ancestors only (Cai et al., "Medusa", 2024, tree attention).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.errors import Error
from rnr.reasoner.decode import Lexicon, Path
from rnr.reasoner.grammar import Choice, Skeleton, program, run, segments, severity_opening
from rnr.reasoner.severity import SEVERITY

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

# the order of `rnr.reasoner.views` and `.drawn`
VIEWS = ("overview", "rich_crop", "smooth_crop", "spectrum", "fine_spectrum", "marks", "maps")
Row = Callable[[int], "torch.Tensor"]  # logits (vocabulary,) that follow a token of the sequence


@dataclass(frozen=True)
class Place:
    """Where a field or a view stands in the sequence.

    Attributes:
        asked: Index of the token whose logits choose the value; of a view, its last token.
        start: First token of the value or of the view.
        end: One past the last.
        value: The string that was chosen; "" for a view, and for a severity that is only "if present".

    Example:
        >>> Place(asked=9, start=10, end=12, value="40").value
        '40'
    """

    asked: int
    start: int
    end: int
    value: str = ""


@dataclass
class Tree:
    """A choice with the token of the sequence at which each beginning of its legal strings ends."""

    choice: Choice
    nodes: dict[Path, int]


@dataclass
class Script:
    """Tokens of an answer behind a prompt of `prompt` tokens.

    Attributes:
        prompt: Length of the prompt.
        ids: Tokens behind the prompt.
        parents: For each, the index in the sequence of the token it follows.
        depth: For each, how many tokens behind the prompt it stands, from 0.
        places: Fields by path ("findings.haze.severity"), views by name ("views.overview").
        trees: Choices by path; of a kind that the answer holds absent, the severity "if present", too.
        length: Tokens of prompt and answer; behind them come the branches.
    """

    prompt: int
    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    length: int = 0

    def add(self, ids: Sequence[int], parent: int) -> int:
        """Append tokens one after the other, the first behind `parent`; the index of the last one."""
        for token in ids:
            self.depth.append(self.depth[parent - self.prompt] + 1 if parent >= self.prompt else 0)
            self.ids.append(token)
            self.parents.append(parent)
            parent = self.prompt + len(self.ids) - 1
        return parent

    def place(self, name: str) -> Place:
        """A field or a view by its name; a field also without `findings.` ("haze.severity").

        Raises:
            Error: For a name that is not there; it lists those that are.
        """
        return self.places[self.path(name)]

    def path(self, name: str) -> str:
        """The full name of a field or a view. Raises Error as `place`."""
        for full in (name, f"findings.{name}", f"views.{name}"):
            if full in self.places:
                return full
        raise Error(f"there is no {name!r} in this answer; there are {', '.join(self.places)}")

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """(1, 1, S, S) additive attention mask: each token sees the prompt as usual, and its ancestors."""
        size = self.prompt + len(self.ids)
        sees = torch.zeros(size, size, dtype=torch.bool)
        sees[: self.prompt, : self.prompt] = torch.ones(self.prompt, self.prompt).tril().bool()
        for index, parent in enumerate(self.parents, self.prompt):
            sees[index] = sees[parent]
            sees[index, index] = True
        return torch.zeros(1, 1, size, size, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)

    def asked(self) -> list[int]:
        """Tokens whose logits are needed for all distributions, ascending."""
        return sorted({node for tree in self.trees.values() for node in tree.nodes.values()})


def script_of(reasoner: Any, diagnosis: Diagnosis, prompt_ids: Sequence[int]) -> Script:
    """The script of a diagnosis as this reasoner would have written it.

    Args:
        reasoner: A `rnr.reasoner.Reasoner`.
        diagnosis: Canonical, of the reasoner's kinds and physics.
        prompt_ids: Tokens of the prompt, with those of the views.

    Raises:
        ValueError: For a diagnosis that the reasoner's program cannot write.
    """
    chosen = {segment.path: segment.text for segment in segments(diagnosis) if segment.path}
    script = Script(len(prompt_ids))
    last = script.prompt - 1
    asked: list[tuple[Choice, int]] = []

    def choose(choice: Choice) -> str:
        if choice.path not in chosen:
            raise ValueError(f"the diagnosis does not hold {choice.path}, which this reasoner writes")
        return chosen[choice.path]

    for piece in run(program(reasoner.kinds, diagnosis.scene, reasoner.physics), choose):
        value = piece.text if isinstance(piece, Skeleton) else chosen[piece.path]
        end = script.add(reasoner.lexicon.ids(value), last)
        if isinstance(piece, Choice):
            script.places[piece.path] = Place(last, last + 1, end + 1, value)
            asked.append((piece, last))
        last = end
    script.length = last + 1
    script.places |= views_in(prompt_ids, reasoner)
    for choice, anchor in asked:
        script.trees[choice.path] = hang(script, reasoner.lexicon, choice, anchor)
    _severities(script, reasoner.lexicon)
    return script


def hang(script: Script, lexicon: Lexicon, choice: Choice, anchor: int, start: Path = ()) -> Tree:
    """Side branches for a choice that is asked after `anchor` and the tokens of `start`."""
    root = script.add(start, anchor)
    nodes: dict[Path, int] = {(): root}
    for path in sorted(lexicon.trie(choice).branches, key=len):
        for end in range(1, len(path) + 1):
            if path[:end] not in nodes:
                nodes[path[:end]] = script.add(path[end - 1 : end], nodes[path[: end - 1]])
    return Tree(choice, nodes)


def _severities(script: Script, lexicon: Lexicon) -> None:
    """The severity that an absent kind would have: branches behind `true`, where the answer says `false`."""
    start = (*lexicon.ids("true"), *lexicon.ids(severity_opening()))
    for path in [path for path in script.trees if path.endswith(".present")]:
        name = path.removesuffix("present") + "severity"
        if name not in script.trees:
            tree = hang(script, lexicon, SEVERITY, script.places[path].asked, start)
            root = tree.nodes[()]
            script.trees[name], script.places[name] = tree, Place(root, root + 1, root + 1)


def views_in(prompt_ids: Sequence[int], reasoner: Any) -> dict[str, Place]:
    """The views of a prompt by name, in their order."""
    image = reasoner.processor.image_token_id
    marks = [int(token) == image for token in prompt_ids]
    starts = [i for i, mark in enumerate(marks) if mark and not (i and marks[i - 1])]
    ends = [i + 1 for i, mark in enumerate(marks) if mark and not (i + 1 < len(marks) and marks[i + 1])]
    names = [*VIEWS, *(str(number) for number in range(len(VIEWS), len(starts)))]
    return {f"views.{name}": Place(end - 1, start, end) for name, start, end in zip(names, starts, ends)}


def log_probabilities(tree: Tree, row: Row, lexicon: Lexicon) -> torch.Tensor:
    """Log-probability of each legal string of a choice, (options,) float64, differentiable.

    The product over the tokens of a string, each among the legal ones at its place; they sum to 1.
    """
    choice = tree.choice
    among: dict[Path, tuple[dict[int, int], torch.Tensor]] = {}
    for path, token in tree.nodes.items():
        node = lexicon.trie(choice)
        for step in path:
            node = node.children[step]
        if len(node.children) > 1:
            legal = list(node.children)
            logits = row(token)
            picked = logits[torch.tensor(legal, device=logits.device)].double()
            among[path] = {t: i for i, t in enumerate(legal)}, torch.log_softmax(picked, 0)
    rows = []
    for value in choice.options:
        tokens = lexicon.path(value, choice)
        steps = [
            among[tokens[:i]][1][among[tokens[:i]][0][tokens[i]]] for i in range(len(tokens)) if tokens[:i] in among
        ]
        rows.append(torch.stack(steps).sum() if steps else torch.zeros((), dtype=torch.float64))
    return torch.stack(rows)


def expected(script: Script, kind: str, row: Row, lexicon: Lexicon) -> torch.Tensor:
    """P(present) x E[severity | present] of a kind, a scalar in 0..100, differentiable."""
    present = script.trees[f"findings.{kind}.present"]
    probability = log_probabilities(present, row, lexicon)[present.choice.options.index("true")].exp()
    shares = log_probabilities(script.trees[f"findings.{kind}.severity"], row, lexicon).exp()
    values = torch.arange(1, len(shares) + 1, dtype=shares.dtype, device=shares.device)
    return probability * (shares * values).sum()


def rows_of(logits: torch.Tensor, tokens: Sequence[int]) -> Row:
    """Rows by token of the sequence, where only those of `tokens` were computed."""
    index: Mapping[int, int] = {token: place for place, token in enumerate(tokens)}
    return lambda token: logits[index[token]]
