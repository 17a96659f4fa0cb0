"""A unified pair begins as the two models apart, its states then matter, and its folder gives it back."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnr.degradation import loading as names
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.degradation.intent import Intent
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.prompts import load as prompt
from rnr.reasoner.export import export as export_reasoner
from rnr.reasoner.instructions.phrasings import Wish
from rnr.reasoner.reasoner import Reasoner
from rnr.restorer import load_bridge
from rnr.unified import load
from rnr.unified.export import CARD, WEIGHTS, export
from rnr.unified.model import UnifiedModel

from .conftest import pair, small_pipe


def damaged(photograph: np.ndarray, **kinds: float) -> tuple[np.ndarray, DiagnosisRecord]:
    """Pixels in [0, 1] with these kinds, and their true diagnosis."""
    clean = to_tensor(photograph)
    mixture = prescribe(dict(kinds), seed=1)
    picture = degrade(clean, mixture)
    (truth,) = truths(clean, picture, mixture)
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()), DiagnosisRecord(diagnosis=truth, physics=2)


def moved(model: UnifiedModel) -> UnifiedModel:
    """With weights that a training could have given to what begins at zero."""
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "film." in name:
            weight.data = 0.2 * torch.randn_like(weight)
    return model


def test_it_begins_as_the_two_apart(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40, haze=40)
    model, pipe = pair(), small_pipe()
    for intent in (None, Intent(kinds=["haze"])):
        apart, joined = pipe.restore(picture, record, intent, 2), model.restore(picture, record, intent, 2)
        assert np.array_equal(apart.pixels_HWC3, joined.pixels_HWC3) and not joined.untouched
        assert np.abs(joined.pixels_HWC3 - picture).max() > 0


def test_the_built_in_pair_begins_as_it_is(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0][:96, :128], noise=30, haze=30, blur=20, rain=20)
    apart, joined = load_bridge().restore(picture, record), load().restore(picture, record)
    assert np.array_equal(apart.pixels_HWC3, joined.pixels_HWC3) and len(joined.legs) == 4


def test_states_of_the_picture_and_of_the_text_matter_then(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40, haze=40)
    other, theirs = damaged(crops[1], noise=40, haze=40)
    model = moved(pair())
    assert record.diagnosis is not None
    wish = Wish(tuple(model.kinds))
    own, _ = model.hidden(picture, record, wish)
    assert set(own) == {"noise", "haze"}
    for changed in (
        model.hidden(other, theirs, wish)[0],
        model.hidden(picture, record.diagnosis.edit("noise", severity=10), wish)[0],
        model.hidden(picture, record, Wish(("noise",)))[0],
    ):
        assert any(not torch.equal(own[kind], changed[kind]) for kind in own)
        by_them = model.restore(picture, record, hidden=changed).pixels_HWC3
        assert not np.array_equal(by_them, model.restore(picture, record).pixels_HWC3)
    model.condition = "numbers"
    apart = small_pipe().restore(picture, record)
    assert np.array_equal(model.restore(picture, record).pixels_HWC3, apart.pixels_HWC3)
    model.condition = "hidden"
    assert model.restore(picture, record).legs[0].severity is None


def test_a_diagnosis_that_the_reasoner_could_not_have_written_is_restored_by_numbers(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40)
    assert record.diagnosis is not None
    record.diagnosis.findings["noise"].factors = {}
    result = moved(pair()).restore(picture, record)
    assert result.settings["hidden"].startswith("none: ") and not result.untouched


def test_places_are_where_the_values_are_chosen(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40)
    model = pair()
    assert record.diagnosis is not None
    sequence, _ = model.sequence(picture, record.diagnosis, Wish(("noise",)))
    decode = model.collator.tokenizer.decode
    chosen = {path: decode([sequence.ids[at + 1]]) for path, at in sequence.places.items()}
    assert chosen["findings.noise.present"] == "true" and chosen["findings.haze.present"] == "false"
    assert chosen["wish.noise"] == "true" and chosen["wish.haze"] == "false" and chosen["wish.unknown"] == "false"
    assert chosen["findings.noise.severity"] == str(record.diagnosis.findings["noise"].severity)[0]
    text = decode(sequence.ids)
    assert '"plan":["noise"],"quality":{"technical":100}}' in text


def test_an_untrained_pair_says_that_it_cannot_read(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40)
    with pytest.raises(SetupError, match="rnr train unified --stage 2"):
        pair().restore(picture, record, Intent(instruction="only remove the noise"))


def test_what_is_read_limits_the_kinds(crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    picture, record = damaged(crops[0], noise=40, haze=40)
    model = pair()
    model.card["training"] = [{"stage": 2}]
    assert model.reader is not None
    last: Any = model.reader.head[-1]
    last.weight.data.zero_()
    last.bias.data.fill_(-5)  # nothing is read in any words
    result = model.restore(picture, record, Intent(instruction="remove nothing"))
    assert result.untouched and result.settings["wish"]["remove"] == []
    last.bias.data.fill_(5)  # everything, and something unknown
    result = model.restore(picture, record, Intent(kinds=["haze"], instruction="all of it"))
    assert [leg.kinds for leg in result.legs] == [("haze",)] and result.settings["wish"]["unknown"]


@pytest.fixture
def bases(tmp_path: Path) -> dict[str, str]:
    """Folders of the small pair."""
    model = pair()
    export_reasoner(model.language, model.reasoner.processor, tmp_path / "reasoner", prompt("diagnose_tuned"))
    small_pipe().save_pretrained(tmp_path / "restorer")
    return {"reasoner": str(tmp_path / "reasoner"), "restorer": str(tmp_path / "restorer")}


def test_a_folder_gives_the_pair_back(bases: dict[str, str], tmp_path: Path, crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40, haze=40)
    model = moved(load(**bases))
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    model.requires_grad_(False)
    model.language.lm_head.weight.requires_grad_(True)
    folder = export(model, tmp_path / "weights")
    again = load(folder)
    expected, found = (each.restore(picture, record).pixels_HWC3 for each in (model, again))
    assert np.array_equal(expected, found) and again.identity["model_hash"]
    assert (folder / "README.md").read_text().count("license: other") == 1
    other = small_pipe()
    other.experts.networks["noise"].head.bias.data += 1
    other.save_pretrained(bases["restorer"])
    with pytest.raises(SetupError, match="was trained on"):
        load(folder)


def test_broken_folders_name_the_remedy(bases: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=rf"no {CARD} here; name a folder that `rnr train unified` wrote"):
        load(tmp_path)
    folder = export(load(**bases), tmp_path / "weights")
    (folder / WEIGHTS).write_bytes(b"no")
    with pytest.raises(SetupError, match="copy the folder again"):
        load(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(SetupError, match="not JSON"):
        load(folder)


def test_other_rooms_find_both_halves_by_the_folder(
    bases: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(load(**bases), tmp_path / "weights")
    point = EntryPoint("unified", "rnr.unified.loading:part", "rnr.models")  # as pyproject.toml declares it
    monkeypatch.setattr(names, "entry_points", lambda group: [point] if group == "rnr.models" else [])
    from rnr.reasoner import load as load_reasoner
    from rnr.restorer import load as load_restorer

    assert isinstance(load_reasoner(folder), Reasoner) and isinstance(load_restorer(folder), UnifiedModel)
