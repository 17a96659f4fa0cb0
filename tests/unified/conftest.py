"""A unified pair of a random Qwen3-VL of 0.2 M parameters and two small experts, and photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr import prompts
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.processor import build_processor
from rnr.reasoner.reasoner import Reasoner
from rnr.reasoner.tokenizer import build_tokenizer
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.pipeline import RestorePipeline
from rnr.unified.model import UnifiedModel

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "head_dim": 64,
}
VISION = {"depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 1, "deepstack_visual_indexes": [0]}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def small_reasoner(*words: str) -> Reasoner:
    tokenizer = build_tokenizer(extra=[prompts.load("diagnose_tuned").text, *words])
    model = new_model(tiny_config(tokenizer, TEXT, VISION), seed=1)
    card = {"prompt": "diagnose_tuned", "views": {"side": 128, "crops": 2}}
    return Reasoner(model, build_processor(tokenizer), card, "random")


def small_pipe() -> RestorePipeline:
    """Noise by a U-Net, haze by a look at the whole picture; not the identity."""
    torch.manual_seed(2)
    networks = {
        "noise": ExpertNetwork("noise", (8, 12), (1, 1)),
        "haze": ExpertNetwork("haze", (), (), physics=True, overview=True),
    }
    for network in networks.values():
        for parameter in network.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        network.to(memory_format=torch.channels_last)  # as those of a file: another layout rounds otherwise
    return RestorePipeline(None, BridgeScheduler(), Experts(networks).eval())


def pair() -> UnifiedModel:
    torch.manual_seed(3)
    return UnifiedModel(small_reasoner(), small_pipe()).eval()


@pytest.fixture(scope="session")
def crops(photographs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [photograph[:200, :200] for photograph in photographs.values()]
