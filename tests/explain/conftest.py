"""The built-in reasoner, a random Qwen3-VL of other sizes, and a photograph with known damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from rnr import prompts
from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import Mixture, degrade, prescribe
from rnr.explain import Internals, Run
from rnr.reasoner import load
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.processor import build_processor
from rnr.reasoner.reasoner import Reasoner
from rnr.reasoner.tokenizer import build_tokenizer
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION


@dataclass
class Damaged:
    """A crop of a photograph, damaged."""

    clean: torch.Tensor
    mixture: Mixture
    picture: np.ndarray


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def damaged(photographs: dict[str, np.ndarray]) -> Damaged:
    clean, mixture = to_tensor(photographs["astronaut"][40:184, 100:260]), prescribe({"noise": 45, "haze": 40}, 1)
    return Damaged(clean, mixture, to_uint8(degrade(clean, mixture)))


@pytest.fixture(scope="session")
def built_in() -> Internals:
    return Internals(load("built-in"))


@pytest.fixture(scope="session")
def random_qwen() -> Internals:
    """A Qwen3-VL with random weights and no card of ours: three larger views, the instruct prompt, all kinds."""
    prompt = prompts.load("diagnose_instruct").fill(kinds=[kinds()[name] for name in reasoning_order()])
    tokenizer = build_tokenizer(extra=[prompt])  # one token: the prompt's bytes would cost seconds
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1)
    card: dict[str, Any] = {"views": {"most": 160}}
    return Internals(Reasoner(model, build_processor(tokenizer), card, "random"))


@pytest.fixture(scope="session")
def run(built_in: Internals, damaged: Damaged) -> Run:
    return built_in.run(damaged.picture, attention=True)


@pytest.fixture(scope="session")
def clean_run(built_in: Internals, damaged: Damaged) -> Run:
    return built_in.run(to_uint8(damaged.clean))
