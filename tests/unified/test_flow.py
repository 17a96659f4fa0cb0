"""The same model on a latent diffusion transformer, and a reasoner that reads words: tiny random checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.reasoner.instructions.phrasings import Wish
from rnr.restorer.qwen_edit import QwenEditRestorer
from rnr.unified.export import export
from rnr.unified.flow import FlowModel
from rnr.unified.loading import load
from rnr.unified.model import UnifiedModel, knows_words
from rnr.unified.settings import UnifiedRun
from rnr.unified.train import UnifiedObjective
from tests.restorer.tiny_qwen import tiny_pipeline

from .conftest import pair, small_pipe, small_reasoner
from .test_model import bases, damaged  # noqa: F401
from .test_train import gradients

RECIPES = Path(__file__).parents[2] / "recipes"


def edit(pipe: object = None) -> QwenEditRestorer:
    return QwenEditRestorer(pipe or tiny_pipeline(), area=64 * 64, num_inference_steps=2)


def flow() -> FlowModel:
    torch.manual_seed(3)
    return FlowModel(small_reasoner(), edit()).eval()  # type: ignore[return-value]


def test_it_begins_as_the_two_apart_and_states_matter_then(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0][:64, :64], noise=40, haze=40)
    record = DiagnosisRecord(diagnosis=record.diagnosis)
    model = flow()
    apart, joined = edit().restore(picture, record), model.restore(picture, record)
    assert np.array_equal(apart.pixels_HWC3, joined.pixels_HWC3)
    torch.nn.init.normal_(model.to_prompt.weight)
    assert not np.array_equal(model.restore(picture, record).pixels_HWC3, joined.pixels_HWC3)
    assert np.array_equal(model.restore(picture, record, hidden={}).pixels_HWC3, joined.pixels_HWC3)


def test_both_losses_reach_the_adapters(tmp_path: Path, crops: list[np.ndarray]) -> None:
    pytest.importorskip("peft", reason="the `train` extra is not installed")
    model = flow()
    run = UnifiedRun(out=tmp_path, stage=2, batch=2, lora=2, tasks={"restore": 1.0}, own=0.0)
    objective = UnifiedObjective(model, run, crops)
    torch.nn.init.normal_(model.to_prompt.weight)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    batch, _ = objective.batch(0.5, 2)
    objective.loss(batch, 0.5, 2).backward()
    assert gradients(model) == {"bridge", "to_prompt", "transformer", "language"}
    assert all("lora_" in n for n, p in model.language.named_parameters() if p.grad is not None)


def test_its_folder_gives_it_back(bases: dict[str, str], tmp_path: Path, crops: list[np.ndarray]) -> None:  # noqa: F811
    pytest.importorskip("peft", reason="the `train` extra is not installed")
    tiny_pipeline().save_pretrained(tmp_path / "edit")
    recipe = tmp_path / "edit.toml"
    recipe.write_text(f'model = "{tmp_path / "edit"}"\narea = 4096\nnum_inference_steps = 2\n', encoding="utf-8")
    model = load(reasoner=bases["reasoner"], restorer=str(recipe))
    assert isinstance(model, FlowModel)
    model.add_lora(2)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if "lora_B" in name or name.startswith("to_prompt."):
            torch.nn.init.normal_(weight)
        if "lora_" in name or name.startswith(("to_prompt.", "bridge.", "reader.")):
            weight.data = weight.data.half().float()
    picture, record = damaged(crops[0][:64, :64], noise=40)
    again = load(export(model, tmp_path / "weights"))
    assert np.array_equal(model.restore(picture, record).pixels_HWC3, again.restore(picture, record).pixels_HWC3)


def test_a_chain_of_experts_takes_no_adapters() -> None:
    with pytest.raises(SetupError, match="leave it at 0"):
        pair().add_lora(4)


def test_a_reasoner_that_knows_words_reads_them_itself(crops: list[np.ndarray]) -> None:
    picture, record = damaged(crops[0], noise=40)
    reasoner = small_reasoner("remove", "the", "only", " ")
    model = UnifiedModel(reasoner, small_pipe()).eval()
    assert knows_words(reasoner.processor.tokenizer) and model.reader is None
    model.card["training"] = [{"stage": 2}]
    wish = model.read("only remove the rain", picture, record)
    assert set(wish.remove) <= set(model.kinds)
    with pytest.raises(ValueError, match="no diagnosis"):
        model.read("only remove the rain", picture, None)
    assert record.diagnosis is not None
    sequence, _ = model.sequence(picture, record.diagnosis, Wish(("noise",)), "only remove the noise")
    assert "only remove the noise" in reasoner.processor.tokenizer.decode(sequence.ids)
    assert sequence.weights[sequence.places["wish.noise"] + 1] == 1.0


@pytest.mark.parametrize("name", ["unified", "unified_qwen"])
def test_the_recipes_are_settings(name: str, tmp_path: Path) -> None:
    run = UnifiedRun.read(RECIPES / f"{name}.toml", out=tmp_path, stage=2)
    assert run.lora == (16 if name == "unified_qwen" else 0)
    with pytest.raises(ValueError, match=r"of\.toml: speed"):
        (tmp_path / "of.toml").write_text("speed = 3\n", encoding="utf-8")
        UnifiedRun.read(tmp_path / "of.toml", out=tmp_path)
