"""The built-in quality model: deterministic, the same in a batch, monotone in damage, silent where it knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.quality.loading import FOLDER, load, load_clip
from rnr.quality.model import QualityModel


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return load_clip()


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [photographs["chelsea"], photographs["coffee"][:97, :211], photographs["rocket"][:60, :50]]


def test_a_picture_alone_equals_the_picture_in_a_batch(model: QualityModel, pictures: list[np.ndarray]) -> None:
    assert [model.score([picture])[0] for picture in pictures] == model.score(pictures)
    assert model.score(pictures[::-1])[::-1] == model.score(pictures)


def test_depths_agree(model: QualityModel, pictures: list[np.ndarray]) -> None:
    eight = pictures[1]
    found = model.score([eight, eight.astype(np.uint16) * 257, eight.astype(np.float32) / 255])
    assert [s.technical for s in found] == pytest.approx([found[0].technical] * 3, abs=0.05)


@pytest.mark.parametrize("kind", ["noise", "blur", "compression"])
def test_more_damage_scores_lower(model: QualityModel, photographs: dict[str, np.ndarray], kind: str) -> None:
    clean = to_tensor(photographs["astronaut"][:320, :320])
    strengths = [to_uint8(clean), *(to_uint8(degrade(clean, prescribe({kind: s}, seed=1))) for s in (20, 50))]
    scores = [s.technical or 0 for s in model.score(strengths)]
    assert scores[0] > scores[2] and scores[1] > scores[2]


def test_what_it_says_is_whole_and_within_range(model: QualityModel, pictures: list[np.ndarray]) -> None:
    for found in model.score(pictures):
        assert found.technical is not None and found.interval is not None
        assert 0 <= found.interval[0] <= found.technical <= found.interval[1] <= 100
        assert list(found.ladder) == ["bad", "poor", "fair", "good", "perfect"]
        assert sum(found.ladder.values()) == pytest.approx(1, abs=1e-3) and len(set(found.words)) == 3


def test_there_is_no_number_where_nothing_was_learned(model: QualityModel, pictures: list[np.ndarray]) -> None:
    (found,) = model.score(pictures[:1])
    assert found.aesthetic is None and "ratings" in found.missing["aesthetic"]


def test_words_find_their_damage(model: QualityModel, photographs: dict[str, np.ndarray]) -> None:
    clean = to_tensor(photographs["astronaut"][:320, :320])
    noisy = to_uint8(degrade(clean, prescribe({"noise": 60}, seed=1)))
    assert all("noise" in word for word in model.score([noisy])[0].words[:2])


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((0, 4, 3)), np.full((8, 8, 3), np.nan)])
def test_what_is_no_picture_is_refused(model: QualityModel, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="picture"):
        model.score([bad])


def test_the_weights_are_small_and_say_who_they_are() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6e6
    found = load()
    assert found.identity["model"] == "built-in" and len(found.identity["model_hash"]) == 16
