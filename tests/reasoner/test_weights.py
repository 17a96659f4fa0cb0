"""The weights that come with the package: they load, they see, and their words matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.kind import kinds
from rnr.degradation.synthesize import degrade, prescribe
from rnr.reasoner.card import BUILT_IN
from rnr.reasoner.reasoner import Reasoner


@pytest.fixture(scope="module")
def built_in() -> Reasoner:
    return Reasoner.from_pretrained("built-in")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="scikit-image, which brings photographs, is not installed")
    return data.astronaut()[:320, 100:420]


def damaged(photograph: np.ndarray, **severities: float) -> np.ndarray:
    clean = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
    image = degrade(clean, prescribe(severities, seed=1))
    return (image[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_they_know_these_kinds_and_are_small(built_in) -> None:
    assert set(built_in.kinds) <= set(reasoning_order())
    assert sum(path.stat().st_size for path in BUILT_IN.iterdir()) < 12_000_000


@pytest.mark.parametrize("kind", ["noise", "haze", "rain", "low_light"])
def test_more_damage_is_more_severe(built_in, kind: str) -> None:
    """On the average of four photographs: single ones can mislead a small model."""
    data = pytest.importorskip("skimage.data", reason="scikit-image, which brings photographs, is not installed")
    photographs = [
        picture[:256, 60:316] for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    ]

    def expected(pictures: list[np.ndarray]) -> float:
        return float(np.mean([record.expected_severity(kind) for record in built_in.diagnose(pictures)]))

    some, much = (expected([damaged(p, **{kind: severity}) for p in photographs]) for severity in (30, 65))
    print(kind, expected(photographs), some, much)
    assert expected(photographs) + 10 < much and some < much


def test_the_evidence_causes_the_severity(built_in, photograph) -> None:
    """A wrong word about a thin haze, and the belief in it follows. Of noise the pictures say more than the word does:
    there these weights hardly follow (docs/lab-log.md)."""
    hazy = damaged(photograph, haze=30)
    words = [kinds()["haze"].measurement.texts[place] for place in (0, -1)]
    forced = [built_in.diagnose([hazy], forced={"findings.haze.evidence": word})[0] for word in words]
    low, high = (record.expected_severity("haze") for record in forced)
    assert low + 5 < high
