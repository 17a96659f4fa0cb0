"""Any field can be forced, by the name that people write; what is wrong lists what is right."""

from __future__ import annotations

import pytest

from rnr.degradation.errors import Error
from rnr.reasoner.forcing import fields, settled
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.reasoner import Reasoner, Settings
from rnr.reasoner.views import VIEWS
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, picture


def test_every_field_has_a_short_name_and_can_be_forced(reasoner: Reasoner) -> None:
    last = {path: choice.options[-1].strip('"') for path, choice in fields().items() if not path.endswith("present")}
    last["scene.colours.1"] = "grey"  # the two differ
    assert last.pop("scene.objects") == "mountain"  # written in pieces: see below
    short = {path.removeprefix("findings.").replace(".factors.", "."): value for path, value in last.items()}
    record = reasoner.diagnose([picture()], Settings(), short)[0]
    assert record.diagnosis is not None, record.error
    assert settled(short) == settled(last)
    written = {entry.field: record.text[entry.start : entry.end].strip('"') for entry in record.trace}
    assert {path: written[path] for path in last} == last


def test_what_follows_from_a_forced_value(reasoner: Reasoner) -> None:
    assert settled({"haze.severity": 0}) == {"findings.haze.present": "false"}
    assert settled({"noise.type": "poisson"}) == {
        "findings.noise.factors.type": '"poisson"',
        "findings.noise.present": "true",
    }
    record = reasoner.diagnose([picture()], Settings(), {"haze.severity": 0, "noise.severity": 33.0})[0]
    assert record.expected_severity("haze") == 0 and record.expected_severity("noise") == 33
    assert record.beliefs["noise"].spread == 0 and record.diagnosis is not None
    assert record.diagnosis.findings["noise"].severity == 33 and not record.diagnosis.findings["haze"].present
    free = reasoner.diagnose([picture()], Settings())[0]
    sure = reasoner.diagnose([picture()], Settings(), {"rain.present": True})[0]
    assert sure.beliefs["rain"].probability == 1 and free.beliefs["rain"].probability < 1


def test_objects_are_forced_as_words(tokenizer, processor) -> None:
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1)
    fresh = Reasoner(model, processor, {"prompt": "diagnose_tuned", "views": VIEWS}, "fresh")
    for words, seen in ((["sky", "person"], ["person", "sky"]), ("water", ["water"]), (None, None)):
        record = fresh.diagnose([picture()], Settings(beliefs=False), {"scene.objects": words})[0]
        assert record.diagnosis is not None and record.diagnosis.scene.objects == seen, record.error


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ({"fog.severity": 3}, "no field 'fog.severity'; there are scene.medium"),
        ({"noise.severity": 101}, "'101' is not legal; legal: 1, 2, ... 100"),
        ({"noise.evidence": "grain"}, "'grain' is not legal; legal: fine residual below 1 levels, "),
        ({"noise.colour": "blue"}, "legal: per_channel, grey$"),
        ({"scene.objects": "lamp"}, "scene.objects: 'lamp' is not legal; legal: null, person, animal"),
        ({"scene.objects": ["person", "sky", "water", "food", "room"]}, "one to 4 different words, or null"),
        ({"noise.present": False, "noise.sigma": 20}, "findings.noise.present cannot be both false and true"),
    ],
)
def test_nonsense_lists_what_is_legal(forced: dict[str, object], message: str) -> None:
    with pytest.raises(Error, match=message):
        settled(forced)
