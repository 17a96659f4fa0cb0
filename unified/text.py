"""The four parts of a restoration's text as one sequence of tokens, and where its fields stand.

1. *Intent*: what the person asks, in words. 2. *Analysis*: the Diagnosis. 3. *Plan*: the kinds that are there and are
to go, last formed first. 4. *Expected result*: the technical quality that is left to expect. UARE has the intent first;
here the analysis comes first, in the turn that a reasoner knows, so that what is wished does not change what is seen.
The second turn holds the other three. Its meaning of the intent is written in the closed words of the Diagnosis:

    {"wish":{"noise":true,"rain":false,"unknown":false},"plan":["noise"],"quality":{"technical":74}}

A model of language reads the person's words in that turn. The built-in reasoner's vocabulary has none: there the words
are read by `rnr.reasoner.instructions`, its answer stands in the text, and the turn of the user is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.reasoner.collate import IGNORED, SKELETON, Collator
from rnr.reasoner.grammar import TECHNICAL, Choice, Program, Skeleton, run, segments
from rnr.reasoner.instructions.phrasings import Wish

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

TRUE = ("true", "false")
FIELDS = ("evidence", "present", "severity")  # of the kind itself
SLOTS = (*FIELDS, "technical", "wish", "expected")  # hidden states that a leg is conditioned on


@dataclass
class Written:
    """Tokens of a text behind its views.

    Attributes:
        ids: As shown to the model.
        true: As they should be, of the same length.
        weights: Of each token in the loss of the text.
        soft: By position, the shares of tokens where a number is spread (`rnr.reasoner.collate`).
        places: By field, the index of the token whose hidden state chooses it.
    """

    ids: list[int]
    true: list[int]
    weights: list[float]
    soft: dict[int, dict[int, float]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)


def answer(names: Sequence[str], diagnosis: Diagnosis) -> Program:
    """The second turn as a program of `rnr.reasoner.grammar`: wish and expected quality are chosen, plan follows."""
    chosen: dict[str, str | None] = {}
    yield Skeleton('{"wish":{')
    for name in (*names, "unknown"):
        yield Skeleton(f'"{name}"')
        yield Skeleton(":")
        chosen[name] = yield Choice(f"wish.{name}", TRUE)
        yield Skeleton("}" if name == "unknown" else ",")
    yield Skeleton(',"plan":[')
    planned = [name for name in diagnosis.plan if chosen.get(name) == "true"]
    for position, name in enumerate(planned):
        yield Skeleton("," * bool(position))
        yield Skeleton(f'"{name}"')
    yield Skeleton("]")
    yield Skeleton(',"quality":{"technical":')
    yield Choice("expected.technical", TECHNICAL, "}")
    yield Skeleton("}")
    yield Skeleton("}")


def turn(processor: Any, words: str) -> str:
    """The second turn of a person up to the answer, in the chat format of the checkpoint."""
    said = [{"role": "user", "content": [{"type": "text", "text": words}]}]
    return processor.apply_chat_template(said, add_generation_prompt=True)


def chosen_by(names: Sequence[str], wish: Wish, expected: float | None) -> dict[str, str]:
    """What the choices of `answer` write for a wish; an expected quality that nobody knows is 100."""
    quality = 100 if expected is None else min(100, max(0, round(expected)))
    written = {f"wish.{name}": str(name in wish.remove).lower() for name in names}
    return written | {"wish.unknown": str(wish.unknown).lower(), "expected.technical": str(quality)}


def first_turn(collator: Collator, row: dict[str, Any], diagnosis: Diagnosis, learned: bool) -> Written:
    """Views, prompt and Diagnosis; `learned`: whether the Diagnosis is a label, or what the reasoner itself wrote."""
    sequence = Written(*collator.encode(row, diagnosis))
    at = len(collator.prompt_ids(row["prompt"], row["images"].shape[:3]))
    for segment in segments(diagnosis):
        if segment.path:
            sequence.places[segment.path] = at - 1
        at += len(collator.tokenizer.encode(segment.text, add_special_tokens=False))
    if not learned:
        sequence.weights = [0.0] * len(sequence.ids)
    return sequence


def add_turn(
    sequence: Written, collator: Collator, words: str, diagnosis: Diagnosis, names: Sequence[str], wish: Wish,
    expected: float | None, reads: bool,
) -> None:  # fmt: skip
    """Append the second turn.

    Args:
        sequence: Of the first.
        collator: Whose tokenizer and chat format are used.
        words: The person's; "" where the model does not read any.
        diagnosis: The first turn's.
        names: The kinds in the answer.
        wish: Their meaning.
        expected: Quality 0-100 after the restoration; None: not known, and then not learned.
        reads: Whether the model learns to write the wish: it must have read the words.
    """
    chosen = chosen_by(names, wish, expected)
    append(sequence, collator, turn(collator.processor, words), 0.0)
    for piece in run(answer(names, diagnosis), lambda choice: chosen[choice.path]):
        if isinstance(piece, Skeleton):
            append(sequence, collator, piece.text, SKELETON)
            continue
        sequence.places[piece.path] = len(sequence.ids) - 1
        learned = reads if piece.path.startswith("wish.") else expected is not None
        append(sequence, collator, chosen[piece.path], float(learned))
    append(sequence, collator, collator.tokenizer.eos_token, SKELETON)


def append(sequence: Written, collator: Collator, text: str, weight: float) -> None:
    ids = collator.tokenizer.encode(text, add_special_tokens=False)
    sequence.ids += ids
    sequence.true += ids
    sequence.weights += [weight] * len(ids)


def tokens_of(states_SD: torch.Tensor, places: dict[str, int], kind: str) -> torch.Tensor:
    """Hidden states (slots, D) at the fields that a leg of this kind is conditioned on; zeros where one is not written.

    Args:
        states_SD: Of all tokens.
        places: As `Written` has them.
        kind: Whose leg.
    """
    paths = [f"findings.{kind}.{name}" for name in FIELDS]
    paths += ["quality.technical", f"wish.{kind}", "expected.technical"]
    zero = states_SD.new_zeros(states_SD.shape[-1])
    return torch.stack([states_SD[places[path]] if path in places else zero for path in paths])


def padded(sequences: Sequence[Written], pad: int, image: int) -> dict[str, torch.Tensor]:
    """A batch: input_ids, labels, loss_weights, mm_token_type_ids (B, S), soft_places (N, 3), soft_shares (N,)."""
    longest = max(len(each.ids) for each in sequences)

    def filled(rows: list[list], value: float) -> torch.Tensor:
        return torch.tensor([row + [value] * (longest - len(row)) for row in rows])

    ids, weights = filled([s.ids for s in sequences], pad), filled([s.weights for s in sequences], 0.0)
    labels = torch.where(weights > 0, filled([s.true for s in sequences], IGNORED), IGNORED)
    soft = [(i, at, token, share) for i, s in enumerate(sequences) for at, shares in s.soft.items()
            if s.weights[at] > 0 for token, share in shares.items()]  # fmt: skip
    return {
        "input_ids": ids, "labels": labels, "loss_weights": weights, "mm_token_type_ids": (ids == image).long(),
        "soft_places": torch.tensor([entry[:3] for entry in soft]).reshape(-1, 3).long(),
        "soft_shares": torch.tensor([entry[3] for entry in soft]),
    }  # fmt: skip
