"""`rnr bench instructions`: how a reader of instructions reads phrasings that its training has not seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnr.evaluation.metrics import percent
from rnr.evaluation.tables import Row, Table
from rnr.reasoner.instructions.phrasings import SHARES, Wish, drawn_meaning, phrasing
from rnr.reasoner.instructions.reader import SURE, Reader

CERTAINTIES = (0.0, 0.9, 0.99, 0.999, 0.9999)
NOTE = (
    f"right: all kinds, and whether anything else is wished. sure: certainty at least {SURE:g}, or that of the row. "
    "too much: a kind would be removed that was to stay."
)


@dataclass(frozen=True)
class Case:
    """An instruction, its form (`SHARES`), what it means and what was read in it."""

    words: str
    form: str
    meant: Wish
    read: Wish

    @property
    def certainty(self) -> float:
        return self.read.certainty or 0.0

    @property
    def right(self) -> bool:
        return self.read.same(self.meant)

    @property
    def too_much(self) -> bool:
        """Whether a kind would be removed that was to stay."""
        return not set(self.read.remove) <= set(self.meant.remove)


def cases(reader: Reader, count: int, seed: int, report: Callable[[int], None] = lambda done: None) -> list[Case]:
    """Held-out instructions, of all forms as often as in the training."""
    made = []
    for number in range(count):
        rng = random.Random(10**6 * (seed + 1) + number)
        form = drawn_meaning(rng)
        words, meant = phrasing(rng, reader.kinds, True, form)
        made.append(Case(words, form, meant, reader.read(words)))
        report(number + 1)
    return made


def tables(held: Sequence[Case]) -> dict[str, Table]:
    """By form of the instruction, and by certainty."""
    forms = {form: [case for case in held if case.form == form] for form in SHARES} | {"every form": list(held)}
    by_form = [_of_form(form, some) for form, some in forms.items() if some]
    by_certainty = [_from(certainty, held) for certainty in CERTAINTIES]
    digits = {name: 1 for name in ("right %", "sure %", "right of these %", "too much %")}
    return {
        "instructions": Table.of("Instructions in held-out words", by_form, NOTE, digits),
        "instructions_certainty": Table.of("By certainty", by_certainty, NOTE, digits | {"certainty": 4}),
    }


def _of_form(form: str, held: Sequence[Case]) -> Row:
    right: Row = {"form": form, "n": len(held), "right %": percent([case.right for case in held])}
    return right | _among(held, SURE)


def _from(certainty: float, held: Sequence[Case]) -> Row:
    return {"certainty": certainty} | _among(held, certainty)


def _among(held: Sequence[Case], certainty: float) -> Row:
    """The share that is at least so certain, and what is right of it."""
    sure = [case for case in held if case.certainty >= certainty]
    right, wrong = percent([case.right for case in sure]), percent([case.too_much for case in sure])
    return {"sure %": 100 * len(sure) / len(held), "right of these %": right, "too much %": wrong}
