"""`rnr weights`: the real weights as they are listed, and broken copies of them as they are found out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnr.work import weights, weights_check

from .conftest import CHECKOUT

EXPERTS = CHECKOUT / "restorer" / "weights" / "experts"


@pytest.fixture
def reasoner(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKOUT / "reasoner" / "weights", tmp_path / "reasoner"))


@pytest.fixture
def experts(tmp_path: Path) -> Path:
    folder = tmp_path / "experts"
    folder.mkdir()
    for kind in ("haze", "noise"):
        shutil.copy(EXPERTS / f"{kind}.safetensors", folder)
    return folder


def problems(path: Path) -> list[str]:
    return [text for each in weights.of_folder(path) for text in weights_check.problems_of(each, {})]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def test_the_list_says_what_the_models_say(cli: Callable[..., tuple[int, str, str]]) -> None:
    from rnr.degradation.kind import kinds
    from rnr.reasoner import load_local
    from rnr.reasoner.detector import identity

    code, out, said = cli("weights", "--json")
    rows = {f"{row['part']} {row['kinds'][0] if row['part'] == 'expert' else ''}".strip(): row
            for row in json.loads(out) if row["source"] == "built-in"}  # fmt: skip
    assert (code, said) == (0, "") and {f"expert {kind}" for kind in kinds()} <= set(rows)
    model = load_local()
    content = (CHECKOUT / "reasoner" / "weights" / "model.safetensors").read_bytes()
    assert rows["reasoner"]["hash"] == hashlib.sha256(content).hexdigest()[:16]
    assert rows["detector"]["hash"] == identity() == model.card["detector"]
    assert rows["reasoner"]["parameters"] == sum(p.numel() for p in model.model.parameters())
    assert rows["reasoner"]["kinds"] == list(model.kinds) and rows["reasoner"]["physics"] == model.physics
    assert rows["expert blur"]["samples"] > 0 and rows["expert blur"]["license"] == "other"
    assert sum(row["bytes"] for row in rows.values()) <= 90e6  # what the wheel may hold


def test_the_tables_fit_the_terminal_and_load_no_torch() -> None:
    program = "import sys; from rnr.app.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    command = [sys.executable, "-c", program, "weights"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    *lines, torch = done.stdout.splitlines()
    assert done.returncode == 0 and torch == "False" and max(map(len, lines)) <= 80
    assert {"expert low resolution", "reasoner, 8 kinds"} <= {line[2:23].strip() for line in lines}


def test_the_weights_of_this_checkout_are_whole(cli: Callable[..., tuple[int, str, str]]) -> None:
    code, out, said = cli("weights", "--check")
    assert (code, said) == (0, "") and "weights checked: all are whole" in out
    assert not (CHECKOUT / ".git").exists() or "are as recorded" in out


def test_a_changed_file_and_a_missing_one_are_found_by_the_record(experts: Path) -> None:
    path = experts / "noise.safetensors"
    content = path.read_bytes()
    blob = subprocess.run(["git", "hash-object", path], capture_output=True, text=True).stdout.strip()
    for wanted in (hashlib.sha256(content).hexdigest(), blob):
        assert weights_check.digest(path, wanted) == wanted
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # one bit of a weight: it loads
        (found,) = weights.of_folder(path)
        (text,) = weights_check.problems_of(found, {path.resolve(): wanted})
        assert text.startswith(f"{path}: is not the file that it was")
        path.write_bytes(content)
        assert weights_check.problems_of(found, {path.resolve(): wanted}) == []
    gone = experts / "snow.safetensors"
    assert weights_check.missing({path: "", gone: ""}) == [f"{gone}: is missing; install the package again"]


def test_whole_copies_have_no_problem(reasoner: Path, experts: Path) -> None:
    assert problems(reasoner) == [] and problems(experts) == [] and problems(experts / "haze.safetensors") == []


def test_a_cut_file_is_named_with_its_remedy(experts: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    cut(experts / "haze.safetensors")
    code, out, said = cli("weights", experts)
    assert code == 1 and "expert noise" in out
    assert "haze.safetensors: cannot be read as safetensors" in said and "copy it again" in said
    assert cli("weights", experts, "--check")[::2] == (code, said)


def test_a_reasoner_without_its_card(reasoner: Path) -> None:
    (reasoner / "reasoner.json").unlink()
    (text,) = problems(reasoner)
    assert str(reasoner) in text and "its card reasoner.json is missing" in text


def test_a_card_that_was_changed_is_found_by_the_record(reasoner: Path) -> None:
    (found,), card = weights.of_folder(reasoner), reasoner / "reasoner.json"
    wanted = weights_check.digest(card, 40 * "0")
    card.write_text(card.read_text() + "\n")
    (text,) = weights_check.problems_of(found, {card.resolve(): wanted})
    assert text.startswith(f"{card}: is not the file that it was") and "git checkout" in text


def test_a_card_that_is_cut(reasoner: Path) -> None:
    cut(reasoner / "reasoner.json")
    (text,) = problems(reasoner)
    assert text.startswith(f"{reasoner / 'reasoner.json'}: not JSON") and text.endswith("copy it again")


def test_a_reasoner_without_its_tokenizer(reasoner: Path) -> None:
    (reasoner / "tokenizer.json").unlink()
    assert problems(reasoner) == [f"{reasoner}: its tokenizer.json is missing; copy it again"]


def test_an_expert_of_another_kind(experts: Path) -> None:
    (experts / "noise.safetensors").replace(experts / "blur.safetensors")
    (text,) = problems(experts)
    assert text.startswith(f"{experts / 'blur.safetensors'}: holds the expert of noise")


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(str(path), "pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(str(path))
    change(tensors, metadata)
    save_file(tensors, str(path), metadata)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors, about: about.clear(), "has no card"),
        (lambda tensors, about: next(iter(tensors.values())).fill_(float("nan")), "not finite"),
        (lambda tensors, about: tensors.popitem(), "not an expert's weights"),
        (lambda tensors, about: about.update(card='{"samples": 4, "physics": 99}'), "learned physics 99"),
    ],
)
def test_an_expert_that_is_not_whole(experts: Path, change: Callable[..., None], words: str) -> None:
    path = experts / "haze.safetensors"
    rewritten(path, change)
    (text,) = problems(experts)
    assert text.startswith(f"{path}: ") and words in text


def test_a_quality_model_and_an_autoencoder_without_their_cards(tmp_path: Path) -> None:
    quality = shutil.copytree(CHECKOUT / "quality" / "weights", tmp_path / "quality")
    (quality / "quality.json").unlink()
    (text,) = problems(quality)
    assert text.startswith(f"{quality}: ") and "quality.json" in text
    built_in = CHECKOUT / "restorer" / "weights" / "latent" / "autoencoder"
    autoencoder = shutil.copytree(built_in, tmp_path / "autoencoder")
    assert problems(autoencoder) == []
    (autoencoder / "config.json").write_text('{"_class_name": "AutoencoderKL", "latent_channels": 3}')
    (text,) = problems(autoencoder)
    assert str(autoencoder) in text


def test_a_folder_without_weights_or_that_is_not_there(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "checkpoint.safetensors").touch()  # the state of a training
    for path, words in ((tmp_path, "no weights"), (tmp_path / "none", "is not there")):
        code, _, said = cli("weights", path)
        assert code == 2 and str(path) in said.replace("\n", "") and words in said


def test_a_model_of_a_hub_is_checked_by_the_name_of_its_file(tmp_path: Path) -> None:
    home = tmp_path / "models--somebody--small"
    snapshot, content = home / "snapshots" / ("1" * 40), (EXPERTS / "haze.safetensors").read_bytes()
    blob = home / "blobs" / hashlib.sha256(content).hexdigest()
    for folder in (snapshot, blob.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    (snapshot / "haze.safetensors").symlink_to(blob)
    (found,) = weights.cached(tmp_path)
    assert (found.room, found.source) == ("somebody/small", "cached") and weights_check.problems_of(found, {}) == []
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (text,) = weights_check.problems_of(found, {})
    assert "is not the file that it was" in text and "it is fetched again" in text
    assert weights.cached(tmp_path / "none") == []
