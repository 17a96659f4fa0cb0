"""Captions from a teacher behind a real HTTP server: stored, never asked for twice, learned with their words."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rnr.app.cli import app
from rnr.quality.loading import load_clip
from rnr.quality.teacher import FILE, plain, words_of
from rnr.quality.train import QualityObjective, QualityRun, train_quality
from rnr.reasoner.chat import ServerError

pytest.importorskip("openai", reason="the `server` extra is not installed")

pytestmark = pytest.mark.usefixtures("few_pictures")
SMALL: dict[str, Any] = {"batch": 4, "side": 96, "warm_up": 16, "labels": 16, "samples": 8, "captions": 8}


class Answers(BaseHTTPRequestHandler):
    """Captions by the brightness of the picture and the hint; refuses after `most` of them."""

    asked: list[str] = []
    most = 1_000

    def do_GET(self) -> None:
        self.reply({"data": [{"id": "tiny"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture, words = body["messages"][0]["content"]
        if len(self.asked) >= self.most:
            return self.reply({"error": {"message": "no more today"}}, 400)
        self.asked.append(words["text"])
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",")[1]))))
        light = "gloomy" if pixels.mean() < 110 else "luminous"
        said = {"quality": f"Grainy, {light} mush!", "aesthetics": f"A {light}\n composition."}
        assert set(body["response_format"]["json_schema"]["schema"]["properties"]) == set(said)
        message = {"content": json.dumps(said), "role": "assistant"}
        self.reply({"choices": [{"message": message, "finish_reason": "stop"}]})

    def reply(self, data: dict, status: int = 200) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running(most: int = 1_000) -> Iterator[tuple[str, list[str]]]:
    """(url, the prompts that it was asked)."""
    answers = type("Once", (Answers,), {"asked": [], "most": most})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", answers.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def folder(photographs: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "coffee"):
        Image.fromarray(photographs[name][:200, :200]).save(place / f"{name}.png")
    return place


def test_what_was_answered_is_not_asked_again(folder: Path, tmp_path: Path) -> None:
    with running(most=4) as (url, asked), pytest.raises(ServerError, match="no more today"):
        train_quality(folder, QualityRun(out=tmp_path, teacher=url, **SMALL))
    assert len(asked) == 4 and "What was done to it: " in asked[0] and "of 100" in asked[0]
    store = tmp_path / FILE
    with store.open("a") as file:
        file.write('{"captions": [["cut off by a')
    with running() as (url, asked):
        weights = train_quality(folder, QualityRun(out=tmp_path, teacher=url, **SMALL))
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    assert len(asked) == 4 and len(lines) == 3 and lines[2]["by"] == "tiny, prompt caption_quality 1"
    tokenizer = load_clip(weights).tokenizer
    assert tokenizer.unk_token_id not in tokenizer("grainy , mush . a composition")["input_ids"]
    # The server is gone: a training that goes on has all it needs.
    run = QualityRun(out=tmp_path, teacher=url, resume=True, **SMALL | {"samples": 12})
    assert train_quality(folder, run) == weights
    assert "--teacher URL" in (weights / "README.md").read_text()


def test_other_pictures_are_not_captioned_by_old_texts(folder: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"photographs": 3}\n')
    with pytest.raises(ValueError, match="begun with other settings .*; go on with those, or name another --out"):
        train_quality(folder, QualityRun(out=tmp_path, teacher="http://127.0.0.1:9", **SMALL))


def test_half_of_the_batches_are_the_teachers(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    run = QualityRun(out=tmp_path, teacher="http://127.0.0.1:9", **SMALL)
    taught = [[[f"batch {b} picture {i}", "a mood"] for i in range(4)] for b in range(2)]
    objective = QualityObjective(run, [photographs["chelsea"]], taught=taught)
    last = [objective.batch(0.0, seed)[0].captions[1][-2:] for seed in range(12)]
    theirs = [texts for texts in last if texts[1] == "a mood"]
    assert 2 <= len(theirs) <= 10 and {texts[0] for texts in theirs} <= {"batch 0 picture 1", "batch 1 picture 1"}


def test_texts_are_spelt_as_captions_are() -> None:
    assert plain("A soft-focus café;\n it's NOISY, 40%.") == "a soft-focus café it's noisy , ."
    assert words_of([[["soft noise", "warm"], ["soft light"]], [["light ."]]]) == ["light", "soft"]


def test_options_that_go_with_a_teacher_are_refused_without_one(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["train", "quality", "--images", str(folder), "-o", str(tmp_path), "--captions", "8"]
    )
    assert done.exit_code == 2 and "--captions: goes with --teacher" in done.stderr
