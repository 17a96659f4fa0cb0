"""The language of `grammar.program` as an EBNF grammar for servers and generators: exactly the same texts, no more.

xgrammar, vLLM ("grammar" structured output) and llama.cpp read this notation. A JSON schema cannot say that the plan
follows from the findings, the word from the quality, the second colour from the first. Rules f{i}_{S} read "kind i
comes next and the kinds in the bit set S were present".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.kind import PHYSICS
from rnr.degradation.scene import COLOURS, MOST_THINGS, THINGS
from rnr.degradation.schema import OBJECTS, SUMMARY
from rnr.reasoner.grammar import TECHNICAL, Choice, Piece, Skeleton, program, run, thing

FINDINGS, QUALITY = '"findings":{', '},"quality":{'  # texts after which, and with which, a part of the diagnosis begins

SCENE_END = "}," + FINDINGS

CHARACTER = r'([^"\\\x00-\x1f] | "\\" ["\\])'  # of a JSON string in canonical text


def _string(most: int) -> str:
    return rf'"\"" {CHARACTER}{{1,{most}}} "\""'


_OBJECT = _string(OBJECTS["items"]["maxLength"])
FREE = {
    "summary": f'"null" | {_string(SUMMARY["maxLength"])}',
    "objects": f'"null" | "[" {_OBJECT} ("," {_OBJECT}){{0,{OBJECTS["maxItems"] - 1}}} "]"',
}


def ebnf(names: Sequence[str] | None = None, scene_text: bool = False, physics: int = PHYSICS) -> str:
    """Rules, one a line; `root` writes a Diagnosis of these kinds, in this order (all by default).

    `scene_text`: summary and objects of the scene may be free text, for weights that have learned it from a teacher.
    """
    names = reasoning_order() if names is None else names
    scene = _sequence(_scene(physics))
    rules = {
        "root": f"{_with_text(scene) if scene_text else scene} f0_0",
        "colours": _options(_pairs()),
        **(_objects() if physics > 1 else {}),
        "quality": _quality(),
    }
    for i, name in enumerate(names):
        comma = '"," ' if i else ""
        for present in ("false", "true"):
            rules[f"kind{i}_{present}"] = comma + _sequence(_finding(name, present, physics))
        for held in range(2**i):
            rules[f"f{i}_{held}"] = f"kind{i}_false f{i + 1}_{held} | kind{i}_true f{i + 1}_{held | 1 << i}"
    for held in range(2 ** len(names)):
        plan = ",".join(f'"{name}"' for i, name in enumerate(names) if held >> i & 1)
        rules[f"f{len(names)}_{held}"] = f"quality {_quote(plan + ']}')}"
    return "\n".join(f"{name} ::= {body}" for name, body in (rules | (FREE if scene_text else {})).items())


def _with_text(scene: str) -> str:
    """The rule of the scene with rules of FREE for its summary and objects."""
    scene = scene.replace('summary\\":null', 'summary\\":" summary "').replace(
        'objects\\":null', 'objects\\":" objects "'
    )
    return scene.replace(" scene_objects", f" objects {_quote(SCENE_END)}")


def _pieces(names: Sequence[str], physics: int = PHYSICS, **answers: str) -> list[Piece]:
    """What the program writes with these answers (by the last part of the field's path), else the first option."""

    def choose(choice: Choice) -> str:
        wanted = answers.get(choice.path.rsplit(".", 1)[-1])
        return wanted if wanted in choice.options else choice.options[0]

    return list(run(program(names, physics=physics), choose))


def _place(pieces: Sequence[Piece], text: str) -> int:
    """Index of the skeleton that holds this text."""
    return next(i for i, piece in enumerate(pieces) if isinstance(piece, Skeleton) and text in piece.text)


def _scene(physics: int) -> list[Piece]:
    """Up to the findings; the second colour and what is between the two belong to the rule `colours`, what follows the
    objects to the rule `scene_objects` where they are asked."""
    pieces = _pieces([], physics)
    first = next(i for i, p in enumerate(pieces) if isinstance(p, Choice) and p.path == "scene.colours.0")
    scene = pieces[: first + 1] + pieces[first + 3 : _place(pieces, FINDINGS) + 1]
    return scene[:-1] if physics > 1 else scene


def _objects() -> dict[str, str]:
    """null, or words in their order: rule o{k}_{i} reads "k words stand there, the last one is THINGS[i]"."""

    def further(count: int, later: Sequence[str]) -> list[str]:
        return [f"{_quote(thing(count, word))} o{count + 1}_{THINGS.index(word)}" for word in later]

    rules = {"scene_objects": " | ".join([_quote(f"null{SCENE_END}"), *further(0, THINGS)])}
    for count in range(1, MOST_THINGS + 1):
        for last in range(count - 1, len(THINGS)):
            later = THINGS[last + 1 :] if count < MOST_THINGS else ()
            rules[f"o{count}_{last}"] = " | ".join([_quote(f"]{SCENE_END}"), *further(count, later)])
    return rules


def _finding(name: str, present: str, physics: int) -> list[Piece]:
    pieces = _pieces([name], physics, present=present)
    written = pieces[_place(pieces, FINDINGS) + 1 : _place(pieces, QUALITY)]
    return [Skeleton(present) if isinstance(p, Choice) and p.path.endswith(".present") else p for p in written]


def _quality() -> str:
    """Opening, then groups of numbers that share their word."""

    def tail(technical: str) -> str:
        pieces = _pieces([], technical=technical)
        rest = pieces[_place(pieces, QUALITY) + 2 :]
        return "".join(piece.text for piece in rest if isinstance(piece, Skeleton)).removesuffix("]}")

    groups = [f"({_options(list(numbers))}) {_quote(rest)}" for rest, numbers in groupby(TECHNICAL, tail)]
    pieces = _pieces([])
    return f"{_sequence(pieces[_place(pieces, QUALITY) :][:1])} ({' | '.join(groups)})"


def _pairs() -> list[str]:
    return [f'{first}","{second}' for first in COLOURS for second in COLOURS if first != second]


def _sequence(pieces: Sequence[Piece]) -> str:
    """Skeleton as text, choices as alternatives."""
    return " ".join(_element(piece) for piece in pieces)


def _element(piece: Piece) -> str:
    if isinstance(piece, Skeleton):
        return _quote(piece.text)
    return {"scene.colours.0": "colours", "scene.objects.0": "scene_objects"}.get(
        piece.path, f"({_options(piece.options)})"
    )


def _options(texts: Sequence[str]) -> str:
    return " | ".join(map(_quote, texts))


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
