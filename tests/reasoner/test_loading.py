"""Real checkpoints: the options of large ones, and every wrong one named. Tiny random weights of the same class."""

from __future__ import annotations

import json

import pytest
import torch

from rnr import prompts
from rnr.degradation.arithmetic import dtype_named
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.errors import SetupError
from rnr.reasoner.checkpoint import load_adapter
from rnr.reasoner.export import export
from rnr.reasoner.loading import load, load_local
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.reasoner import Reasoner, Settings
from tests.reasoner.chat_server import running
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, foreign, picture

PLAIN = Settings(beliefs=False)


@pytest.fixture
def folder(reasoner, tmp_path):
    return export(reasoner.model, reasoner.processor, tmp_path / "weights", prompts.load("diagnose_tuned"))


def make_adapter(folder, model, base: str):
    peft = pytest.importorskip("peft", reason="the `train` extra is not installed")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    wrapped = peft.get_peft_model(model.model.language_model, config)
    state = {f"base_model.model.model.language_model.{k.removeprefix('base_model.model.')}": v
             for k, v in peft.get_peft_model_state_dict(wrapped).items()}  # fmt: skip
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "adapter_model.safetensors")
    config.base_model_name_or_path, config.target_modules = base, ["q_proj", "k_proj", "v_proj", "o_proj"]
    config.target_modules += ["gate_proj", "up_proj", "down_proj"]
    config.save_pretrained(folder)
    return folder


def test_an_untuned_checkpoint_gets_the_instruct_prompt_and_a_pixel_budget(folder) -> None:
    loaded = Reasoner.from_pretrained(foreign(folder), pixels=200 * 200, attention="eager")
    assert loaded.prompt.name == "diagnose_instruct" and "compact JSON" in loaded.prompt_text
    assert loaded.views(picture(300, 400)).shape == (3, 192, 192, 3)
    assert loaded.model.config._attn_implementation == "eager"
    record = loaded.diagnose([picture(128, 128)], PLAIN)[0]
    assert record.error is None and Diagnosis.from_json(record.text).to_json() == record.text


def test_weights_of_ours_without_their_card_are_refused(folder) -> None:
    (folder / "reasoner.json").unlink()
    with pytest.raises(SetupError, match="its card reasoner.json is missing.*copy the whole weights folder again"):
        load(folder)


def test_every_way_to_name_one(folder, tmp_path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'model = "{folder}"\ndtype = "float32"\n')
    assert load_local(recipe, dtype="bfloat16").model.dtype == torch.bfloat16, "a keyword overrules the recipe"
    assert load_local(recipe).identity == load(str(folder), "auto").identity
    with running(str(folder)) as (url, _):
        recipe.write_text(f'model = "{url}"\n')
        assert load(url).kinds == load(recipe).kinds == load(folder).kinds
        with pytest.raises(SetupError, match="needs a reasoner's weights in this process"):
            load_local(recipe)
    for name, said in (("vllm:nothing", "vLLM"), ("built-in.toml", "cannot be read"), (tmp_path, "no weights here")):
        with pytest.raises(SetupError, match=said):
            load(name)
    with pytest.raises(SetupError, match="speed.*spelt right"):
        load(folder, speed=9)
    with pytest.raises(SetupError, match="device 'toaster' cannot be used"):
        load(folder, device="toaster")


def test_dtypes(folder) -> None:
    assert dtype_named(None, "cpu") == torch.float32 and dtype_named(None, "cuda:1") == torch.bfloat16
    loaded = Reasoner.from_pretrained(folder, dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.diagnose([picture()], PLAIN)[0].error is None
    for options, said in (
        ({"dtype": "int5"}, "int5"),
        ({"attention": "flash"}, "sdpa"),
        ({"quantisation": "1bit"}, "1bit"),
    ):
        with pytest.raises((ValueError, ImportError), match=said):
            Reasoner.from_pretrained(folder, **options)  # type: ignore[arg-type]


def test_an_adapter_changes_the_diagnosis_and_its_hash(folder, reasoner, tmp_path, small_model) -> None:
    adapter = make_adapter(tmp_path / "adapter", small_model, str(folder))
    plain, tuned = Reasoner.from_pretrained(folder), Reasoner.from_pretrained(folder, adapter=adapter)
    before, after = (r.diagnose([picture()])[0] for r in (plain, tuned))
    assert after.error is None and before.beliefs != after.beliefs and before.model_hash != after.model_hash


def test_an_adapter_for_another_base_is_refused(folder, tokenizer, tmp_path) -> None:
    text = SMALL_TEXT | {"hidden_size": 128}
    other = new_model(tiny_config(tokenizer, text, SMALL_VISION))
    adapter = make_adapter(tmp_path / "adapter", other, "somebody/other-model")
    with pytest.raises(ValueError, match="other-model"):
        Reasoner.from_pretrained(folder, adapter=adapter)
    with pytest.raises(ValueError, match="adapter_config"):
        load_adapter(other, tmp_path)
    (adapter / "reasoner.json").write_text('{"schema_version": "7"}')
    with pytest.raises(ValueError, match="adapter .*schema version 7"):
        load_adapter(other, adapter)


def test_another_architecture_is_refused(folder) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen2_vl"}))
    with pytest.raises(ValueError, match="qwen2_vl.*Qwen3-VL"):
        Reasoner.from_pretrained(folder)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody/nothing: neither"):
        Reasoner.from_pretrained("nobody/nothing")


def test_another_schema_version_is_refused(folder) -> None:
    card = json.loads((folder / "reasoner.json").read_text())
    (folder / "reasoner.json").write_text(json.dumps(card | {"schema_version": "7"}))
    with pytest.raises(ValueError, match="schema version 7"):
        Reasoner.from_pretrained(folder)


def test_out_of_memory_names_what_to_turn(reasoner, folder, monkeypatch) -> None:
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(reasoner, "inputs", full)
    assert "quantisation" in reasoner.diagnose([picture()])[0].error
    monkeypatch.setattr("transformers.Qwen3VLForConditionalGeneration.from_pretrained", full)
    with pytest.raises(ValueError, match="quantisation"):
        Reasoner.from_pretrained(folder)
