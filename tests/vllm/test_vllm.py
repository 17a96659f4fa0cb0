"""The client against a real vLLM with the built-in weights. It takes a minute or two to start: hence a marker."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import synthesize
from rnr.evaluation.served import compare, counters, summary
from rnr.reasoner.client import ServerReasoner
from rnr.reasoner.reasoner import Reasoner, Settings
from tests.vllm.conftest import PYTHON, running, surroundings

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


def test_an_adapter_is_served_beside_its_base(served, pictures, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from rnr.reasoner.checkpoint import load_model

    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=r".*language_model.*[qv]_proj", init_lora_weights=False)
    get_peft_model(load_model(str(served), dtype="float32"), lora).save_pretrained(str(tmp_path / "tuned"))
    more = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={tmp_path / 'tuned'}"]
    with running(served, tmp_path / "vllm.log", *more) as (url, _):
        base, tuned = (
            ServerReasoner(url, served=name, card=served).diagnose(pictures) for name in ("reasoner", "tuned")
        )
    here = Reasoner.from_pretrained(served, adapter=tmp_path / "tuned").diagnose(pictures)
    assert [record.text for record in tuned] == [record.text for record in here]
    assert [record.text for record in tuned] != [record.text for record in base]
    for mine, other in zip(here, tuned):
        for kind in mine.beliefs:
            assert other.expected_severity(kind) == pytest.approx(mine.expected_severity(kind), abs=TOLERANCE)


def test_in_process_it_says_the_same(served, records, pictures, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", np.stack(pictures))
    program = (
        "import numpy as np, sys\n"
        "from rnr.reasoner.client import ServerReasoner\n"
        "if __name__ == '__main__':\n"
        "    reasoner = ServerReasoner('vllm:' + sys.argv[1], dtype='float32', enforce_eager=True)\n"
        "    found = reasoner.diagnose(np.load(sys.argv[2]))\n"
        "    open(sys.argv[3], 'w').write('\\n'.join(record.model_dump_json() for record in found))\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [PYTHON, "program.py", served, "pictures.npy", "records.jsonl"]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, env=surroundings(), timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [
        DiagnosisRecord.model_validate_json(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()
    ]
    assert [record.text for record in found] == [record.text for record in records]
    for here, there in zip(found, records):
        assert here.trace and [entry.token_ids for entry in here.trace] == [entry.token_ids for entry in there.trace]
        for kind in here.beliefs:
            assert here.expected_severity(kind) == pytest.approx(there.expected_severity(kind), abs=TOLERANCE)


def test_answers_kept_to_the_grammar_against_free_ones(server, pictures) -> None:
    rows = compare(ServerReasoner(server[0], workers=1), pictures[:2])
    for row in rows:
        assert row["valid kept"] and 60 < row["tokens kept"] < 200  # type: ignore[operator]
        assert row["requests"] > 1 + 2 * len(kinds()) and row["prompt tokens"] > 0  # type: ignore[operator]
        assert 0 <= row["found"] < row["looked up"]  # type: ignore[operator]
    print(summary(rows).markdown())


def test_killed_within_a_batch(server, pictures) -> None:
    """The last test: it takes the server with it."""
    url, kill = server
    reasoner = ServerReasoner(url, retries=1, workers=2)
    before = counters(url)["requests"]
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(reasoner.diagnose, pictures * 4, Settings(beliefs=False))
        while counters(url)["requests"] == before:
            time.sleep(0.1)
        kill()
        records = batch.result()
    lost = [record.error for record in records if record.error]
    assert 0 < len(lost) < len(records) and all("is the server running" in error for error in lost)
    assert all((record.diagnosis is None) == bool(record.error) for record in records)
