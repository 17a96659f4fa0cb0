"""The canonical JSON of a Diagnosis as a program: fixed text, and values chosen one after the other.

`program(kinds)` is a generator. It yields `Skeleton(text)`, to be written as it is, and `Choice(path, options)`, to be
answered by sending the chosen string back. What it writes is exactly `Diagnosis.to_json()`, so a finished run is valid
whatever chose. Order of thought: scene; per kind evidence, present, severity, factors; then quality. The words of the
quality and the plan follow from what was chosen. A choice that is followed by `,` or `}` is a number or a bare word:
that delimiter is a piece of its own, because it is what ends a number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from rnr.degradation.diagnosis import SCHEMA_VERSION, Diagnosis, Scene, quality_words, reasoning_order
from rnr.degradation.kind import PHYSICS, Factor, Kind, kinds
from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, MEDIUM, MOST_THINGS, TEXTURE, THINGS

SEVERITIES = tuple(str(n) for n in range(1, 101))
TECHNICAL = tuple(str(n) for n in range(101))
PRESENT = ("true", "false")
CLOSING = "]}"  # ends the objects and the scene; it ends the plan, too, and `]` alone would be split off from it


@dataclass(frozen=True)
class Skeleton:
    """Text of a Diagnosis that is not chosen.

    Attributes:
        text: As it stands in the canonical JSON.

    Example:
        >>> next(program(["noise"])).text.startswith('{"schema_version"')
        True
    """

    text: str


@dataclass(frozen=True)
class Choice:
    """A field of the Diagnosis whose value is chosen.

    Attributes:
        path: Of the field, with dots, such as findings.noise.severity.
        options: Its legal strings, as the canonical JSON writes them.
        end: The text that ends it (for numbers).

    Example:
        >>> Choice("findings.noise.present", PRESENT).options
        ('true', 'false')
    """

    path: str
    options: tuple[str, ...]
    end: str = ""


FEW = 6  # strings: what is chosen among so few leads to a text that can be foreseen; a choice
Piece = Skeleton | Choice
Program = Generator[Piece, str | None, None]


@dataclass(frozen=True)
class Segment:
    """A piece of a written Diagnosis; `path` is None for skeleton. `start`, `end`: span in the text, characters."""

    text: str
    start: int
    end: int
    path: str | None = None
    options: tuple[str, ...] = ()


def program(
    names: Sequence[str] | None = None,
    given: Scene | None = None,
    physics: int = PHYSICS,
    medium: bool | None = None,
) -> Program:
    """Write a Diagnosis of these kinds as a generator: it yields pieces, and is sent the string that was chosen.

    Args:
        names: The kinds, in the order in which they are written; all, in the order of reasoning, by default.
        given: A scene with free text, instead of one that is chosen.
        physics: Of the weights that write: factors that came later are left out.
        medium: Whether the scene's medium and objects are asked; since physics 2 they are.

    Yields:
        `Skeleton` for text that stands fixed, `Choice` for a field. After a Choice the chosen option is sent.

    Example:
        >>> writing = program(["noise"])
        >>> piece = next(writing)
        >>> while isinstance(piece, Skeleton):
        ...     piece = writing.send(None)
        >>> piece.path, piece.options
        ('scene.medium', ('photograph', 'graphic'))
    """
    known = kinds()
    order = list(names) if names is not None else reasoning_order(known)
    yield from _scene(given or Scene(), physics > 1 if medium is None else medium)
    present = []
    for position, name in enumerate(order):
        if position:
            yield Skeleton(",")
        if (yield from _finding(known[name].as_of(physics))):
            present.append(name)
    yield from _quality()
    for position, name in enumerate(present):
        if position:
            yield Skeleton(",")
        yield Skeleton(f'"{name}"')
    yield Skeleton("]}")


def _scene(given: Scene, medium: bool) -> Program:
    summary, free = (
        json.dumps(text, separators=(",", ":"), ensure_ascii=False) for text in (given.summary, given.objects)
    )
    opening = f'{{"schema_version":"{SCHEMA_VERSION}","scene":{{'
    if medium:
        yield Skeleton(f'{opening}"medium":"')
        yield Choice("scene.medium", MEDIUM)
        opening = '",'
    yield Skeleton(f'{opening}"summary":{summary},"lighting":"')
    yield Choice("scene.lighting", LIGHTING)
    yield Skeleton('","colours":["')
    first = yield Choice("scene.colours.0", COLOURS)
    yield Skeleton('","')
    yield Choice("scene.colours.1", tuple(colour for colour in COLOURS if colour != first))
    yield Skeleton('"],"texture":"')
    yield Choice("scene.texture", TEXTURE)
    yield Skeleton('","layout":"')
    yield Choice("scene.layout", LAYOUT)
    if medium and listed(given.objects):
        yield Skeleton('","objects":')
        yield from _objects()
    else:
        yield Skeleton(f'","objects":{free}}},"findings":{{')


def listed(objects: Sequence[str] | None) -> bool:
    """Whether the objects of a scene are null or words of the closed list, in its order, as a reasoner chooses them."""
    if objects is None:
        return True
    return 0 < len(objects) <= MOST_THINGS and list(objects) == [word for word in THINGS if word in objects]


def _objects() -> Program:
    """null, or the first word and then further ones, in the list's order, and what closes the scene."""
    chosen = yield Choice("scene.objects.0", ("null", *(thing(0, word) for word in THINGS)))
    if chosen == "null":
        yield Skeleton('},"findings":{')
        return
    for number in range(1, MOST_THINGS + 1):
        later = THINGS[THINGS.index(str(chosen).strip('[",')) + 1 :]
        if number == MOST_THINGS or not later:
            yield Skeleton(CLOSING)
            break
        chosen = yield Choice(f"scene.objects.{number}", (CLOSING, *(thing(number, word) for word in later)))
        if chosen == CLOSING:
            break
    yield Skeleton(',"findings":{')


def thing(number: int, word: str) -> str:
    """How the word with this number stands in the list of objects."""
    return f'{"," if number else "["}"{word}"'


def _finding(kind: Kind) -> Generator[Piece, str | None, bool]:
    """One kind; returns whether it was held present."""
    path = f"findings.{kind.name}"
    yield Skeleton(f'"{kind.name}":{{"evidence":"')
    yield Choice(f"{path}.evidence", kind.measurement.texts)
    yield Skeleton('","present":')
    if (yield Choice(f"{path}.present", PRESENT)) == "false":
        yield Skeleton(',"severity":0,"factors":{}}')
        return False
    yield Skeleton(severity_opening())
    yield Choice(f"{path}.severity", SEVERITIES, ",")
    for position, factor in enumerate(kind.factors):
        opening = '"factors":{' if position == 0 else ""
        yield Skeleton(",")
        yield Skeleton(f'{opening}"{factor.name}":')
        end = "," if position < len(kind.factors) - 1 else "}"
        yield Choice(f"{path}.factors.{factor.name}", literals(factor), end)
    yield Skeleton("}")
    yield Skeleton("}")
    return True


def severity_opening() -> str:
    """What stands between `true` and the severity."""
    return ',"severity":'


def literals(factor: Factor) -> tuple[str, ...]:
    """The legal values of a factor as JSON writes them: numbers, or words in quotes."""
    return tuple(f'"{word}"' for word in factor.choices) or factor.texts


def _quality() -> Program:
    yield Skeleton('},"quality":{"technical":')
    technical = yield Choice("quality.technical", TECHNICAL, ",")
    yield Skeleton(",")
    words = quality_words(int(technical or 0))
    yield Skeleton(f'"aesthetic":null,"words":"{words}","source":"model"}},"plan":[')


def segments(diagnosis: Diagnosis) -> list[Segment]:
    """The pieces of the diagnosis' canonical text.

    Args:
        diagnosis: Complete, with values on the grids of their factors.

    Returns:
        In order, with spans in `diagnosis.to_json()`; those with a `path` are values, the others skeleton.

    Raises:
        ValueError: If it holds what the program cannot write.

    Example:
        >>> import torch
        >>> from rnr.degradation.synthesize import degrade, prescribe, truths
        >>> clean, recipe = torch.full((1, 3, 64, 64), 0.5), prescribe({"noise": 40}, seed=0)
        >>> found = truths(clean, degrade(clean, recipe), recipe, ["noise"])[0]
        >>> "".join(piece.text for piece in segments(found)) == found.to_json()
        True
    """
    text, running, result = (
        diagnosis.to_json(),
        program(
            list(diagnosis.findings), diagnosis.scene, written_physics(diagnosis), diagnosis.scene.medium is not None
        ),
        [],
    )
    answer: str | None = None
    place = 0
    while True:
        try:
            piece = running.send(answer)
        except StopIteration:
            break
        path = None if isinstance(piece, Skeleton) else piece.path
        answer = None if isinstance(piece, Skeleton) else _value(diagnosis, piece)
        written = piece.text if isinstance(piece, Skeleton) else answer or ""
        if not text.startswith(written, place):
            raise ValueError(f"not canonical at character {place}: {text[place : place + 40]!r}, expected {written!r}")
        options = () if isinstance(piece, Skeleton) else piece.options
        result.append(Segment(written, place, place + len(written), path, options))
        place += len(written)
    if place != len(text):
        raise ValueError(f"not canonical after character {place}: {text[place : place + 40]!r}")
    return result


def written_physics(diagnosis: Diagnosis) -> int:
    """The newest physics all of whose factors the findings hold."""
    known = kinds()
    missing = [
        factor.since
        for name, finding in diagnosis.findings.items()
        for factor in known[name].factors
        if finding.present and factor.name not in finding.factors
    ]
    return min(missing, default=PHYSICS + 1) - 1


def objects_written(objects: Sequence[str] | None) -> dict[str, str]:
    """The choices that write these objects, null or words in the list's order: by path, what is chosen."""
    found: dict[str, str] = {}

    def choose(choice: Choice) -> str:
        found[choice.path] = _object(objects, choice.path)
        return found[choice.path]

    list(run(_objects(), choose))
    return found


def _object(objects: Sequence[str] | None, path: str) -> str:
    """What the choice with this path writes for these objects."""
    if objects is None:
        return "null"
    number = int(path.rsplit(".", 1)[-1])
    return thing(number, objects[number]) if number < len(objects) else CLOSING


def _value(diagnosis: Diagnosis, choice: Choice) -> str:
    """The string that stands in the diagnosis at the path of a choice."""
    if choice.path.startswith("scene.objects"):
        return _object(diagnosis.scene.objects, choice.path)
    data: object = diagnosis
    for part in choice.path.split("."):
        if isinstance(data, dict):
            data = data[part]
        else:
            data = data[int(part)] if isinstance(data, list) else getattr(data, part)
    written = data if isinstance(data, str) and data in choice.options else json.dumps(data)
    if written not in choice.options:
        raise ValueError(
            f"{choice.path}: {written!r} is not a legal value; legal: {', '.join(choice.options[:12])} ..."
        )
    return written


def run(running: Program, choose: Callable[[Choice], str]) -> Iterator[Piece]:
    """Drive a program with `choose(choice) -> str`, yielding its pieces."""
    answer: str | None = None
    while True:
        try:
            piece = running.send(answer)
        except StopIteration:
            return
        yield piece
        answer = choose(piece) if isinstance(piece, Choice) else None


def successors(names: Sequence[str] | None = None, physics: int = PHYSICS) -> dict[tuple[str, str], tuple[str, Choice]]:
    """By path and chosen string, for choices of at most FEW strings: the text that follows and the next choice."""
    found: dict[tuple[str, str], tuple[str, Choice]] = {}
    for turn in range(FEW):
        for present in PRESENT:

            def choose(choice: Choice, turn: int = turn, present: str = present) -> str:
                if choice.options == PRESENT:
                    return present
                return choice.options[turn % len(choice.options) if len(choice.options) <= FEW else 0]

            last, text = None, ""
            for piece in run(program(names, physics=physics), choose):
                if isinstance(piece, Skeleton):
                    text += piece.text
                    continue
                if last is not None and len(last.options) <= FEW:
                    found[last.path, choose(last)] = text, piece
                last, text = piece, ""
    return found


def vocabulary(names: Sequence[str] | None = None) -> list[str]:
    """All fixed texts and all worded values that a program of these kinds can write, sorted; numbers are left out."""
    found = {*COLOURS, CLOSING, ',"findings":{', *(thing(number, word) for word in THINGS for number in (0, 1))}
    for technical in TECHNICAL:
        for present in PRESENT:
            for piece in run(program(names), answering(present, technical)):
                found.update([piece.text] if isinstance(piece, Skeleton) else piece.options)
    return sorted(text for text in found if not text.lstrip("-").replace(".", "", 1).isdigit())


def answering(present: str, technical: str) -> Callable[[Choice], str]:
    """A chooser that gives these answers, and the first legal string elsewhere."""
    wanted = {"present": present, "technical": technical}
    return lambda choice: wanted.get(choice.path.rsplit(".", 1)[-1], choice.options[0])
