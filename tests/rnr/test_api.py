"""`import rnr`: the same from a path, a PIL image and an array; a given diagnosis is obeyed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rnr
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.images.files import read_picture

from .conftest import Run, expected


@pytest.fixture(scope="module")
def diagnosed(crop: np.ndarray) -> rnr.Diagnosed:
    return rnr.diagnose(crop, device="cpu")


@pytest.fixture(scope="module")
def result(crop: np.ndarray) -> rnr.Result:
    return rnr.restore(crop, device="cpu")


def test_a_diagnosis_reads_as_record_and_as_diagnosis(diagnosed: rnr.Diagnosed):
    assert isinstance(diagnosed, DiagnosisRecord) and diagnosed.model_hash
    assert "noise" in diagnosed.present and diagnosed.state("noise") == "present"
    assert diagnosed.findings["noise"].severity == diagnosed.diagnosis.findings["noise"].severity
    assert expected(diagnosed, "noise") > 10
    assert Diagnosis.from_json(diagnosed.model_dump_json()) == diagnosed.diagnosis


def test_all_sources_give_the_same(crop: np.ndarray, diagnosed: rnr.Diagnosed, batch: Run):
    for source in (Image.fromarray(crop), batch.folder / "a.png", str(batch.folder / "a.png")):
        assert rnr.diagnose(source, device="cpu").text == diagnosed.text


def test_restore_gives_what_it_promises(crop: np.ndarray, result: rnr.Result):
    assert result.image.size == (crop.shape[1], crop.shape[0]) and result.image.mode == "RGB"
    assert isinstance(result.before, Diagnosis) and isinstance(result.after, Diagnosis)
    before, after = (expected(record, "noise") for record in result.records)
    assert not result.untouched and after < before


def test_the_command_gives_the_same_pixels(result: rnr.Result, batch: Run):
    written = read_picture(batch.out / "a.png").pixels_HWC3.astype(int)
    # Another number of threads sums in another order: a value may round the other way.
    assert np.abs(result.pixels_HWC3.astype(int) - written).max() <= 1


def test_sixteen_bits_in_sixteen_bits_out(crop: np.ndarray, tmp_path: Path):
    deep = rnr.restore(crop.astype(np.uint16) * 257, device="cpu")
    assert deep.pixels_HWC3.dtype == np.uint16 and deep.image.mode == "RGB"
    assert np.array_equal(read_picture(deep.save(tmp_path / "deep.png")).pixels_HWC3, deep.pixels_HWC3)


def test_alpha_comes_along(crop: np.ndarray):
    image = rnr.restore(Image.fromarray(np.dstack([crop, crop[..., 0]])), device="cpu").image
    assert image.mode == "RGBA" and np.array_equal(np.asarray(image)[..., 3], crop[..., 0])


def test_a_given_diagnosis_is_obeyed(
    crop: np.ndarray, diagnosed: rnr.Diagnosed, result: rnr.Result, nothing_found: Path
):
    assert np.array_equal(rnr.restore(crop, nothing_found, device="cpu").pixels_HWC3, crop)
    edited = diagnosed.diagnosis.model_copy(deep=True)
    edited.findings["noise"].severity = 1  # clearly below what the picture shows
    steered = rnr.restore(crop, edited, device="cpu")
    assert steered.before == edited
    assert not np.array_equal(steered.pixels_HWC3, result.pixels_HWC3)


def test_only_what_is_asked_for(crop: np.ndarray, diagnosed: rnr.Diagnosed):
    absent = next(kind for kind in diagnosed.findings if kind not in diagnosed.present)
    result = rnr.restore(crop, only=[absent], device="cpu")
    assert result.untouched and np.array_equal(result.pixels_HWC3, crop)


def test_same_seed_same_result(crop: np.ndarray):
    first, second = (rnr.restore(crop, num_inference_steps=2, seed=3, device="cpu").pixels_HWC3 for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (17, 23)])
def test_pictures_of_any_size(crop: np.ndarray, size: tuple[int, int], diagnosed: rnr.Diagnosed):
    small = np.ascontiguousarray(crop[: size[0], : size[1]])
    assert rnr.restore(small, diagnosed, device="cpu").pixels_HWC3.shape == small.shape
    assert rnr.diagnose(small, device="cpu").diagnosis


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps must lie in 1..100"),
        ({"num_inference_steps": 101}, ValueError, "num_inference_steps must lie in 1..100"),
        ({"seed": -1}, ValueError, "seed"),
        ({"only": "fog"}, ValueError, "unknown kind of degradation 'fog'"),
        ({"diagnosis": "nowhere.json"}, rnr.SetupError, "nowhere.json: cannot be read"),
        ({"diagnosis": 3}, TypeError, "not int"),
        ({"diagnosis": DiagnosisRecord(diagnosis=None, error="too dark")}, ValueError, "too dark"),
        ({"picture": "nowhere.png"}, rnr.PictureError, "no such file"),
        ({"picture": np.zeros((4, 4), np.int64)}, TypeError, "int64"),
        ({"picture": np.zeros((0, 4), np.uint8)}, rnr.PictureError, "is no picture"),
        ({"picture": 3}, TypeError, "not int"),
        ({"reasoner": "nowhere/at/all"}, rnr.SetupError, "nowhere/at/all"),
        ({"restorer": "nowhere/at/all"}, rnr.SetupError, "nowhere/at/all"),
        ({"max_megapixels": 0.001}, rnr.PictureError, "megapixel"),
    ],
)
def test_errors_say_what_is_wrong(batch: Run, arguments: dict, error: type[Exception], problem: str):
    arguments = {"picture": batch.folder / "a.png", "device": "cpu", **arguments}
    with pytest.raises(error, match=problem):
        rnr.restore(**arguments)


def test_an_edit_into_nonsense_is_refused(crop: np.ndarray, diagnosed: rnr.Diagnosed):
    edited = diagnosed.diagnosis.model_copy(deep=True)
    edited.findings["noise"].severity = 0
    with pytest.raises(ValueError, match="if and only if"):
        rnr.restore(crop, edited)
