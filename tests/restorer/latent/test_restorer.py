"""The latent restorer by name: the dial, strength, tiles, what it refuses; and that other restorers refuse the dial."""

import json
import shutil

import numpy as np
import pytest
import skimage.data
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.errors import SetupError
from rnr.restorer import Intent, load
from rnr.restorer.latent import Autoencoder, CodePredictor, LatentRestorer
from rnr.restorer.latent.autoencoder import small
from rnr.restorer.latent.codes import save_predictor, write_index
from rnr.restorer.latent.codes_train import fit_codebooks
from rnr.work.models import Models
from rnr.work.request import Request

CAT = skimage.data.chelsea()
NOISY = Diagnosis(findings={"noise": Finding(present=True, severity=40)}, plan=["noise"])
NOTHING = Diagnosis(findings={"noise": Finding(present=False, severity=0)})
SHAPE = {"channels": 4, "features": 48, "factor": 4, "size": 8, "groups": 2, "width": 16, "blocks": 2, "heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny latent restorer as `rnr train codes` leaves it."""
    path = tmp_path_factory.mktemp("latent")
    torch.manual_seed(0)
    autoencoder = Autoencoder(small(4, (48,))).eval()
    predictor: CodePredictor = CodePredictor(**SHAPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnr.restorer.latent.codes_train.POINTS", 16)
        fit_codebooks(autoencoder, predictor.book, [CAT], 0)
    autoencoder.save_pretrained(path / "autoencoder")
    save_predictor(predictor, path / "codes.safetensors", {})
    write_index(path, "autoencoder")
    return path


@pytest.fixture(scope="module")
def restorer(folder):
    return load(folder)


def pixels(size: tuple[int, int] = (64, 80)) -> np.ndarray:
    return np.ascontiguousarray(CAT[: size[0], : size[1]], np.float32) / 255


def test_it_is_loaded_by_name_as_every_restorer_is(restorer, folder):
    assert isinstance(restorer, LatentRestorer) and restorer.steps == 1 and "noise" in restorer.kinds
    assert str(folder) in restorer.identity["model"] and len(restorer.identity["model_hash"]) == 16


def test_the_hash_covers_an_autoencoder_that_lies_elsewhere(restorer, folder, tmp_path):
    shutil.copy(folder / "codes.safetensors", tmp_path)
    Autoencoder(small(4, (48,))).save_pretrained(tmp_path / "other")
    hashes = []
    for place in (folder / "autoencoder", tmp_path / "other"):
        write_index(tmp_path, place)
        hashes.append(load(tmp_path).identity["model_hash"])
    assert hashes[0] == restorer.identity["model_hash"] != hashes[1]


def test_the_quality_is_asked_for_and_recorded(restorer):
    plain, best = restorer.restore(pixels(), NOISY), restorer.restore(pixels(), NOISY, Intent(quality=100))
    low = restorer.restore(pixels(), NOISY, Intent(quality=0))
    assert np.array_equal(plain.pixels_HWC3, best.pixels_HWC3) and plain.settings["quality"] == 100
    assert low.settings["quality"] == 0 and not np.array_equal(low.pixels_HWC3, best.pixels_HWC3)
    assert low.pixels_HWC3.dtype == np.float32 and low.pixels_HWC3.shape == (64, 80, 3)


def test_nothing_found_or_no_strength_gives_the_same_array(restorer):
    given = pixels()
    for source, intent in ((NOTHING, Intent(quality=90)), (NOISY, Intent(strength=0))):
        result = restorer.restore(given, source, intent)
        assert result.untouched and result.pixels_HWC3 is given


def test_strength_goes_part_of_the_way(restorer):
    given = pixels()
    whole, half = (restorer.restore(given, NOISY, Intent(strength=s)).pixels_HWC3 for s in (100, 50))
    assert np.allclose(half, (given + whole) / 2, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (33, 7), (40, 100)])
def test_any_size(restorer, size):
    assert restorer.restore(pixels(size), None).pixels_HWC3.shape == (*size, 3)


def test_a_callback_hears_of_the_step(restorer):
    heard = []
    restorer.restore(pixels(), NOISY, callback_on_step_end=lambda *args: heard.append(args))
    ((pipe, step, t, tensors),) = heard
    assert (pipe, step, t, tensors["kinds"]) == (restorer, 0, 1.0, ("noise",))


def test_what_it_cannot_tell_apart_is_refused(restorer):
    for intent in (Intent(kinds=["noise"]), Intent(strength={"noise": 50})):
        with pytest.raises(SetupError, match="undoes everything at once: leave out --only"):
            restorer.restore(pixels(), NOISY, intent)
    for quality in (-1, 100.5, float("nan")):
        with pytest.raises(SetupError, match="a quality lies in 0..100"):
            restorer.restore(pixels(), NOISY, Intent(quality=quality))
        with pytest.raises(SetupError, match="a quality lies in 0..100"):
            Request(quality=quality).check()


def test_other_restorers_refuse_the_dial():
    with pytest.raises(SetupError, match="no dial of quality; leave out --quality, or name a latent one"):
        Models().pipeline.restore(pixels(), NOISY, Intent(quality=90))


def test_a_request_without_quality_is_what_it_was():
    assert Request().intent is None and "quality" not in Request().asked
    assert Request(quality=90).asked["quality"] == 90 and Request(quality=0).intent == Intent(quality=0)


def test_what_is_broken_is_named(tmp_path, folder):
    with pytest.raises(SetupError, match="a latent restorer takes no steps"):
        load(folder, steps=3)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "LatentRestorer"}))
    with pytest.raises(SetupError, match="codes.safetensors: no code predictor's weights"):
        load(tmp_path)
    (tmp_path / "codes.safetensors").write_bytes((folder / "codes.safetensors").read_bytes())
    with pytest.raises(SetupError, match="model_index.json: names no autoencoder"):
        load(tmp_path)
    Autoencoder(small(8, (16,))).save_pretrained(tmp_path / "autoencoder")
    write_index(tmp_path, "autoencoder")
    with pytest.raises(SetupError, match="codes of 4 channels at 1/4 do not fit an autoencoder of 8 at 1/4"):
        load(tmp_path)
