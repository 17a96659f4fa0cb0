"""`--instruct`: words of a person -> what is wanted of any restorer that goes by a Diagnosis."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from rnr.degradation.errors import SetupError
from rnr.degradation.kind import kind_named

if TYPE_CHECKING:
    from collections.abc import Collection

    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.degradation.intent import Intent
    from rnr.reasoner.instructions import Reader, Wish

Options = tuple[str, str]  # that name kinds for certain: first, and for each
ONLY: Options = ("", "--only {}")
STRENGTH: Options = ("--strength 0 ", "--strength {}=100")  # of `rnr agent`, which has no --only


@lru_cache(maxsize=64)
def wish_of(words: str, instead: Options = ONLY) -> Wish:
    """What an instruction asks for.

    Args:
        words: English, such as "only remove the rain, keep the mist".
        instead: What an error names.

    Raises:
        SetupError: Where the reader is not sure, or reads nothing that is to be removed: a wrong guess would do harm.

    Example:
        >>> wish_of("only remove the rain, keep the mist").remove
        ('rain',)
    """
    from rnr.reasoner.instructions.reader import SURE

    wish = _reader().read(words)
    if wish.certainty is None or wish.certainty < SURE:
        raise _refused(words, "the reader of instructions is not sure what is meant", instead, wish.remove)
    if not wish.remove:
        nothing = "asks for something else than removing damage" if wish.unknown else "names nothing to be removed"
        raise _refused(words, nothing, instead)
    return wish


@cache
def _reader() -> Reader:
    from rnr.reasoner.instructions import load

    return load()


def _refused(words: str, problem: str, instead: Options, read: Collection[str] = ()) -> SetupError:
    """With the options that say the same for certain."""
    kinds = _reader().kinds
    some = 0 < len(read) < len(kinds)
    named = instead[0] + " ".join(instead[1].format(kind) for kind in (read if some else ["KIND"]))
    remedy = f"If {named} is meant, say so" if some else f"Name what is to go with {named}"
    return SetupError(f'--instruct "{words}": {problem}. {remedy}; there are: {", ".join(kinds)}')


def intent_by(wish: Wish, intent: Intent, before: DiagnosisRecord) -> Intent:
    """An intent limited to a wish, for the picture of this diagnosis."""
    from rnr.restorer.condition import left_alone

    return wish.narrowed(intent, _reader().kinds, left_alone(before, intent))


def in_words(wish: Wish) -> str:
    """What was read, for people: `remove rain, haze`."""
    titles = ", ".join(kind_named(kind).words.title for kind in wish.remove)
    rest = "; the rest of it is unknown to this restorer" if wish.unknown else ""
    return f"remove {titles}{rest} (certainty {wish.certainty:.4f})"
