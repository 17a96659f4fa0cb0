"""The JSON schema of a Diagnosis, for structured outputs."""

from __future__ import annotations

from typing import Any

from rnr.degradation.diagnosis import QUALITY_WORDS, SCHEMA_VERSION, reasoning_order
from rnr.degradation.kind import PHYSICS, Factor, Kind, kinds
from rnr.degradation.scene import MEDIUM

# A scene's free text is bounded: weak models never end it.
SUMMARY: dict[str, Any] = {"type": ["string", "null"], "maxLength": 300}
OBJECTS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string", "maxLength": 40}, "maxItems": 12}
COLOURS: dict[str, Any] = {"type": "array", "items": {"type": "string", "maxLength": 80}, "minItems": 0, "maxItems": 4}


def diagnosis_schema(names: list[str] | None = None, physics: int = PHYSICS) -> dict[str, Any]:
    """JSON schema of a Diagnosis with a finding for each of these kinds, for structured outputs.

    Severities are integers 0-100, factors are bounded by the ranges of their kind.

    Args:
        names: The kinds that are asked for; all, in the order of reasoning, by default.
        physics: Of the weights that are to write it: factors that came later are left out.

    Returns:
        The schema, plain data.

    Example:
        >>> schema = diagnosis_schema(["noise"])
        >>> list(schema["properties"]["findings"]["properties"])
        ['noise']
    """
    known = kinds()
    asked = names or reasoning_order(known)
    plan = {"type": "array", "items": {"enum": asked}, "maxItems": len(asked)}
    return _object(
        {
            "schema_version": {"const": SCHEMA_VERSION},
            "scene": _scene(physics),
            "findings": _object({name: _finding(known[name].as_of(physics)) for name in asked}),
            "quality": _quality(),
            "plan": plan,
        }
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def _scene(physics: int) -> dict[str, Any]:
    medium: dict[str, Any] = {"medium": {"enum": list(MEDIUM)}} if physics > 1 else {}
    seen = {"summary": SUMMARY, "lighting": _text(80), "colours": COLOURS, "texture": _text(80)}
    return _object(medium | seen | {"layout": _text(80), "objects": OBJECTS})


def _finding(kind: Kind) -> dict[str, Any]:
    evidence, factors = _text(200), {factor.name: _factor(factor) for factor in kind.factors}
    absent = {"evidence": evidence, "present": {"const": False}, "severity": {"const": 0}, "factors": _object({})}
    severity = {"type": "integer", "minimum": 1, "maximum": 100}
    present = {"evidence": evidence, "present": {"const": True}, "severity": severity, "factors": _object(factors)}
    return {"anyOf": [_object(absent), _object(present)]}


def _factor(factor: Factor) -> dict[str, Any]:
    if factor.choices:
        return {"enum": list(factor.choices)}
    return {"type": "number", "minimum": factor.low, "maximum": factor.high}


def _quality() -> dict[str, Any]:
    hundred: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 100}
    words = {"enum": [words for _, words in QUALITY_WORDS]}
    aesthetic = {"anyOf": [hundred, {"type": "null"}]}
    return _object({"technical": hundred, "aesthetic": aesthetic, "words": words, "source": {"const": "model"}})
