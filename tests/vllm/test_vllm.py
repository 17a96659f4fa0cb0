"""The client against a real vLLM with the built-in weights. It takes a minute or two to start: hence a marker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from degradation.photographs import to_tensor, to_uint8
from degradation.synthesize import synthesize
from reasoner.reasoner import Reasoner, Settings
from reasoner.server import ServerReasoner
from tests.vllm.conftest import PYTHON

pytestmark = pytest.mark.vllm
TOLERANCE = 0.05  # points of expected severity, both in float32; 0.004 was seen


@pytest.fixture(scope="module")
def pictures(photographs) -> list[np.ndarray]:
    crops = [photographs["coffee"][20 * i : 20 * i + 200, 40 * i : 40 * i + 256] for i in range(3)]
    return [to_uint8(synthesize(to_tensor(crop), seed)[0]) for seed, crop in enumerate(crops)]


@pytest.fixture(scope="module")
def records(server, pictures):
    return ServerReasoner(server[0], workers=3).diagnose(pictures)  # three at a time


def test_it_finds_the_card_and_writes_valid_diagnoses(records) -> None:
    assert [record.error for record in records] == [None] * 3
    assert all(record.prompt == "diagnose_tuned" and record.model == "reasoner" for record in records)


def test_texts_and_severities_are_those_of_one_process(records, pictures) -> None:
    for here, there in zip(Reasoner.from_pretrained().diagnose(pictures), records):
        assert there.text == here.text
        assert [entry.field for entry in there.trace] == [entry.field for entry in here.trace]
        assert [entry.token_ids for entry in there.trace if entry.field.endswith("evidence")] == [
            entry.token_ids for entry in here.trace if entry.field.endswith("evidence")
        ]
        for kind in here.beliefs:
            assert there.expected_severity(kind) == pytest.approx(here.expected_severity(kind), abs=TOLERANCE)


def test_an_answer_that_was_cut_off_is_named(server, pictures) -> None:
    record = ServerReasoner(server[0], most_tokens=10).diagnose(pictures[:1], Settings(beliefs=False))[0]
    assert "raise most_tokens" in str(record.error)


def test_qwen_vl_utils_reads_the_views_that_we_send(pictures, tmp_path: Path) -> None:
    """Its pixel budget leaves views of 448 px as they are, at a patch size of 16."""
    program = (
        "from PIL import Image; from qwen_vl_utils import process_vision_info\n"
        "image = Image.new('RGB', (448, 448))\n"
        "asked = [{'role': 'user', 'content': [{'type': 'image', 'image': image}]}]\n"
        "print(process_vision_info(asked, image_patch_size=16)[0][0].size)"
    )
    shim = {"PYTHONPATH": str(Path(__file__).parent / "shim"), "PATH": ""}
    done = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, timeout=300, env=shim)
    assert done.stdout.strip() == "(448, 448)", done.stderr[-500:]


def test_killed_within_a_batch(server, pictures) -> None:
    """The last test: it takes the server with it."""
    url, kill = server
    reasoner = ServerReasoner(url, retries=1, pause=0.1, workers=2)
    assert reasoner.diagnose(pictures[:1], Settings(beliefs=False))[0].error is None
    kill()
    assert all("is the server running" in str(record.error) for record in reasoner.diagnose(pictures))
