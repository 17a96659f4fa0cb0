"""What a caller forces into an answer: field names as people write them, legal values listed, contradictions refused.

    reasoner.diagnose([photo], forced={"noise.evidence": "fine residual 24-34 levels"})
    reasoner.diagnose([photo], forced={"scene.objects": ["person", "sky"]})
    reasoner.diagnose([photo], forced={"haze.severity": 0, "noise.sigma": 20, "scene.lighting": "dark"})

A forced severity or factor forces `present`; a severity of 0 is absence. What follows in the text is conditioned on it,
and the belief in a kind whose presence or severity was forced is certain, as after an edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnr.degradation.diagnosis import Belief
from rnr.degradation.errors import Error
from rnr.degradation.kind import PHYSICS
from rnr.degradation.scene import MOST_THINGS, THINGS
from rnr.reasoner.grammar import Choice, Skeleton, answering, objects_written, program, run

OBJECTS = "scene.objects"


def fields(names: Sequence[str] | None = None, physics: int = PHYSICS) -> dict[str, Choice]:
    """Every field that an answer about these kinds can hold, with its legal values, in order."""
    pieces = run(program(names, physics=physics), answering("true", "50"))
    known = {piece.path: piece for piece in pieces if not isinstance(piece, Skeleton)}
    second, colours = "scene.colours.1", known["scene.colours.0"].options  # any but the first one's
    if known.pop(f"{OBJECTS}.0", None):
        known[OBJECTS] = Choice(OBJECTS, ("null", *THINGS))
    return known | {second: replace(known[second], options=colours)}


def settled(forced: Mapping[str, object], names: Sequence[str] | None = None, physics: int = PHYSICS) -> dict[str, str]:
    """Full paths and legal strings of what a caller forces.

    Args:
        forced: By field: "findings.noise.severity", "noise.severity", a factor as "noise.sigma" or
            "findings.noise.factors.sigma"; values as strings, numbers or truth values.
        names: Kinds that are asked for, all by default.
        physics: Of the weights.

    Raises:
        Error: For a field that is not there, with those that are; for a value that is not legal, with those that are;
            for fields that contradict each other.
    """
    known = fields(names, physics)
    found = {path_of(name, known): value for name, value in forced.items()}
    result: dict[str, str] = {}
    for path, value in found.items():
        if path == OBJECTS:
            result |= _objects(known[path], value)
            continue
        head, _, last = path.rpartition(".")
        if last == "severity" and text_of(value) == "0":
            _put(result, f"{head}.present", "false")
            continue
        _put(result, path, legal(known[path], value))
        if last == "severity" or ".factors." in path:
            _put(result, ".".join(path.split(".")[:2]) + ".present", "true")
    return result


def _objects(choice: Choice, value: object) -> dict[str, str]:
    """The choices that write these objects: a word, words in any order, or null."""
    words = [legal(choice, word) for word in ([value] if value is None or isinstance(value, str) else value)]  # type: ignore[attr-defined]
    if words == ["null"]:
        return objects_written(None)
    if not 0 < len(set(words)) <= MOST_THINGS or "null" in words:
        raise Error(f"{OBJECTS}: one to {MOST_THINGS} different words, or null; got {', '.join(words) or 'none'}")
    return objects_written(sorted(set(words), key=THINGS.index))


def _put(result: dict[str, str], path: str, value: str) -> None:
    if result.setdefault(path, value) != value:
        raise Error(f"{path} cannot be both {result[path]} and {value}: a severity of 0 is absence, a factor presence")


def path_of(name: str, known: Mapping[str, Choice]) -> str:
    """The full path of a field. Raises Error that lists the fields."""
    kind, _, rest = name.partition(".")
    for path in (name, f"findings.{name}", f"findings.{kind}.factors.{rest}"):
        if path in known:
            return path
    raise Error(f"there is no field {name!r}; there are {', '.join(known)}")


def legal(choice: Choice, value: object) -> str:
    """The string that the answer holds for a value. Raises Error that lists the legal ones."""
    text = text_of(value)
    for written in (text, f'"{text}"'):
        if written in choice.options:
            return written
    raise Error(f"{choice.path}: {text!r} is not legal; legal: {', '.join(listed(choice))}")


def listed(choice: Choice) -> list[str]:
    """The legal values of a field as people write them; a range where they are evenly spaced numbers."""
    words = [option.strip('"') for option in choice.options]
    if len(words) > 12 and all(word.lstrip("-").replace(".", "", 1).isdigit() for word in words):
        return [f"{words[0]}, {words[1]}, ... {words[-1]}"]
    return words


def text_of(value: object) -> str:
    """A value as JSON writes it, a string without quotes: True is `true`, 3.0 is `3`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def overruled(beliefs: Mapping[str, Belief], forced: Mapping[str, str]) -> dict[str, Belief]:
    """Beliefs with certainty where presence or severity was forced.

    Args:
        beliefs: By kind.
        forced: As `settled` returns it.
    """
    result = dict(beliefs)
    for kind, belief in beliefs.items():
        present, severity = (forced.get(f"findings.{kind}.{field}") for field in ("present", "severity"))
        if present == "false":
            result[kind] = Belief.certain(0)
        elif severity is not None:
            result[kind] = Belief.certain(int(severity))
        elif present == "true":
            result[kind] = belief.model_copy(update={"probability": 1.0})
    return result
