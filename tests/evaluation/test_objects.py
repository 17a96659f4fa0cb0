"""Words of what photographs show: the counting by hand, and a table from a reasoner that says them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.evaluation.objects import damaged, f1, table
from rnr.reasoner.reasoner import Reasoner, Settings


class Knowing:
    """The built-in reasoner, whose words of the scene are right where an image is undamaged, and else none."""

    def __init__(self, reasoner: Reasoner, known: dict[bytes, list[str]]) -> None:
        self.reasoner, self.kinds, self.known = reasoner, reasoner.kinds, known
        self.physics, self.identity = reasoner.physics, reasoner.identity

    def diagnose(self, images: Iterable[Any], /) -> list[DiagnosisRecord]:
        pictures = list(images)
        records = self.reasoner.diagnose(pictures, Settings(beliefs=False))
        for image, record in zip(pictures, records):
            assert record.diagnosis is not None
            record.diagnosis.scene.objects = self.known.get(image.tobytes())
        return records


def test_f1_by_hand():
    true = [{"sky"}] * 5 + [set()]
    assert f1("sky", true, [{"sky"}] * 6) == pytest.approx(10 / 11)
    assert f1("sky", true, [set()] * 6) == 0
    assert f1("sky", true[1:], [{"sky"}] * 5) is None


def test_words_of_undamaged_and_damaged_photographs():
    images = {f"{i}.png": np.random.default_rng(i).integers(0, 255, (160, 160, 3), dtype=np.uint8) for i in range(5)}
    labels = {name: ["sky", "water"] if i else ["sky"] for i, name in enumerate(images)}
    known = {image.tobytes(): labels[name] for name, image in images.items()}
    reasoner = Knowing(Reasoner.from_pretrained(), known)
    done: list[int] = []
    found = {
        row["word"]: row
        for row in table(reasoner, {**images, "other.png": images["0.png"]}, labels, 3, done.append).rows
    }
    assert done == [1, 2, 3, 4, 5]
    assert (found["sky"]["n"], found["sky"]["F1"], found["sky"]["F1 damaged"]) == (5, 1, 0)
    assert (found["water"]["n"], found["water"]["F1"]) == (4, None)
    assert found["mean"]["F1"] == 1 and "person" not in found
    assert not np.array_equal(damaged(images["0.png"], "haze", 1), images["0.png"])
    with pytest.raises(ValueError, match="names none of these photographs"):
        table(reasoner, {"other.png": images["0.png"]}, labels, 3, done.append)
