"""The data set as shards, and LoRA on a tiny random Qwen3-VL: deterministic, resumable, loadable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis
from rnr.reasoner.chat import ServerError
from rnr.reasoner.export import export
from rnr.reasoner.export_vllm import export_for_vllm
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.reasoner import Reasoner, Settings
from tests.reasoner.chat_server import running
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, picture

pytest.importorskip("trl", reason="the `train` extra is not installed")

from rnr.reasoner.collate import Collator  # noqa: E402
from rnr.reasoner.dataset import Build, build, rows_of, write_shard  # noqa: E402
from rnr.reasoner.finetune import finetune, has_scene_text  # noqa: E402
from rnr.reasoner.settings import FinetuneRecipe, Views  # noqa: E402
from rnr.reasoner.teacher import Teacher, scene_text  # noqa: E402

RECIPE = FinetuneRecipe(
    views=Views(side=128),
    lora={"r": 2},
    training={"max_steps": 2, "per_device_train_batch_size": 2, "logging_steps": 1, "save_steps": 1,
                 "learning_rate": 1e-2, "gradient_checkpointing": False},
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for seed in range(2):
        Image.fromarray(picture(200, 240, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def data(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Build(str(images), samples=10, size=128, shard=4), tmp_path_factory.mktemp("data"), workers=2)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def test_any_number_of_workers_writes_the_same_bytes_and_a_cut_build_goes_on(data, images, tmp_path) -> None:
    wanted = Build(str(images), samples=10, size=128, shard=4)
    (tmp_path / "data").mkdir()
    write_shard(wanted, tmp_path, 1)
    stamp = (tmp_path / "data" / wanted.name(1)).stat().st_mtime_ns
    reported: list[dict] = []
    build(wanted, tmp_path, 1, reported.append)
    assert shards(tmp_path) == shards(data) and len(shards(data)) == 3
    assert (tmp_path / "data" / wanted.name(1)).stat().st_mtime_ns == stamp and len(reported) == 2
    with pytest.raises(ValueError, match="other settings"):
        build(Build(str(images), samples=10, size=128, shard=4, seed=1), tmp_path)
    with pytest.raises(ValueError, match="no photographs"):
        build(Build(str(tmp_path / "data")), tmp_path / "x")


def test_datasets_reads_it(data) -> None:
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=str(data / "data" / "*.parquet"), split="train")
    assert len(rows) == 10 and rows[0]["image"].size == (128, 128)
    assert all(Diagnosis.from_json(text).to_json() == text for text in rows["diagnosis"])
    assert "data/train-*.parquet" in (data / "README.md").read_text()


@pytest.fixture(scope="module")
def served(tokenizer, processor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1)
    return export(model, processor, tmp_path_factory.mktemp("served") / "weights", prompts.load("diagnose_tuned"))


def reported(folder: Path) -> list[Diagnosis]:
    from datasets import load_dataset

    shards = sorted(map(str, (folder / "data").glob("*.parquet")))
    return [
        Diagnosis.from_json(text) for text in load_dataset("parquet", data_files=shards, split="train")["diagnosis"]
    ]


def test_a_teacher_describes_the_clean_scenes_and_a_cut_build_goes_on(
    images, served, tmp_path, data, processor
) -> None:
    wanted = Build(str(images), samples=6, size=128, shard=2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with running(str(served)) as (url, _), pytest.raises(ServerError, match="is the server running"):
        build(wanted, cut, 1, teacher=Teacher(f"{url}/mortal", retries=1))
    assert len(shards(cut)) == 1, "what was done stays, nothing is half written"
    (whole / "data").mkdir(parents=True)
    with running(str(served)) as (url, _):
        teachers = [Teacher(f"{url}/{mood}") for mood in ("flaky", "moody")]
        same = replace(wanted, teacher=teachers[0].identity)
        for number in range(3):
            write_shard(same, whole, number, teachers[0])
            if number:
                write_shard(same, cut, number, teachers[1])
        with pytest.raises(ServerError, match="needs structured outputs"):
            write_shard(same, cut, 1, Teacher(f"{url}/free"))
        with pytest.raises(ServerError, match="serves no 'gpt'; it serves tiny"):
            Teacher(url, "gpt")
        build(wanted, whole, teacher=teachers[1])
    assert shards(whole) == shards(cut) and len(shards(whole)) == 3
    with pytest.raises(ValueError, match="other settings"):
        build(wanted, cut, 1)
    rows = [row for number in range(3) for row, _ in zip(rows_of(wanted, number), range(2))]
    for (clean, _, true), found in zip(rows, reported(whole), strict=True):
        assert found.scene.summary == f"Light of {clean.mean():.3f}." and found.scene.objects == ["a ramp", "grain"]
        assert found.findings == true.findings and found.scene.lighting == true.scene.lighting
        row = {"images": clean[None], "prompt": "diagnose", "completion": found.to_json()}
        learned = Collator(processor).encode(row, found)[1]
        assert processor.tokenizer.decode(learned).endswith(found.to_json() + processor.tokenizer.eos_token)
    assert "were written by tiny, prompt describe_scene 1" in (whole / "README.md").read_text()
    assert has_scene_text(whole) and not has_scene_text(data)


def test_what_is_no_description_is_not_taken() -> None:
    def answer(text: str | None, finish: str = "stop") -> dict:
        return scene_text({"message": {"content": text}, "finish_reason": finish})

    good = '{"summary":"A cup.\\n","objects":["a cup","a cup"]}'
    assert answer(good) == {"summary": "A cup.", "objects": ["a cup"]}
    wrong = [None, "A cup.", "[]", '{"summary":"A cup."}', '{"summary":"","objects":[]}', '{"summary":3,"objects":[]}',
             '{"summary":"\\ud800","objects":[]}', '{"summary":"A cup.","objects":[""]}']  # fmt: skip
    wrong.append(json.dumps({"summary": "long " * 61, "objects": []}))
    wrong.append(json.dumps({"summary": "A cup.", "objects": list("abcdefghijklm")}))
    assert not any(map(answer, wrong)) and not answer(good, "length")


def test_two_steps_of_lora_then_use_merge_and_resume(data, reasoner, tmp_path) -> None:
    base = export(reasoner.model, reasoner.processor, tmp_path / "base", prompts.load("diagnose_tuned"))
    reported: list[dict] = []
    adapter = finetune(str(base), data, tmp_path / "run", RECIPE, False, reported.append)
    assert [row["samples"] for row in reported] == [2, 4] and all(np.isfinite(row["loss"]) for row in reported)
    assert json.loads((adapter / "reasoner.json").read_text())["views"]["side"] == 128
    names = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    assert "language_model" in names, "the vision tower stays as it is"
    settings = Settings(beliefs=True)
    tuned = Reasoner.from_pretrained(base, adapter=adapter).diagnose([picture()], settings)[0]
    plain = Reasoner.from_pretrained(base).diagnose([picture()], settings)[0]
    assert tuned.error is None and tuned.beliefs != plain.beliefs

    served = export_for_vllm(base, tmp_path / "served", adapter)
    assert json.loads((served / "processor_config.json").read_text())["processor_class"] == "Qwen3VLProcessor"
    weights = Reasoner.from_pretrained(served).diagnose([picture()], settings)[0].beliefs
    for kind, belief in tuned.beliefs.items():
        assert weights[kind].expected_severity == pytest.approx(
            belief.expected_severity, abs=0.5
        )  # stored in half precision

    longer = RECIPE.model_copy(update={"training": RECIPE.training | {"max_steps": 3}})
    finetune(str(base), data, tmp_path / "run", longer, True, reported.append)
    assert [row["samples"] for row in reported] == [2, 4, 6]
    with pytest.raises(ValueError, match="without --resume"):
        finetune(str(base), data, tmp_path / "new", RECIPE, True, reported.append)
    with pytest.raises(ValueError, match="rnr data build"):
        finetune(str(base), tmp_path, tmp_path / "new", RECIPE, False, reported.append)


def test_a_recipe_says_which_of_its_settings_nobody_knows() -> None:
    with pytest.raises(ValueError, match="lora.toml: (?s:.)*view(?s:.)*side"):
        FinetuneRecipe.of({"view": {"side": 128}, "views": {"side": 100}}, "lora.toml")


@pytest.mark.slow  # 31 s of CPU time: three processes load torch and TRL
def test_two_processes_give_the_adapter_of_one(data, reasoner, tmp_path) -> None:
    base = export(reasoner.model, reasoner.processor, tmp_path / "base", prompts.load("diagnose_tuned"))
    training = RECIPE.training | {"gradient_accumulation_steps": 2}
    alone = RECIPE.model_copy(update={"training": training})
    one = finetune(str(base), data, tmp_path / "one", alone, False, lambda row: None)
    shared = {name: str(value).lower() for name, value in training.items() if name != "gradient_accumulation_steps"}
    lines = [f'model = "{base}"', "[views]", "side = 128", "[lora]", "r = 2", "[training]"]
    (tmp_path / "lora.toml").write_text("\n".join(lines + [f"{name} = {value}" for name, value in shared.items()]))
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "rnr", "train", "reasoner"]  # fmt: skip
    given = ["--recipe", tmp_path / "lora.toml", "--data", data, "-o", tmp_path / "two"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launch, *map(str, given)], check=True, env=environment, timeout=900)
    single, both = (load_file(folder / "adapter_model.safetensors") for folder in (one, tmp_path / "two" / "adapter"))
    assert any(float(value.abs().max()) > 0 for name, value in both.items() if "lora_B" in name)
    assert max(float((single[name] - both[name]).abs().max()) for name in single) < 1e-6
