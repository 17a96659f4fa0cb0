"""What people ask of a restoration, in many phrasings with their meaning: what a reader of instructions learns from.

The phrasings, the names of kinds and the wishes that no restorer can meet are templates in `prompts/`; those that are
held out are for tests and benchmarks alone. A meaning is resolved: for each kind whether it is to be removed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from rnr import prompts
from rnr.degradation.kind import kinds

if TYPE_CHECKING:
    from collections.abc import Collection

    from rnr.degradation.intent import Intent

SHARES = {"only": 0.36, "except": 0.2, "both": 0.2, "all": 0.06, "none": 0.03, "unknown": 0.07, "mixed": 0.08}
# of the meanings in training and tests; a choice
MANY = (0.6, 0.3, 0.1)  # shares of one, two, three kinds that are named; a choice
NAMED = 3  # a person who names so few kinds knows that they are there, whatever the reasoner's doubt; a choice


@dataclass(frozen=True)
class Wish:
    """The meaning of an instruction.

    Attributes:
        remove: The kinds that are to be removed, where they are found.
        unknown: Whether something is wished that a restorer of damage cannot do.
        certainty: Of the model that read it, 0-1; None where none is known.

    Example:
        >>> Wish(("rain", "snow")).same(Wish(("snow", "rain")))
        True
    """

    remove: tuple[str, ...]
    unknown: bool = False
    certainty: float | None = None

    def same(self, other: Wish) -> bool:
        """Whether both ask for the same, in any order."""
        return set(self.remove) == set(other.remove) and self.unknown == other.unknown

    def narrowed(self, intent: Intent, known: Collection[str], doubtful: Collection[str]) -> Intent:
        """An intent limited to what is wished. Kinds that a person names one by one overrule doubt.

        Args:
            intent: With the kinds that it is limited to already.
            known: All kinds that could have been wished away; where all of them are, nothing is limited.
            doubtful: Kinds that are left alone where nobody names them.
        """
        asked = [kind for kind in self.remove if intent.kinds is None or kind in intent.kinds]
        if set(asked) >= set(known):
            return intent
        doubtful = doubtful if len(asked) > NAMED else ()
        return replace(intent, kinds=[kind for kind in asked if kind not in doubtful])

    def as_record(self, words: str) -> dict[str, Any]:
        """For the record of a restoration."""
        read = {"words": words, "remove": list(self.remove), "unknown": self.unknown}
        return read if self.certainty is None else {**read, "certainty": round(self.certainty, 4)}


def drawn_meaning(rng: random.Random) -> str:
    """One of `SHARES`, as often as it says."""
    return rng.choices(list(SHARES), list(SHARES.values()))[0]


def phrasing(rng: random.Random, names: Sequence[str], held_out: bool = False, meaning: str = "") -> tuple[str, Wish]:
    """An instruction and its meaning.

    Args:
        rng: Everything random comes from it.
        names: The kinds that can be named.
        held_out: In words that no training sees.
        meaning: One of `SHARES`; by default it is drawn.

    Returns:
        The words, and what they mean of the kinds in `names`.

    Example:
        >>> words, wish = phrasing(random.Random(4), ["rain", "haze", "noise"])
        >>> isinstance(words, str), set(wish.remove) <= {"rain", "haze", "noise"}
        (True, True)
    """
    meaning = meaning or drawn_meaning(rng)
    meaning = "only" if meaning == "both" and len(names) < 2 else meaning
    text = _taken(rng, rng.choice(_phrases(held_out)[meaning]))
    drawn = rng.sample(list(names), min(len(names), _count(rng) + _count(rng)))
    cut = rng.randint(1, max(1, min(3, len(drawn) - 1)))
    removed, kept = drawn[:cut], drawn[cut:] or drawn[:1]
    words = text.format(
        remove=_listed(rng, removed[:3]), keep=_listed(rng, kept[:3]), unknown=rng.choice(_beyond(held_out))
    )
    goes = {"all": names, "except": [n for n in names if n not in kept[:3]], "none": (), "unknown": ()}
    remove = goes.get(meaning, removed[:3])
    wish = Wish(tuple(n for n in names if n in remove), meaning in ("unknown", "mixed"))
    return _spelt(rng, words), wish


def _taken(rng: random.Random, text: str) -> str:
    """The phrasing with one of each bracket's alternatives."""
    chosen = re.sub(r"\[([^]]*)\]", lambda found: rng.choice(found[1].split("|")), text)
    return re.sub(r" +", " ", chosen).replace(" ,", ",").strip()


def _count(rng: random.Random) -> int:
    return rng.choices((1, 2, 3), MANY)[0]


def _listed(rng: random.Random, names: Sequence[str]) -> str:
    """Kinds as people list them."""
    words = [rng.choice(_called(name)) for name in names]
    joint = rng.choice((" and ", " or ")) if len(words) > 2 else " and "
    return joint.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _spelt(rng: random.Random, words: str) -> str:
    """With or without a capital and a full stop."""
    words = words[0].upper() + words[1:] if rng.random() < 0.5 else words
    return words + rng.choice((".", "", "", "!"))


@cache
def vocabulary(names: tuple[str, ...]) -> frozenset[str]:
    """All words, in lower case, of the phrasings that are not held out."""
    texts = [text for texts in _phrases(False).values() for text in texts] + _beyond(False)
    texts += [word for name in names for word in _called(name)]
    words = (re.findall(r"\w+", re.sub(r"{\w+}", " ", text).lower()) for text in texts)
    return frozenset({"and", "or"}.union(*words))


def _called(name: str) -> tuple[str, ...]:
    return _names()[name] if name in _names() else _titled(name)


def _titled(name: str) -> tuple[str, ...]:
    title = kinds()[name].words.title
    return title, f"the {title}"


def _lines(name: str) -> list[str]:
    return [line.strip() for line in prompts.load(name).fill().splitlines() if line.strip()]


@cache
def _names() -> dict[str, tuple[str, ...]]:
    pairs = (line.split(":", 1) for line in _lines("instruct_words"))
    return {name: tuple(word.strip() for word in words.split("|")) for name, words in pairs}


@cache
def _phrases(held_out: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _lines("instruct_held_out" if held_out else "instruct_phrases"):
        meaning, text = line.split(":", 1)
        found.setdefault(meaning, []).append(text.strip())
    return found


@cache
def _beyond(held_out: bool) -> list[str]:
    lines = _lines("instruct_beyond")
    cut = lines.index("---")
    return lines[cut + 1 :] if held_out else lines[:cut]
