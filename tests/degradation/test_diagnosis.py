"""The Diagnosis as a file: read, written, edited well and badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnr.degradation import Belief, Diagnosis, DiagnosisRecord, Finding, diagnosis_schema, kinds
from rnr.degradation.diagnosis import QUALITY_WORDS, TokenTrace, quality_words, reasoning_order

NOISE = {"type": "gaussian", "sigma": 13, "colour": "grey"}


def example() -> dict[str, Any]:
    return {
        "schema_version": "1",
        "scene": {
            "summary": None,
            "lighting": "dim",
            "colours": ["green", "grey"],
            "texture": "busy",
            "layout": "balanced",
            "objects": None,
        },
        "findings": {
            "compression": {"evidence": "blockiness below 3 %", "present": False, "severity": 0, "factors": {}},
            "noise": {
                "evidence": "fine residual 12-17 levels",
                "present": True,
                "severity": 25,
                "factors": dict(NOISE),
            },
            "haze": {"evidence": None, "present": None, "severity": None, "factors": {}},
        },
        "quality": {"technical": 70, "aesthetic": None, "words": "good", "source": "model"},
        "plan": ["noise"],
    }


def test_json_is_canonical_and_survives_the_round_trip() -> None:
    text = json.dumps(example(), separators=(",", ":"))
    diagnosis = Diagnosis.from_json(text)
    assert diagnosis.to_json() == text
    assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis
    assert Diagnosis.from_json(json.dumps(example(), indent=4)).to_json() == text


def test_not_asked_unknown_absent_and_present_are_four_states() -> None:
    diagnosis = Diagnosis.model_validate(example())
    states = {name: diagnosis.state(name) for name in ("noise", "compression", "haze", "rain")}
    assert states == {"noise": "present", "compression": "absent", "haze": "unknown", "rain": "not_asked"}
    assert diagnosis.present == ["noise"]


def test_a_diagnosis_is_found_inside_a_record_and_inside_what_restore_writes() -> None:
    diagnosis = Diagnosis.model_validate(example())
    record = DiagnosisRecord(diagnosis=diagnosis, model="m")
    assert Diagnosis.from_json(record.model_dump_json()) == diagnosis
    assert Diagnosis.from_json(json.dumps({"before": record.model_dump(), "after": None})) == diagnosis
    failed = DiagnosisRecord(diagnosis=None, error="unreadable")
    with pytest.raises(ValueError, match="a.json: holds no diagnosis"):
        Diagnosis.from_json(failed.model_dump_json(), "a.json")


def test_numbers_have_one_spelling() -> None:
    edited = example()
    edited["findings"]["noise"]["factors"] = {"type": "poisson", "sigma": 13.0}
    same = example()
    same["findings"]["noise"]["factors"] = {"type": "poisson", "sigma": "13"}
    texts = {Diagnosis.from_json(json.dumps(data)).to_json() for data in (edited, same)}
    assert len(texts) == 1 and '"sigma":13}' in texts.pop()


def put(*path: str) -> Callable[[dict[str, Any], Any], None]:
    def edit(data: dict[str, Any], value: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return edit


NONSENSE = [
    (put("findings", "noise", "severity"), 101, "findings.noise.severity"),
    (put("findings", "noise", "severity"), -1, "findings.noise.severity"),
    (put("findings", "noise", "severity"), 12.5, "findings.noise.severity"),
    (put("findings", "noise", "severity"), "strong", "findings.noise.severity"),
    (put("findings", "noise", "severity"), 0, "findings.noise: .*severity is 0 if and only if not present"),
    (put("findings", "noise", "severity"), None, "findings.noise: .*severity is 0 if and only if not present"),
    (put("findings", "noise", "present"), False, "findings.noise: .*severity is 0 if and only if not present"),
    (put("findings", "noise", "present"), None, "findings.noise: .*severity must be null"),
    (put("findings", "noise", "present"), "maybe", "findings.noise.present"),
    (put("findings", "noise", "strength"), 5, "findings.noise.strength"),
    (put("findings", "noise", "factors", "sigma"), 300, "findings.noise.factors: sigma must lie in 0..100"),
    (put("findings", "noise", "factors", "sigma"), float("nan"), "findings.noise.factors: sigma must lie in"),
    (put("findings", "noise", "factors", "sigma"), "much", "findings.noise.factors: sigma must be a number"),
    (put("findings", "noise", "factors", "sigma"), [1], "findings.noise.factors.sigma"),
    (put("findings", "noise", "factors", "type"), "pink", "findings.noise.factors: type must be one of gaussian"),
    (put("findings", "noise", "factors", "type"), 0, "findings.noise.factors: type must be one of gaussian"),
    (put("findings", "noise", "factors", "airlight"), 0.8, "findings.noise.factors: noise has no factor 'airlight'"),
    (put("findings", "compression", "factors"), {"quality": 30}, "findings.compression: .*factors belong to"),
    (put("findings", "fog"), {"present": True, "severity": 5}, "unknown kind 'fog'; known: blur"),
    (put("findings", "rain"), 40, "findings.rain"),
    (put("findings", "rain"), {"severity": 40}, "findings.rain.present"),
    (put("findings"), None, "findings"),
    (put("findings"), [], "findings"),
    (put("plan"), ["noise", "haze"], "plan names haze"),
    (put("plan"), "noise", "plan"),
    (put("quality", "technical"), 400, "quality.technical"),
    (put("quality", "mood"), "good", "quality.mood"),
    (put("scene", "lighting"), 3, "scene.lighting"),
    (put("scene", "weather"), "bad", "scene.weather"),
    (put("severity"), 30, "severity: Extra"),
    (put("schema_version"), "2", "schema version '2'; this release reads '1'"),
    (put("schema_version"), 1, "schema version 1; this release reads '1'"),
]


@pytest.mark.parametrize(("edit", "value", "message"), NONSENSE, ids=[f"{m[:40]}={v}" for _, v, m in NONSENSE])
def test_nonsense_is_refused_by_the_name_of_its_field(edit: Any, value: Any, message: str) -> None:
    data = example()
    edit(data, value)
    with pytest.raises(ValueError, match=f"^edited.json: .*{message}"):
        Diagnosis.from_json(json.dumps(data), "edited.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"noise"', "null", "[" * 100_000, '{"before": 3}'])
def test_what_is_no_diagnosis_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="^a.json: (not JSON|holds no diagnosis|findings)"):
        Diagnosis.from_json(text, "a.json")


def test_every_mistake_is_named_at_once() -> None:
    data = example()
    data["quality"]["technical"] = 400
    data["findings"]["noise"]["severity"] = 400
    with pytest.raises(ValueError, match="findings.noise.severity.*quality.technical"):
        Diagnosis.from_json(json.dumps(data))


def test_files_are_read_as_editors_write_them(tmp_path: Path) -> None:
    file = tmp_path / "a.diagnosis.json"
    file.write_text(json.dumps(example()), encoding="utf-8-sig")  # with a byte order mark
    assert Diagnosis.read(file).present == ["noise"]
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="a.diagnosis.json: not UTF-8 text"):
        Diagnosis.read(file)


def test_beliefs_keep_the_unscored_apart_from_zero() -> None:
    belief = Belief(probability=0.5, severity_if_present=30, spread=4)
    record = DiagnosisRecord(diagnosis=None, beliefs={"noise": belief})
    assert record.expected_severity("noise") == 15
    assert record.expected_severity("rain") is None
    trace = TokenTrace(field="findings.noise.severity", start=0, end=2, token_ids=[5, 6], logprobs=[-0.5, -0.5])
    assert trace.confidence == pytest.approx(0.36788, abs=1e-4)
    assert DiagnosisRecord.model_validate_json(record.model_dump_json()) == record


def test_quality_words_cover_the_scale() -> None:
    assert [quality_words(edge) for edge, _ in QUALITY_WORDS] == [words for _, words in QUALITY_WORDS]
    assert quality_words(100) == "excellent" and quality_words(1) == "bad"


def test_the_schema_asks_for_every_kind_in_the_order_of_reasoning() -> None:
    schema = diagnosis_schema()
    findings = schema["properties"]["findings"]
    assert list(findings["properties"]) == findings["required"] == reasoning_order() == list(reversed(kinds()))
    assert list(diagnosis_schema(["haze"])["properties"]["findings"]["properties"]) == ["haze"]
    present = findings["properties"]["noise"]["anyOf"][1]["properties"]
    assert list(present) == list(Finding.model_fields)  # evidence, present, severity, factors
    assert present["severity"] == {"type": "integer", "minimum": 1, "maximum": 100}


def test_a_validator_accepts_true_diagnoses_and_refuses_others() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (it comes with the extra dev)")
    torch = pytest.importorskip("torch")
    from rnr.degradation.synthesize import synthesize

    clean = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    validator = jsonschema.Draft202012Validator(diagnosis_schema())
    validator.check_schema(validator.schema)
    for diagnosis in synthesize(clean, 1, "high_order")[1]:
        data = json.loads(diagnosis.to_json())
        assert validator.is_valid(data)
        data["findings"]["haze"]["severity"] = 0 if data["findings"]["haze"]["present"] else 7
        assert not validator.is_valid(data)
