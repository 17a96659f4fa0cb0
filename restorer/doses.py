"""How far each leg goes where nobody orders it: learned from rewards (`rnr.rl.chain`), 1 until then.

A reasoner estimates; an expert that is given a wrong finding, or a right one of a picture unlike those of its training,
does harm in proportion to its dose. So the dose of a leg may follow from how severe the reasoner finds its kind and how
sure it is of that: the logarithm of the dose is affine in both, one small map a kind, and never above 0.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from rnr.degradation.diagnosis import Belief

FEATURES = ("one", "doubt", "severity", "spread")  # what a map of a kind reads


class Doses(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Dose of the leg of a kind from what a reasoner believes of it; begins as 1 for everything.

    Args:
        kinds: The kinds that have a map; the legs of others go all the way.

    Example:
        >>> from rnr.degradation.diagnosis import Belief
        >>> doses = Doses(("noise",))
        >>> doses.dose("noise", Belief(probability=0.9, severity_if_present=40, spread=5))
        1.0
    """

    @register_to_config
    def __init__(self, kinds: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({kind: nn.Linear(len(FEATURES), 1, bias=False) for kind in kinds})
        for each in self.maps.values():
            nn.init.zeros_(each.weight)  # type: ignore[arg-type]

    def forward(self, kind: str, features_F: torch.Tensor) -> torch.Tensor:
        """Where the logarithm of the dose lies, a scalar; what is above 0 goes all the way."""
        (weight,) = self.maps[kind].parameters()
        return (weight[0] * features_F.to(weight)).sum()

    def dose(self, kind: str, belief: Belief) -> float:
        """How far the leg of a kind goes, above 0 and at most 1.

        Args:
            kind: Any kind.
            belief: What a reasoner believes of it.
        """
        if kind not in self.maps:
            return 1.0
        with torch.no_grad():
            return float(self(kind, features(belief)).clamp(max=0).exp())


def features(belief: Belief) -> torch.Tensor:
    """FEATURES of a `Belief`, each of the order of 1."""
    return torch.tensor([1, 1 - belief.probability, belief.severity_if_present / 100, belief.spread / 100])
