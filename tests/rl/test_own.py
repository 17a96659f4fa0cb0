"""Rewards, judges and policies of the user's own, by their import paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rnr.rl.chain import ChainPolicy
from rnr.rl.cli import app
from rnr.rl.config import AgentConfig, ReasonerConfig, RestorerConfig
from rnr.rl.judge import judge_of
from rnr.rl.restoring import build, policy_of
from rnr.rl.rewards import REASONER, named

MODULE = """
from rnr.rl.judge import Judge
from rnr.rl.restoring import policy_of

LIMIT = 3

def short(prompts, completions, **columns):
    return [-float(len(text)) for text in completions]

class Darker:
    def __init__(self, judge):
        self.judge = judge

    def __call__(self, prompts, completions, degraded, **columns):
        return [float((before - after).mean()) for before, after in zip(degraded, completions)]

class Calm(Judge):
    def _look(self, picture_CHW):
        return [dict.fromkeys(self.reasoner.kinds, 0.0)] * self.view_count

def policy(restorer, config):
    made = policy_of(config.model_copy(update={"policy": None}))
    made.mine = True
    return made
"""


@pytest.fixture
def recipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rewards_i_wrote.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "mine.toml"
    path.write_text(
        f'images = "{folder}"\nval = "{folder}"\nout = "{tmp_path / "run"}"\nmax_steps = 1\ngroup = 2\nprompts = 1\n'
        'size = 64\ntasks = 2\nval_tasks = 2\nconditioned_on = "true"\nviews = 1\nrank = 2\n'
        'reward = "rewards_i_wrote:Darker"\njudge = "rewards_i_wrote:Calm"\npolicy = "rewards_i_wrote:policy"\n'
    )
    return path


def test_a_recipe_trains_by_them(recipe: Path) -> None:
    config = RestorerConfig.read(recipe)
    assert config.rewards == ["rewards_i_wrote:Darker"] == RestorerConfig.read(recipe, reward=config.rewards).rewards
    trainer = build(config)
    assert type(trainer.judge).__name__ == "Calm" and isinstance(trainer.policy, ChainPolicy)
    assert vars(trainer.policy)["mine"]
    trainer.train(False)
    rows = [row for row in trainer.log.rows() if "evaluation" not in row]
    assert "rewards_i_wrote:Darker" in str(rows[0])
    assert vars(trainer.rewards["rewards_i_wrote:Darker"])["judge"] is trainer.judge


def test_the_other_loops_take_them_too(recipe: Path, folder: Path) -> None:
    reward = named(["format", "rewards_i_wrote:short"], REASONER)["rewards_i_wrote:short"]
    assert reward(prompts=[""], completions=["four"]) == [-4.0]
    some: dict[str, Any] = {"images": folder, "val": folder, "out": folder, "rewards": "rewards_i_wrote:short"}
    assert ReasonerConfig(**some).rewards == AgentConfig(**some).rewards == ["rewards_i_wrote:short"]


def test_the_canaries_watch_a_reward_of_ones_own(recipe: Path, folder: Path) -> None:
    asked = ["canaries", "--images", str(folder), "--tasks", "2", "--size", "64", "--reward", "rewards_i_wrote:Darker"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1 and "blank is worse than the input and scores" in done.output, "black is darkest"


@pytest.mark.parametrize(
    "name, said",
    [
        ("beauty", "unknown reward beauty.*my_module:my_reward"),
        ("rewards_i_wrote:none", "has no none; it has: Calm, Darker"),
        ("rewards_i_wrote:LIMIT", "not a reward; it must be f"),
        ("no_module_of_mine:x", "run from the folder that holds it"),
    ],
)
def test_what_is_no_reward_is_refused_before_anything_loads(recipe: Path, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(RestorerConfig.read(recipe, reward=name, images=recipe, val=recipe))


def test_what_is_no_judge_or_leads_to_no_policy(recipe: Path, reasoner) -> None:
    with pytest.raises(ValueError, match="rewards_i_wrote:short: not a judge.*derives from rnr.rl.judge.Judge"):
        judge_of("rewards_i_wrote:short", reasoner, 1)
    with pytest.raises(ValueError, match="has no Nothing"):
        policy_of(RestorerConfig.read(recipe, policy="rewards_i_wrote:Nothing"))
