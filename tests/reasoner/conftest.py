"""A Qwen3-VL of 0.2 M parameters with random weights, and diagnoses that a random chooser wrote."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis
from rnr.reasoner.card import CARD, FIELD
from rnr.reasoner.grammar import Choice, Skeleton, program, run
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.processor import build_processor
from rnr.reasoner.reasoner import Reasoner
from rnr.reasoner.tokenizer import build_tokenizer

SMALL_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "head_dim": 64,
}
SMALL_VISION = {"depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 1, "deepstack_visual_indexes": [0]}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer(extra=[prompts.load("diagnose_tuned").text])


@pytest.fixture(scope="session")
def processor(tokenizer):
    return build_processor(tokenizer)


@pytest.fixture
def small_model(tokenizer):
    return new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1)


@pytest.fixture
def reasoner(small_model, processor):
    card = {"prompt": "diagnose_tuned", "views": {"side": 128, "crops": 2}}
    return Reasoner(small_model, processor, card, "random")


def picture(height: int = 160, width: int = 192, seed: int = 0) -> np.ndarray:
    """uint8 noise on a ramp."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, width)[None, :, None] * np.ones((height, 1, 3))
    return np.clip(ramp + rng.normal(0, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def random_diagnosis(seed: int) -> Diagnosis:
    """Any Diagnosis that the grammar can write."""
    rng = random.Random(seed)
    text: list[str | None] = []
    answers: list[str] = []

    def choose(choice: Choice) -> str:
        answers.append(rng.choice(choice.options))
        return answers[-1]

    for piece in run(program(), choose):
        text.append(piece.text if isinstance(piece, Skeleton) else None)
    written = iter(answers)
    return Diagnosis.from_json("".join(next(written) if part is None else part for part in text))


def foreign(folder: Path) -> Path:
    """The folder as a checkpoint that is not ours: without a card, and a field of the Diagnosis is no token of its."""
    (folder / CARD).unlink()
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["model"]["vocab"]["another token"] = data["model"]["vocab"].pop(FIELD)
    path.write_text(json.dumps(data), encoding="utf-8")
    return folder
