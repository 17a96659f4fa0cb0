"""Expected severity from one pass against all eleven uncached ones."""

from __future__ import annotations

import pytest
import torch

from rnr.reasoner.grammar import segments, severity_opening
from rnr.reasoner.severity import summarise
from tests.reasoner.conftest import picture


@pytest.mark.parametrize("kind", ["compression", "haze", "blur"])
def test_one_pass_equals_eleven(reasoner, kind: str) -> None:
    record = reasoner.diagnose([picture()])[0]
    inputs, lexicon = reasoner.inputs(picture()), reasoner.lexicon
    before = []
    for piece in segments(record.diagnosis):
        if piece.path == f"findings.{kind}.present":
            break
        before += lexicon.ids(piece.text)

    def following(*texts: str) -> torch.Tensor:
        answer = [*before, *(token for text in texts for token in lexicon.ids(text))]
        ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
        types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
        with torch.no_grad():
            output = reasoner.model(**{**inputs, "input_ids": ids, "mm_token_type_ids": types}, use_cache=False)
        return output.logits[0, -1].double()

    def among(logits: torch.Tensor, texts: list[str]) -> dict[str, float]:
        return dict(zip(texts, logits[[lexicon.ids(text)[0] for text in texts]].softmax(0).tolist()))

    digits = [str(n) for n in range(10)]
    start = ("true", severity_opening())
    first, expected = among(following(*start), digits[1:]), 0.0
    for tens in digits[1:]:
        then = among(following(*start, tens), [*digits, ","])
        expected += first[tens] * then[","] * int(tens)
        for ones in digits:
            value = 10.0 * int(tens) + int(ones)
            if value == 10:
                last = among(following(*start, "1", "0"), ["0", ","])
                value = 100 * last["0"] + 10 * last[","]
            expected += first[tens] * then[ones] * value
    belief = record.beliefs[kind]
    assert belief.severity_if_present == pytest.approx(expected, abs=1e-4)
    assert belief.probability == pytest.approx(among(following(), ["true", "false"])["true"], abs=1e-6)
    assert belief.expected_severity == pytest.approx(belief.probability * expected, abs=1e-4)


def test_summary_of_a_known_distribution() -> None:
    distribution = torch.zeros(100, dtype=torch.float64)
    distribution[[9, 19, 29]] = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    belief = summarise(0.5, distribution)
    assert belief.severity_if_present == pytest.approx(20) and belief.spread == pytest.approx(50**0.5)
    assert belief.interval == (10, 30) and belief.expected_severity == pytest.approx(10)
