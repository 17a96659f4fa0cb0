from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.photographs import to_tensor

CORNERS = {"astronaut": (60, 160), "chelsea": (80, 120), "coffee": (100, 200), "rocket": (150, 250)}


@pytest.fixture(scope="session")
def clean(photographs: dict[str, np.ndarray]) -> torch.Tensor:
    """(4, 3, 96, 96): crops of four photographs."""
    crops = [photographs[name][top : top + 96, left : left + 96] for name, (top, left) in CORNERS.items()]
    return torch.cat([to_tensor(crop) for crop in crops])
