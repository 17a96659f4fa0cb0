"""A kind that is newer than the weights: they answer bit for bit as before, and everything says `not asked` of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.kind import kind_named
from rnr.judge.reading import severity as reading
from rnr.reasoner import Reasoner
from rnr.report.plain import render
from rnr.work.models import Models
from tests.rnr.test_report import Page, entry


def answers(models: Models, picture: np.ndarray) -> tuple[str, str, Any, bytes]:
    """Prompt, text and beliefs of a reasoner that is loaded anew, and the restored pixels."""
    reasoner = Reasoner.from_pretrained()
    record = reasoner.diagnose([picture])[0]
    restored = models.pipeline.restore(picture.astype(np.float32) / 255, record)
    return reasoner.prompt_text, record.text, record.beliefs, restored.pixels_HWC3.tobytes()


def test_the_built_in_models_answer_as_before(models: Models, crop: np.ndarray, request: Any) -> None:
    before = answers(models, crop[:128, :128])
    name = request.getfixturevalue("new_kind")
    assert kind_named(name).name == name and answers(models, crop[:128, :128]) == before


def test_they_are_not_asked_for_it(models: Models, crop: np.ndarray, new_kind: str) -> None:
    record = models.reasoner.diagnose([crop[:128, :128]])[0]
    assert new_kind not in models.reasoner.kinds and record.diagnosis is not None
    assert record.diagnosis.state(new_kind) == "not_asked" and new_kind not in record.beliefs
    assert reading(record, new_kind).severity is None, "not asked is never 0"
    assert f"Not asked {', '.join(_titles(record))}" in Page(render([entry(record, record)])).words


def _titles(record: DiagnosisRecord) -> list[str]:
    from rnr.degradation.diagnosis import reasoning_order

    assert record.diagnosis is not None
    return [kind_named(name).words.title for name in reasoning_order() if name not in record.diagnosis.findings]


def test_the_restorer_leaves_it_alone(models: Models, crop: np.ndarray, new_kind: str) -> None:
    """Where a person says that it is there."""
    pixels = crop.astype(np.float32) / 255
    diagnosis = Diagnosis(findings={new_kind: Finding(present=True, severity=40)}, plan=[new_kind])
    result = models.pipeline.restore(pixels, diagnosis)
    assert result.untouched and np.array_equal(result.pixels_HWC3, pixels)
