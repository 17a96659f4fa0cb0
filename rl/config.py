"""The configuration of a run: a TOML file, checked. What took effect is written as config.json beside the result.

rnr rl restorer --config recipes/rl_restorer_smoke.toml --images DIR --val OTHER_DIR -o OUT
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from rnr.training.card import LICENSE, MEANING
from rnr.training.config import Settings

# `rewards = [...]`, or `reward = "..."` for a single one
Rewards = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
BY_EITHER = AliasChoices("rewards", "reward")


RENAMED = {"steps": "max_steps", "sampling_steps": "num_inference_steps", "told": "conditioned_on"}


class Common(Settings):
    """Settings of every loop."""

    images: Path = Field(description="folder of clean photographs; they are damaged as training goes")
    val: Path = Field(description="folder of other photographs, held out")
    out: Path = Field(description="folder for curves, checkpoints and weights")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    max_steps: int = Field(default=60, ge=1, description="updates of the policy")
    lr: float = Field(default=2e-4, gt=0, description="learning rate, constant")
    beta: float = Field(
        default=0.04, ge=0, description="weight of the KL to the policy that training began with; 0 = off"
    )
    license: str = Field(default=LICENSE, description=MEANING)
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None leaves it to torch")
    reasoner: str = Field(
        default="built-in", description="reasoner: the policy of loop A and C, the frozen judge of B and C"
    )
    stage: Literal["single", "several", "high_order"] = Field(default="several", description="how pictures are damaged")
    report_to: list[str] = Field(default=[], description="trackers: tensorboard, trackio, wandb (extra `trackers`)")
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = Field(
        default="sum_then_normalize",
        description="several rewards: added, then compared within the group; or each compared first (GDPO)",
    )
    rank: int = Field(default=8, ge=1, description="rank of the LoRA adapter")

    @model_validator(mode="before")
    @classmethod
    def _present(cls, given: Any) -> Any:
        if old := [name for name in RENAMED if isinstance(given, dict) and name in given]:
            raise ValueError(f"`{old[0]}` is called `{RENAMED[old[0]]}` now; rename it")
        return given


class RestorerConfig(Common):
    """Loop B: Flow-GRPO on a restorer."""

    group: int = Field(
        default=4, ge=2, description="rollouts of one picture that are compared; 1 has nobody to compare with"
    )
    prompts: int = Field(default=2, ge=1, description="pictures in an update, over all processes")
    restorer: str = Field(default="built-in", description="restorer whose weights are trained")
    options: dict[str, Any] = Field(
        default={}, description="of Qwen-Image-Edit: area, dtype, guidance, offload, vae_tiling, lora"
    )
    train: Literal["lora", "full"] = Field(
        default="lora", description="an adapter, or all weights beside a frozen copy"
    )
    conditioned_on: Literal["predicted", "true", "blind"] = Field(
        default="predicted", description="the diagnosis that the restorer is conditioned on"
    )
    rewards: Rewards = Field(
        default=["severity"],
        validation_alias=BY_EITHER,
        description="severity, or import paths of your own (my_module:my_reward; a class is made with the judge); "
        "metrics are none",
    )
    judge: str = Field(default="rnr.rl.judge:Judge", description="import path of the judge's class (my_module:MyJudge)")
    policy: str | None = Field(
        default=None,
        description="None: by the restorer: the legs of its experts (rl/chain.py), its one network where it has no "
        "experts, an adapter of Qwen-Image-Edit; or the import path of one of your own, made with the restorer and "
        "this configuration",
    )
    weights: dict[str, float] = Field(
        default={}, description="weight of each reward, 1 by default; kept apart from scores"
    )
    gate: bool = Field(
        default=True, description="content and over-correction in the severity reward; off only to see it hacked"
    )
    views: int = Field(default=2, ge=1, le=3, description="views of the judge")
    size: int = Field(default=128, ge=64, multiple_of=16, description="side of the pictures, px")
    tasks: int = Field(default=64, ge=2, description="damaged pictures to train on")
    hardest: float = Field(default=1.0, gt=0, le=1, description="share of them, the worst restored, that is kept (0.3)")
    num_inference_steps: int = Field(default=2, description="of the sampler; one step has no policy and is refused")
    window: list[int] = Field(default=[0], description="stochastic steps, never the last")
    eta: float = Field(default=0.7, gt=0, description="noise of Qwen-Image-Edit's stochastic steps")
    explore: Literal["dose", "condition", "pixels", "both"] = Field(
        default="condition", description="what is drawn; dose for experts alone, both for one network alone"
    )
    dose_std: float = Field(default=0.3, gt=0, description="exploration of the logarithm of a leg's dose")
    condition_std: float = Field(default=0.1, gt=0, description="exploration of the condition vector, by its size")
    pixel_std: float = Field(default=0.03, gt=0, description="exploration of the picture at the bridge's middle, 0..1")
    colour: Literal["pink", "white"] = Field(default="pink", description="spectrum of the exploration noise")
    updates: int = Field(default=1, ge=1, description="passes over the same rollouts")
    clip: float = Field(
        default=0.03,
        gt=0,
        description="clip of the ratio; log-probabilities are means over dimensions: 0.2 by their number",
    )
    advantage_clip: float = Field(default=5.0, gt=0, description="largest advantage")
    by_std: bool = Field(default=True, description="divide advantages by the group's spread (GRPO) or not (Dr. GRPO)")
    max_grad_norm: float = Field(default=1.0, gt=0, description="clip of the gradient")
    ema: float = Field(
        default=0.98, ge=0, lt=1, description="decay of the average of the weights that is evaluated and kept"
    )
    val_tasks: int = Field(default=8, ge=2, description="held-out damaged pictures")
    eval_every: int = Field(default=10, ge=1, description="steps between evaluations")
    save_every: int = Field(default=10, ge=1, description="steps between checkpoints")
    on_alarm: Literal["warn", "stop"] = Field(
        default="warn", description="when the reward rises and measured quality falls"
    )
    scorer: str | None = Field(
        default=None, description="quality model (built-in, ...) that the alarm heeds as well; it is never the reward"
    )


class ReasonerConfig(Common):
    """Loop A: GRPO on the reasoner, and supervised training for the same time as its control."""

    group: int = Field(default=4, ge=2, description="answers to one picture that are compared")
    prompts: int = Field(default=2, ge=1, description="pictures in an update, on each process")
    train: Literal["lora", "full"] = Field(default="lora", description="an adapter, or all weights")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="of the policy's weights")
    rewards: Rewards = Field(
        default=["format", "type", "severity"],
        validation_alias=BY_EITHER,
        description="names of rewards (rnr.rl.rewards.REASONER), or import paths of your own (my_module:my_reward)",
    )
    weights: dict[str, float] = Field(default={}, description="weight of each reward, 1 by default")
    rows: int = Field(default=64, ge=2, description="damaged pictures to train on")
    temperature: float = Field(default=1.0, gt=0, description="of the sampled answers")
    max_tokens: int = Field(default=224, ge=16, description="longest answer")
    clip: float = Field(default=0.2, gt=0, description="clip of the ratio, per token")
    save_every: int = Field(default=50, ge=1, description="steps between checkpoints")
    val_rows: int = Field(default=16, ge=1, description="held-out damaged pictures, diagnosed before and after")
    faithfulness: int = Field(
        default=0, ge=0, description="minimal pairs of the test of intervention at each checkpoint; 0 leaves it out"
    )
    control: bool = Field(default=False, description="also train supervised for the same seconds from the same weights")
    control_lr: float = Field(default=5e-5, gt=0, description="learning rate of that training")
    use_vllm: bool = Field(default=False, description="generate by vLLM, in its own environment")
    vllm_mode: Literal["colocate", "server"] = Field(
        default="colocate", description="vLLM beside the trainer or as a server"
    )


class AgentConfig(Common):
    """Loop C: the agent as policy, the restorer as its tool."""

    group: int = Field(default=2, ge=2, description="attempts at one picture that are compared")
    prompts: int = Field(default=1, ge=1, description="pictures in an update, on each process")
    restorer: str = Field(default="built-in", description="the tool")
    rewards: Rewards = Field(
        default=["severity", "calls"],
        validation_alias=BY_EITHER,
        description="severity, calls (what they cost), or import paths of your own (my_module:my_reward; a class is "
        "made with the judge)",
    )
    judge: str = Field(default="rnr.rl.judge:Judge", description="import path of the judge's class (my_module:MyJudge)")
    gate: bool = Field(default=True, description="content and over-correction in the severity reward")
    views: int = Field(default=1, ge=1, le=3, description="views of the judge")
    size: int = Field(default=128, ge=64, multiple_of=16, description="side of the pictures, px")
    rows: int = Field(default=16, ge=2, description="damaged pictures to train on")
    max_calls: int = Field(default=3, ge=1, description="calls of the tool in one attempt")
    call_cost: float = Field(default=0.02, ge=0, description="what a call costs, in units of reward")
    max_tokens: int = Field(default=128, ge=8, description="longest answer, all turns and new pictures together")
    temperature: float = Field(default=1.0, gt=0, description="of the sampled answers")
    save_every: int = Field(default=20, ge=1, description="steps between checkpoints")
    sft_steps: int = Field(
        default=60, ge=0, description="supervised steps on the tool's syntax before; 0 if it is known"
    )
    val_rows: int = Field(default=8, ge=1, description="held-out pictures for the learning figure")
