"""The shipped models on damage by a generator that they were not trained on.

Figures are printed (`pytest -s`); what is asserted is what any release must do: know more than chance about what was
done, and make pictures better on average.
"""

from __future__ import annotations

import numpy as np
import pytest

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import kind_named, kinds
from rnr.degradation.photographs import to_tensor
from rnr.evaluation.metrics import presence
from tests.evaluation.other_generator import KINDS, Damage, damage, salt_noise, to_bytes

Seen = tuple[list[str], np.ndarray, np.ndarray, DiagnosisRecord]
SINGLE = [[name] for name in KINDS]
FORMS = [(name, form) for name, forms in KINDS.items() for form in forms]
each_form = pytest.mark.parametrize(("name", "form"), FORMS, ids=[form.__name__ for _, form in FORMS])
MIXED = [["haze", "noise"], ["rain", "haze"], ["low_light", "noise"], ["noise", "blur"]]  # the last one out of order


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-10))


@pytest.fixture(scope="module")
def clean(photographs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Two crops of 160 px."""
    return [photographs["coffee"][120:280, 200:360], photographs["chelsea"][60:220, 120:280]]


@pytest.fixture(scope="module")
def reasoner():
    from rnr.reasoner.reasoner import Reasoner

    return Reasoner.from_pretrained()


@pytest.fixture(scope="module")
def diagnosed(reasoner, clean: list[np.ndarray]) -> list[Seen]:
    """Every damage that these weights know on every picture: kinds, clean, damaged, record."""
    seen = []
    known = [names for names in SINGLE + MIXED if set(names) <= set(reasoner.kinds)]
    for seed, names in enumerate(known):
        for picture in clean:
            damaged = damage(picture, names, seed)
            seen.append((names, picture, damaged, reasoner.diagnose([to_bytes(damaged)])[0]))
    return seen


@pytest.fixture(scope="module")
def restorer():
    from rnr.restorer.pipeline import RestorePipeline

    return RestorePipeline.from_pretrained("built-in")


def test_there_is_another_form_of_every_kind():
    assert set(KINDS) == set(kinds())


@each_form
def test_each_damage_is_seen_and_repeats(name: str, form: Damage, clean: list[np.ndarray]):
    picture = clean[0].astype(np.float32) / 255
    once, again = (form(picture, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.shape == picture.shape and 8 < psnr(once.clip(0, 1), picture) < 35


@each_form
def test_our_own_measurements_see_it(name: str, form: Damage, clean: list[np.ndarray]):
    """The evidence of a kind moves the right way, so that the label means the same in both generators."""
    kind = kind_named(name)

    def measured(picture: np.ndarray) -> float:
        return float(kind.measure(to_tensor(to_bytes(picture)))[0])

    picture = clean[0].astype(np.float32) / 255
    before, after = measured(picture), measured(form(picture, np.random.default_rng(4)))
    assert after < before if kind.measurement.falls else after > before


def test_salt_is_a_noise_of_few_pixels(clean: list[np.ndarray]):
    salted = salt_noise(clean[0].astype(np.float32) / 255, np.random.default_rng(0))
    assert 0.02 < np.mean((salted != clean[0].astype(np.float32) / 255).any(2)) < 0.04


def test_the_reasoner_finds_what_others_did(diagnosed: list[Seen]):
    truth: list[bool] = []
    said: list[bool] = []
    for names, _, _, record in diagnosed:
        assert record.diagnosis is not None, record.error
        truth += [kind in names for kind in record.diagnosis.findings]
        said += [bool(finding.present) for finding in record.diagnosis.findings.values()]
    score = presence(truth, said)
    print(f"other generator: precision {score.precision:.2f}, recall {score.recall:.2f}, F1 {score.f1:.2f}")
    chance = 2 * np.mean(truth) / (1 + np.mean(truth))  # F1 of calling everything present
    assert score.f1 > chance


def test_restored_is_better_than_damaged(diagnosed: list[Seen], restorer):
    gains: dict[str, list[float]] = {}
    for names, picture, damaged, record in diagnosed:
        restored = restorer.restore(damaged, record).pixels_HWC3
        gain = psnr(restored, picture / 255) - psnr(damaged, picture / 255)
        gains.setdefault("+".join(names), []).append(gain)
    print("other generator, gain in dB:", {name: round(float(np.mean(values)), 2) for name, values in gains.items()})
    assert np.mean([np.mean(values) for values in gains.values()]) > 0
