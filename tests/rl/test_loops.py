"""The loops on the built-in models: a step or two each, with TRL's own trainer; commands that refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.restorer import RestorePipeline
from rnr.restorer.export import export
from rnr.rl.config import AgentConfig, ReasonerConfig, RestorerConfig
from rnr.rl.restoring import build, run

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("rl_*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_valid(recipe):
    kinds: dict[str, Any] = {"res": RestorerConfig, "rea": ReasonerConfig, "age": AgentConfig}
    kind = kinds[recipe.stem[3:6]]
    assert kind.read(recipe).max_steps >= 1


def test_two_steps_of_loop_a(folder, tmp_path):
    from rnr.rl.reasoning import build, follow

    config = ReasonerConfig(
        images=folder, val=folder, out=tmp_path, max_steps=2, group=2, prompts=1, rows=2, rank=2, lr=1e-3,
        rewards=["format", "severity"], weights={"severity": 2.0},
    )  # fmt: skip
    trainer = build(config)
    log = follow(trainer, config, None, lambda row: None)
    assert log is not None
    model: Any = trainer.model
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    trainer.train()
    rows = log.rows()
    assert [row["step"] for row in rows] == [1, 2]
    assert {"rewards/format_reward/mean", "rewards/severity_reward/mean"} <= set(rows[0]["scores"])
    assert rows[0]["kl"] == 0
    assert any(not torch.equal(before[n], p) for n, p in model.named_parameters() if n in before)


@pytest.mark.slow  # 27 s: three checkpoints are tested
def test_each_checkpoint_of_loop_a_is_tested_for_faithfulness(folder, tmp_path):
    from rnr.rl.reasoning import run

    config = ReasonerConfig(
        images=folder, val=folder, out=tmp_path, max_steps=2, group=2, prompts=1, rows=2, rank=2, lr=1e-3, save_every=1,
        rewards=["format"], val_rows=2, faithfulness=2, max_tokens=16,
    )  # fmt: skip
    reported: list[Any] = []
    run(config, report=reported.append)
    found = [(row["step"], row["evaluation"]["metrics"]) for row in reported if "evaluation" in row]
    tested = {step: metrics for step, metrics in found if "f_strong" in metrics}
    assert list(tested) == [0, 1, 2]
    assert all(set(each) == {"f_id", "f_ood", "f_strong", "moves"} for each in tested.values())
    assert all(0 <= each[name] <= 1 for each in tested.values() for name in ("f_id", "f_ood", "f_strong"))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"rewards": ["psnr"]}, "unknown reward psnr"),
        ({"weights": {"type": 1.0}}, "not used: type"),
        ({"train": "full"}, "beta needs"),
    ],
)
def test_loop_a_refuses_before_it_loads(folder, tmp_path, change, reason):
    from rnr.rl.reasoning import build

    settings = {"images": folder, "val": folder, "out": tmp_path, "rewards": ["format"]} | change
    with pytest.raises(ValueError, match=reason):
        build(ReasonerConfig(**settings))


def test_the_script_with_trls_own_trainer(folder, tmp_path, monkeypatch, capsys):
    import runpy

    script = ROOT / "examples" / "grpo_reasoner.py"
    monkeypatch.setattr(sys, "argv", [script.name, str(folder), str(tmp_path), "1"])
    held = runpy.run_path(str(script), run_name="__main__")["trainer"]
    row = held.state.log_history[0]
    assert held.state.global_step == 1 and row["grad_norm"] >= 0
    assert 0.5 <= row["rewards/format_reward/mean"] <= 1 and 0 <= row["rewards/severity_reward/mean"] <= 1


def test_a_resumed_loop_a_ends_as_an_unbroken_one_and_no_record_is_lost(folder, tmp_path):
    from rnr.rl.reasoning import run

    config = ReasonerConfig(
        images=folder, val=folder, out=tmp_path / "unbroken", max_steps=2, group=2, prompts=1, rows=2, rank=2, lr=1e-3,
        val_rows=2, save_every=1, max_tokens=96,
    )  # fmt: skip
    weights = run(config)
    assert {"adapter", "curves.png", "weights"} <= {path.name for path in config.out.iterdir()}
    with pytest.raises(ValueError, match="the record of an earlier run; go on with --resume"):
        run(config)
    broken = config.model_copy(update={"out": tmp_path / "broken", "max_steps": 1})
    with pytest.raises(ValueError, match="no checkpoint here to resume from"):
        run(broken, resume=True)
    run(broken)
    (broken.out / "checkpoint-2").mkdir()  # cut off while it was written
    resumed = run(broken.model_copy(update={"max_steps": 2}), resume=True)
    shown = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    again = [json.loads(line) for line in (broken.out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in shown] == [0, 1, 2, 2]
    assert again[-1]["evaluation"] == shown[-1]["evaluation"]
    assert (resumed / "model.safetensors").read_bytes() == (weights / "model.safetensors").read_bytes()


def test_the_agent_calls_its_tool_sees_the_picture_and_stops(folder, tmp_path, monkeypatch):
    from transformers import Qwen3VLForConditionalGeneration

    from rnr.rl.agent import build
    from rnr.rl.reasoning import follow

    config = AgentConfig(
        images=folder, val=folder, out=tmp_path, max_steps=1, group=2, prompts=1, rows=2, val_rows=2, rank=2,
        sft_steps=0, max_tokens=96, stage="single",
    )  # fmt: skip
    trainer = build(config)
    log = follow(trainer, config, None, lambda row: None)
    assert log is not None
    processor: Any = trainer.processing_class
    tokenizer = processor.tokenizer
    lengths: list[int] = []

    def scripted(self, input_ids, **kwargs):
        """The first attempt calls and then says done, the second says done at once."""
        says = ['<call>"noise"</call><|im_end|>', "done<|im_end|>"] if not lengths else ["done<|im_end|>"]
        lengths.append(input_ids.shape[1])
        answers = [tokenizer.encode(text, add_special_tokens=False) for text in says]
        longest = max(map(len, answers))
        padded = torch.tensor([ids + [tokenizer.pad_token_id] * (longest - len(ids)) for ids in answers])
        return torch.cat([input_ids, padded], 1)

    monkeypatch.setattr(Qwen3VLForConditionalGeneration, "generate", scripted)
    trainer.train()
    row = log.rows()[0]
    assert len(lengths) == 2 and lengths[1] > lengths[0] + 16  # the second turn holds the new picture
    assert row["scores"]["tools/call_frequency"] == 0.5 and row["scores"]["tools/failure_frequency"] == 0
    assert row["scores"]["rewards/calls/mean"] == pytest.approx(-0.01)


def test_the_tool_refuses_what_it_does_not_know(folder, reasoner):
    from rnr.degradation.photographs import read_folder
    from rnr.restorer import RestorePipeline
    from rnr.rl.agent import Attempt
    from rnr.rl.tasks import Tasks

    tasks = Tasks(list(read_folder(folder).values()), 1, 128, 0, conditioned_on="true", stage="single")
    attempt = Attempt(tasks, reasoner, RestorePipeline.from_pretrained("built-in"), max_calls=1)
    attempt.reset(0)
    with pytest.raises(ValueError, match="unknown kind dust; known: "):
        attempt.restore("dust")
    assert attempt.restore('"noise"')[0]["type"] == "image" and attempt.calls == 1
    with pytest.raises(ValueError, match="no more than 1"):
        attempt.restore("noise")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("group = 1", "group"),
        ("explore = 'pixels'\nwindow = [1]", "never the last"),
        ("rewards = ['x']", "unknown reward x"),
    ],
)
def test_the_command_refuses_in_one_line(folder, tmp_path, text, reason):
    from rnr.rl.cli import app

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"{text}\n")
    done = CliRunner().invoke(
        app,
        ["restorer", "--config", str(recipe), "--images", str(folder), "--val", str(folder), "-o", str(tmp_path / "o")],
    )
    assert done.exit_code == 2 and reason in done.output and "Traceback" not in done.output
    assert not (tmp_path / "o").exists()


def test_loop_b_ends_with_weights_that_restore(config):
    weights = run(config.model_copy(update={"max_steps": 1, "val_tasks": 2, "tasks": 2, "explore": "pixels"}))
    assert "1 updates of Flow-GRPO" in (weights / "README.md").read_text()
    noisy = Diagnosis(findings={"noise": Finding(present=True, severity=30)}, plan=["noise"])
    restored = RestorePipeline.from_pretrained(weights).restore(np.full((64, 64, 3), 0.5, np.float32), noisy)
    assert np.isfinite(restored.pixels_HWC3).all()
    assert {"adapter", "checkpoint.safetensors", "config.json", "metrics.jsonl"} <= {
        p.name for p in config.out.iterdir()
    }


def test_a_restorer_of_one_network_is_trained_as_such(config, network, tmp_path):
    card = {"data": "d", "training": "t", "command": "c", "figures": "f"}
    folder = export(network, tmp_path / "one", card)
    one = config.model_copy(update={"restorer": str(folder), "max_steps": 1, "tasks": 2, "explore": "both"})
    assert RestorePipeline.from_pretrained(run(one)).network is not None
    with pytest.raises(ValueError, match="has none"):
        build(one.model_copy(update={"explore": "dose", "out": tmp_path / "two"}))


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(folder, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "max_steps = 2\ngroup = 2\nprompts = 2\nsize = 64\ntasks = 4\nval_tasks = 2\nviews = 1\n"
        'conditioned_on = "true"\nrank = 2\nthreads = 1\n'
    )
    common = ["rl", "restorer", "--config", str(recipe), "--images", str(folder), "--val", str(folder), "-o"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "-m"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, before in (("one", ["-m"]), ("two", launch)):
        command = [sys.executable, *before, "rnr", *common, str(tmp_path / name)]
        done = subprocess.run(
            command, check=True, cwd=tmp_path, env=environment, timeout=900, capture_output=True, text=True
        )
        assert done.stderr.count("step 1  reward") == 1  # one run, not two beside each other

    def curve(name: str) -> list[tuple[int, str, float]]:
        rows = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        keys = ("reward", "kl", "spread", "grad_norm")
        return [(number, key, row[key]) for number, row in enumerate(rows) for key in keys if row.get(key) is not None]

    one, two = curve("one"), curve("two")
    assert {key for _, key, _ in one} >= {"reward", "spread", "grad_norm"}
    for (*place, value), (*other, again) in zip(one, two, strict=True):
        assert place == other and value == pytest.approx(again, rel=1e-3, abs=1e-5)


def test_loop_c_tells_its_learning_figure_before_and_after(folder, tmp_path):
    from rnr.rl.agent import run
    from rnr.rl.compare import table

    config = AgentConfig(
        images=folder, val=folder, out=tmp_path / "run", max_steps=1, group=2, prompts=1, rows=2, val_rows=2,
        max_tokens=16, max_calls=1, sft_steps=0, rank=2, stage="single", threads=1,
    )  # fmt: skip
    run(config)
    rows: dict[Any, Any] = {row["measure"]: row for row in table([config.out]).rows}
    assert all(0 <= rows["ended_well"][when] <= 1 for when in ("before", "after"))
    assert rows["calls"]["before"] is not None and rows["calls"]["n"] == 1
