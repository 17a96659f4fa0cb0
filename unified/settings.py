"""What the training of the unified model takes: a recipe in TOML, or the options of `rnr train unified`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rnr.degradation.loading import BUILT_IN
from rnr.degradation.synthesize import Stage
from rnr.training.config import Run

Condition = Literal["both", "numbers", "hidden"]


class UnifiedRun(Run):
    """Settings of both stages; a sample is a crop.

    Example:
        >>> UnifiedRun(out="runs/unified", stage=2).text_weight
        0.25
    """

    stage: Literal[1, 2] = Field(default=1, description="1: restoring alone; 2: assessing and restoring together")
    samples: int = Field(default=20_000, ge=1, description="length of the schedule, in crops")
    rate: float = Field(default=2e-4, gt=0, description="learning rate at its highest")
    warm_up: int = Field(default=500, ge=1, description="samples until the highest rate")
    batch: int = Field(default=6, ge=2, description="crops in an update")
    size: int = Field(default=128, ge=128, multiple_of=32, description="side of a crop, px; the reasoner takes 128")
    stages: dict[Stage, float] = Field(
        # UARE: 9.6, 19.2 and 1.3 billion tokens of pictures
        default={"single": 0.32, "several": 0.64, "high_order": 0.04},
        description="share of the samples by how they are damaged (rnr.degradation.synthesize), easy to hard",
    )
    easy_to_hard: bool = Field(default=True, description="stages one after the other; false: shuffled, same shares")
    tasks: dict[Literal["restore", "describe", "score", "compare"], float] = Field(
        default={"restore": 0.7, "describe": 0.15, "score": 0.05, "compare": 0.1},
        description="share of the updates of stage 2; without the last three: no assessment",
    )
    text_weight: float = Field(default=0.25, ge=0, description="weight of L_AR beside L_RF (UARE: 0.25)")
    own: float = Field(default=0.5, ge=0, le=1, description="share of texts that the reasoner itself writes")
    partial: float = Field(default=0.5, ge=0, le=1, description="share of restorations with a wish for some kinds only")
    condition: Condition = Field(default="both", description="what conditions a leg: numbers, hidden states, or both")
    freeze: list[str] = Field(
        default=["language.model.visual.patch_embed"], description="beginnings of names of weights that stay"
    )
    reasoner: str = Field(default=BUILT_IN, description="the pair to begin with, without --init")
    restorer: str = Field(default=BUILT_IN, description="its other half: experts, or a latent diffusion transformer")
    lora: int = Field(default=0, ge=0, description="rank of adapters on both; 0: the weights themselves")
    instructions: int = Field(
        default=1_000_000, ge=0, description="instructions that a reader of words learns from before stage 2; 0: none"
    )

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("stages", "tasks"):
            shares = getattr(self, name)
            if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
                raise ValueError(f"the shares of {name} must add up to 1, not {sum(shares.values()):g}")
        return self
