"""Any field can be forced, by the name that people write; what is wrong lists what is right."""

from __future__ import annotations

import pytest

from rnr.degradation.errors import Error
from rnr.reasoner.forcing import fields, settled
from rnr.reasoner.reasoner import Reasoner, Settings
from tests.reasoner.conftest import picture


def test_every_field_has_a_short_name_and_can_be_forced(reasoner: Reasoner) -> None:
    last = {path: choice.options[-1].strip('"') for path, choice in fields().items() if not path.endswith("present")}
    last["scene.colours.1"] = "grey"  # the two differ
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


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ({"fog.severity": 3}, "no field 'fog.severity'; there are scene.medium"),
        ({"noise.severity": 101}, "'101' is not legal; legal: 1, 2, ... 100"),
        ({"noise.evidence": "grain"}, "'grain' is not legal; legal: fine residual below 1 levels, "),
        ({"noise.colour": "blue"}, "legal: per_channel, grey$"),
        ({"noise.present": False, "noise.sigma": 20}, "findings.noise.present cannot be both false and true"),
    ],
)
def test_nonsense_lists_what_is_legal(forced: dict[str, object], message: str) -> None:
    with pytest.raises(Error, match=message):
        settled(forced)
