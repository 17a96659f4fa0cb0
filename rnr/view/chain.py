"""The chain of thought as it was written: each chosen value with its tokens, their probability and alternatives.

Records name the chosen tokens and their log-probabilities. Alternatives are shown where a record holds them and said to
be missing where it does not: what is not known is never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

SURE = (0.95, 0.8, 0.6, 0.4)  # probabilities that part the five shades; a choice
TRACE = ("field", "start", "end", "token_ids", "logprobs")  # what a value's trace holds
PARTS = {"scene": "Scene", "quality": "Quality", "plan": "Plan"}


@dataclass(frozen=True)
class Alternative:
    text: str
    percent: str


@dataclass(frozen=True)
class Token:
    """A chosen token; `text` is empty where the tokenizer is not known."""

    text: str
    number: int
    percent: str
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Value:
    """A field of the diagnosis: its name within its part, its text, how sure the model was (None: not recorded)."""

    name: str
    text: str
    confidence: float | None
    tokens: tuple[Token, ...]
    recorded: bool = False  # whether the record says which other tokens were likely

    @property
    def percent(self) -> str:
        return percent(self.confidence)

    @property
    def alternatives(self) -> bool:
        """Whether there are any."""
        return any(token.alternatives for token in self.tokens)

    @property
    def shade(self) -> int | None:
        """0 (sure) to 4."""
        return None if self.confidence is None else sum(self.confidence < edge for edge in SURE)


@dataclass(frozen=True)
class Part:
    """The scene, one finding, the quality or the plan; `kind` is empty unless it is a finding."""

    title: str
    kind: str
    values: tuple[Value, ...]


def percent(probability: float | None) -> str:
    """Such as "98.7 %"; no rounding to certainty."""
    if probability is None:
        return "not recorded"
    if probability < 1 and round(probability, 3) == 1:
        return "> 99.9 %"
    return f"{probability:.1%}".replace("%", " %")


def chain(record: Mapping[str, Any], titles: Mapping[str, str]) -> list[Part]:
    """The parts of a raw record's diagnosis in the order in which they were written.

    Args:
        record: A raw DiagnosisRecord.
        titles: Of the kinds, by name.
    """
    traced = {trace["field"]: trace for trace in record.get("trace") or () if set(TRACE) <= set(trace)}
    parts: dict[str, list[Value]] = {}
    for path, value in _fields(record.get("diagnosis") or {}):
        place, _, name = _place(path).partition("|")
        parts.setdefault(place, []).append(_value(name or "", value, traced.get(path), record))
    return [
        Part(titles.get(place, PARTS.get(place, place)), place if place in titles else "", tuple(values))
        for place, values in parts.items()
    ]


def _fields(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Leaves of a diagnosis with their paths, as a trace names them."""
    if isinstance(value, Mapping):
        pairs = [(str(name), each) for name, each in value.items() if each is not None and name != "schema_version"]
    elif isinstance(value, list):
        pairs = [(str(number), each) for number, each in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for name, each in pairs for leaf in _fields(each, f"{path}.{name}" if path else name)]


def _place(path: str) -> str:
    """findings.noise.factors.sigma -> noise|sigma; scene.colours.0 -> scene|colours 1."""
    names = [name for name in path.split(".") if name not in ("findings", "factors")]
    words = [str(int(name) + 1) if name.isdigit() else name.replace("_", " ") for name in names[1:]]
    return f"{names[0]}|{' '.join(words)}"


def _value(name: str, value: Any, trace: Mapping[str, Any] | None, record: Mapping[str, Any]) -> Value:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).replace("_", " ")
    if trace is None:
        return Value(name, text, None, ())
    logprobs = trace["logprobs"]
    written = str(record.get("text") or "")[trace["start"] : trace["end"]]
    texts = token_texts(tuple(trace["token_ids"]), written)
    held = trace.get("alternatives") or [None] * len(logprobs)
    tokens = [
        Token(word, number, percent(math.exp(logprob)), _alternatives(others))
        for word, number, logprob, others in zip(texts, trace["token_ids"], logprobs, held)
    ]
    return Value(name, text, math.exp(sum(logprobs)), tuple(tokens), bool(trace.get("alternatives")))


def _alternatives(held: Any) -> tuple[Alternative, ...]:
    """[text, log-probability] or {"text" or "token", "logprob"} pairs, as far as a record holds them.

    In a table of `datasets` both of a pair are text: its lists hold one type.
    """
    found = []
    for each in held or ():
        word, logprob = (
            (each.get("text", each.get("token")), each.get("logprob")) if isinstance(each, Mapping) else each
        )
        found.append(Alternative(str(word), percent(None if logprob is None else math.exp(float(logprob)))))
    return tuple(found)


def token_texts(ids: Sequence[int], written: str) -> Sequence[str]:
    """The tokens' texts by the built-in tokenizer, if together they are what was written; else empty."""
    tokenizer = _tokenizer()
    texts = [tokenizer.decode([number]) for number in ids] if tokenizer else []
    return texts if texts and "".join(texts).startswith(written) and written else [""] * len(ids)


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    """Loads no torch."""
    from tokenizers import Tokenizer

    import rnr

    path = Path(rnr.__file__).parent / "reasoner" / "weights" / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None
