"""The program of `grammar.py` as a context-free grammar, for servers and generators with constrained decoding.

xgrammar, vLLM ("grammar" structured output) and llama.cpp read this notation. A JSON schema cannot do it: grammars made
from enumerated decimals depend on how a library prints 0.08. What the grammar leaves free and the program does not: the
two colours may be equal, and the plan may name any kinds in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from degradation.diagnosis import reasoning_order
from degradation.scene import COLOURS
from reasoner.grammar import TECHNICAL, Choice, Piece, Skeleton, answering, program, run


def ebnf(names: Sequence[str] | None = None) -> str:
    """Rules, one a line; `root` writes a Diagnosis of these kinds (all by default)."""
    order = list(names) if names is not None else reasoning_order()
    present, absent = _pieces(order, "true"), _pieces(order, "false")
    first = _first_of(present, "findings.")
    rules = {"root": " ".join(["scene", *(_comma(i) + f"kind{i}" for i in range(len(order))), "quality", "plan"])}
    rules["scene"] = _sequence(present[:first])
    for i, name in enumerate(order):
        branches = [_finding(present, name, "true"), _finding(absent, name, "false")]
        rules[f"kind{i}"] = " | ".join(_sequence(branch) for branch in branches)
    rules["quality"] = " | ".join(_sequence(branch) for branch in _qualities())
    return "\n".join(f"{name} ::= {body}" for name, body in (rules | _plan(order)).items())


def _pieces(order: list[str], present: str) -> list[Piece]:
    """One run with the kinds all present or all absent."""
    return list(run(program(order), answering(present, TECHNICAL[0])))


def _first_of(pieces: list[Piece], path: str) -> int:
    """Where the part of a path begins: the skeleton before its first choice."""
    place = next(i for i, piece in enumerate(pieces) if isinstance(piece, Choice) and piece.path.startswith(path))
    return place - 1


def _finding(pieces: list[Piece], name: str, present: str) -> list[Piece]:
    """From `"name":{` to the closing brace of the finding, `present` said."""
    start = _first_of(pieces, f"findings.{name}.")
    result: list[Piece] = []
    depth = 0
    for piece in pieces[start:]:
        said = isinstance(piece, Choice) and piece.path.endswith(".present")
        result.append(Skeleton(present) if said else piece)
        if isinstance(piece, Skeleton):
            depth += piece.text.count("{") - piece.text.count("}")
            if depth == 0:
                break
    return result


def _qualities() -> Iterable[list[Piece]]:
    """A branch per word: all numbers that have it, then what follows from it."""
    groups: dict[str, list[str]] = {}
    opening = ""
    for number in TECHNICAL:
        pieces = list(run(program([]), answering("false", number)))
        place = _first_of(pieces, "quality.")
        opening = _text(pieces[place])
        after = "".join(_text(piece) for piece in pieces[place + 2 : -1])
        groups.setdefault(after, []).append(number)
    for after, numbers in groups.items():
        yield [Skeleton(opening), Choice("quality.technical", tuple(numbers)), Skeleton(after)]


def _plan(order: list[str]) -> dict[str, str]:
    """Any kinds in their order: list i is a list that begins at kind i or later."""
    rules = {"plan": '( "" | list0 ) "]}"' if order else '"]}"'}
    for i, name in enumerate(order):
        own, more = json.dumps(f'"{name}"'), f"list{i + 1}"
        rules[f"list{i}"] = f'{own} | {own} "," {more} | {more}' if i + 1 < len(order) else own
    return rules


def _comma(position: int) -> str:
    return '"," ' if position else ""


def _text(piece: Piece) -> str:
    return piece.text if isinstance(piece, Skeleton) else ""


def _sequence(pieces: list[Piece]) -> str:
    return " ".join(json.dumps(p.text) if isinstance(p, Skeleton) else _either(p) for p in pieces)


def _either(choice: Choice) -> str:
    options = COLOURS if ".colours." in choice.path else choice.options
    return f"( {' | '.join(map(json.dumps, options))} )"
