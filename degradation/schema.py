"""The JSON schema of a Diagnosis, for structured outputs."""

from __future__ import annotations

import json
from typing import Any

from rnr.degradation.diagnosis import QUALITY_WORDS, SCHEMA_VERSION, reasoning_order
from rnr.degradation.kind import PHYSICS, Kind, kinds
from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, MEDIUM, MOST_THINGS, TEXTURE, THINGS

SUMMARY: dict[str, Any] = {"type": "string", "maxLength": 300}  # a scene's free text, bounded: weak models never end it
OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": 12}


def diagnosis_schema(names: list[str] | None = None, closed: bool = False, physics: int = PHYSICS) -> dict[str, Any]:
    """JSON schema of a Diagnosis with a finding for each of these kinds, for structured outputs.

    Severities are integers 0-100, factors are bounded by the ranges of their kind.

    Args:
        names: The kinds that are asked for; all, in the order of reasoning, by default.
        closed: Limit evidence and scene to the words of the built-in reasoner.
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

    def obj(properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def words(options: tuple[str, ...]) -> dict[str, Any]:
        return {"enum": list(options)} if closed else {"type": "string", "maxLength": 80}

    def finding(kind: Kind) -> dict[str, Any]:
        evidence = {"enum": list(kind.measurement.texts)} if closed else {"type": "string", "maxLength": 200}
        factors = {f.name: _factor_schema(f, closed) for f in kind.factors}
        absent = {"evidence": evidence, "present": {"const": False}, "severity": {"const": 0}, "factors": obj({})}
        severity = {"type": "integer", "minimum": 1, "maximum": 100}
        present = {"evidence": evidence, "present": {"const": True}, "severity": severity, "factors": obj(factors)}
        return {"anyOf": [obj(absent), obj(present)]}

    anything: dict[str, Any] = {"type": "null"} if closed else SUMMARY | {"type": ["string", "null"]}
    things = {"type": "array", "items": {"enum": list(THINGS)}, "minItems": 1, "maxItems": MOST_THINGS}
    listed: dict[str, Any] = {"anyOf": [{"type": "null"}, things]} if physics > 1 else {"type": "null"}
    objects = listed if closed else OBJECTS | {"type": ["array", "null"]}
    colours = {"type": "array", "items": words(COLOURS), "minItems": 2 if closed else 0, "maxItems": 2 if closed else 4}
    scene: dict[str, Any] = {"medium": {"enum": list(MEDIUM)}} if physics > 1 else {}
    scene |= {"summary": anything, "lighting": words(LIGHTING), "colours": colours, "texture": words(TEXTURE)}
    scene |= {"layout": words(LAYOUT), "objects": objects}
    hundred: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 100}
    quality = {
        "technical": hundred,
        "aesthetic": {"type": "null"} if closed else {"anyOf": [hundred, {"type": "null"}]},
    }
    quality |= {"words": {"enum": [w for _, w in QUALITY_WORDS]}, "source": {"const": "model"}}
    plan = {"type": "array", "items": {"enum": asked}, "maxItems": len(asked)}
    findings = obj({name: finding(known[name].as_of(physics)) for name in asked})
    version = {"const": SCHEMA_VERSION}
    return obj(
        {"schema_version": version, "scene": obj(scene), "findings": findings, "quality": obj(quality), "plan": plan}
    )


def _factor_schema(factor: Any, closed: bool) -> dict[str, Any]:
    if factor.choices:
        return {"enum": list(factor.choices)}
    if closed:  # numbers exactly as the canonical text writes them
        return {"enum": [json.loads(text) for text in factor.texts]}
    return {"type": "number", "minimum": factor.low, "maximum": factor.high}
