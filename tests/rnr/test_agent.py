"""`rnr agent` and `rnr.agent`: folders with broken pictures, going on, asking, the report."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rnr
from rnr.app.asking import ask
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.errors import SetupError
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.graph import Answer
from rnr.images.files import Picture, read_picture, write_picture
from rnr.report.agent import render
from rnr.work.agent_worker import HOME, AgentWorker
from rnr.work.agents import AgentRequest, Workplace
from rnr.work.batch import Batch, Options
from rnr.work.models import Models
from rnr.work.naming import plan
from rnr.work.outputs import report_path

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, crop: np.ndarray) -> Path:
    inside = tmp_path_factory.mktemp("agent") / "in"
    inside.mkdir()
    deep = Picture(crop[:96, :96].astype(np.uint16) * 257, mode="RGB;16")
    write_picture(deep, deep.as_float(), inside / "deep.png")
    Image.fromarray(np.dstack([crop[:96, 96:192], crop[:96, 96:192, 0]])).save(inside / "see-through.png")
    (inside / "broken.png").write_text("no picture")
    return inside


def batch(folder: Path, out: Path, models: Models, workers: int = 1, answer: Any = None, **request: Any) -> Batch:
    out.mkdir(exist_ok=True)
    asked = AgentRequest(strategy="one-pass", ask=answer is not None, **request)
    with Workplace(out / HOME, asked) as place:
        worker = AgentWorker(place, answer)
        made = Batch(plan(sorted(folder.iterdir())), out, models, worker, Options("skip"), workers)
        made.run()
    return made


@pytest.fixture(scope="module")
def done(folder: Path, models: Models) -> Batch:
    return batch(folder, folder.parent / "out", models, candidates=2)


def test_a_broken_picture_is_reported_and_the_others_are_done(done: Batch) -> None:
    assert [entry.name for entry in done.entries] == ["broken.png", "deep.png", "see-through.png"]
    assert [entry.status == "failed" for entry in done.entries] == [True, False, False]
    assert "not a picture" in done.entries[0].problem
    written = read_picture(done.out / "deep.png")
    assert written.bit_depth == 16 and read_picture(done.out / "see-through.png").alpha_HW is not None
    data = json.loads((done.out / "deep.diagnosis.json").read_text())
    assert data["agent"]["status"] == "done" and data["agent"]["story"]
    assert Diagnosis.from_json(json.dumps(data)).findings  # `rnr restore --diagnosis` takes it


def test_the_trace_holds_models_prompts_seeds_and_times(done: Batch) -> None:
    lines = [json.loads(line) for line in (done.out / "agent/trace.jsonl").read_text().splitlines()]
    looks = [line for line in lines if line["event"] == "diagnosed"]
    steps = [line for line in lines if line["event"] == "restoring"]
    assert looks and all(line["model_hash"] and line["prompt_version"] and line["time"] for line in looks)
    assert steps and {line["number"] for line in steps} == {0, 1} and all("seed" in line for line in steps)
    assert len({line["thread"] for line in lines}) == 2


def test_called_again_nothing_is_done_again(done: Batch, folder: Path, models: Models) -> None:
    before = (done.out / "agent/trace.jsonl").read_text()
    again = batch(folder, done.out, models, candidates=2)
    assert again.skipped == 2 and (done.out / "agent/trace.jsonl").read_text() == before
    other = batch(folder, done.out, models, seed=1)
    assert all("with other settings" in entry.problem for entry in other.entries[1:])


def test_workers_come_to_the_same(done: Batch, folder: Path, models: Models, tmp_path: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    many = batch(folder, tmp_path / "out", models, workers=2, candidates=2)
    torch.set_num_threads(threads)
    results = [[entry.run.picture if entry.run else None for entry in each.entries] for each in (many, done)]
    assert results[0] == results[1]


def test_the_report_stands_alone_and_tells_each_step(done: Batch) -> None:
    page = done.write_report().read_text()
    assert not re.search(r"src=\"(?!data:)|href=\"(?!#|[^\":]+\.json\")", page) and "http" not in page.replace(
        "http-equiv", ""
    )
    assert page.count("<svg") == sum(bool(entry.steps) for entry in done.entries)
    assert page.count("result of step") == sum(len(step.shots) for entry in done.entries for step in entry.steps)
    for entry in done.entries[1:]:
        assert entry.run and all(step.reason in page for step in entry.steps) and entry.run.thread in page


def test_a_report_takes_no_other_runs_place(done: Batch, tmp_path: Path) -> None:
    def path(mode: Any, entries: Any) -> str:
        return report_path(tmp_path, mode, {entry.key for entry in entries}).name

    report = tmp_path / "report.html"
    report.write_text(render(done.entries))
    part = done.entries[:2]  # so of another run: it tells of fewer pictures
    assert path("skip", done.entries) == path("overwrite", part) == "report.html"
    assert path("skip", part) == path("refuse", done.entries) == "report-2.html"
    report.write_text(render(done.entries[:1]))  # nothing but a failure: nothing that could be lost
    assert path("skip", part) == "report.html"
    report.write_text("<p>holidays</p>")
    (tmp_path / "report-2.html").write_text(render(part))
    assert path("skip", done.entries) == "report-2.html" and path("skip", []) == "report-3.html"


@pytest.mark.slow  # three processes load the built-in pair
def test_one_process_at_a_time_in_a_folder_and_a_killed_one_is_gone(
    cli: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["agent", str(folder / "deep.png"), "-o", str(tmp_path), "--ask", "--device", "cpu"]
    command = [sys.executable, "-P", "-m", "rnr", *arguments]
    there: Any = {"cwd": CHECKOUT, "env": {**os.environ, "PYTHONPATH": str(CHECKOUT)}, "text": True}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **there) as first:
        assert first.stderr and any(line.startswith("step 1") for line in first.stderr)  # it asks, and waits
        code, _, said = cli(*arguments)
        assert code == 2 and "another `rnr agent` is at work" in said
        first.kill()
    monkeypatch.setattr(sys, "stdin", io.StringIO("s\n"))
    code, shown, said = cli(*arguments)
    assert code == 0 and "1 left as found" in shown, said
    assert len((tmp_path / "agent/trace.jsonl").read_text().splitlines()) == 4  # diagnosed, planned; answered, finished


def test_a_thread_of_another_release_fails_alone(done: Batch, folder: Path, models: Models, tmp_path: Path) -> None:
    shutil.copytree(done.out / "agent", tmp_path / "agent")
    entry = done.entries[1]
    assert entry.run and isinstance(done.worker, AgentWorker)
    with Workplace(tmp_path / "agent", done.worker.workplace.request) as workplace:
        config = {"configurable": {"thread_id": entry.run.thread}}
        workplace.agent.update_state(config, {"schema_version": 9}, as_node="finish")
    again = batch(folder, tmp_path, models, candidates=2)
    assert "state schema 9, this release reads 1" in again.entries[1].problem
    assert again.entries[2].status == done.entries[2].status


def test_names_cannot_break_the_report(done: Batch) -> None:
    entry = done.entries[0]
    entry.source, kept = "<script>x</script>.png", entry.source
    try:
        assert "<script>x" not in render([entry])
    finally:
        entry.source = kept


def test_waiting_and_answering(done: Batch, folder: Path, models: Models, tmp_path: Path) -> None:
    waits = batch(folder, tmp_path / "out", models, answer=lambda question: None, candidates=2)
    assert waits.count("waiting") + waits.count("untouched") == 2
    page = waits.write_report().read_text()
    assert "waits for an answer" in page or not waits.count("waiting")
    approved = batch(folder, tmp_path / "out", models, answer=lambda question: Answer(action="approve"), candidates=2)
    assert approved.count("waiting") == 0 and approved.skipped == waits.count("untouched")
    for entry in done.entries[1:]:  # as if nobody had been asked
        assert (done.out / entry.output).read_bytes() == (tmp_path / "out" / entry.output).read_bytes()


def test_from_python(done: Batch, folder: Path, tmp_path: Path) -> None:
    heard: list[Any] = []
    settings: Any = {"strategy": "one-pass", "candidates": 2, "device": "cpu", "on_event": heard.append}
    result = rnr.agent(folder / "deep.png", tmp_path, **settings)
    assert heard and result.story[-1].startswith("done: ") and result.pixels_HWC3.dtype == np.uint16
    entry = next(entry for entry in done.entries if entry.name == "deep.png")
    assert entry.run and result.run.picture == entry.run.picture
    assert np.array_equal(read_picture(done.out / "deep.png").pixels_HWC3, result.pixels_HWC3)
    assert result.before and result.after and result.image.size == (96, 96)
    heard.clear()
    again = rnr.agent(folder / "deep.png", tmp_path, **settings)
    assert heard == [] and again.run.state == result.run.state


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(SetupError, match="one-pass or stepwise"):
        rnr.agent(np.zeros((8, 8, 3), np.uint8), strategy="magic")


def test_wrong_usage(cli: Any, folder: Path, tmp_path: Path) -> None:
    for arguments, problem in (
        (["--strategy", "magic"], "one-pass or stepwise"),
        (["--ask", "--workers", "2"], "--ask needs --workers 1"),
        (["--max-restorations", "0"], "--max-restorations"),
        (["--seconds", "0"], "more than 0"),
    ):
        code, _, error = cli("agent", folder, "-o", tmp_path / "out", *arguments)
        assert code == 2 and problem in error


QUESTION: Any = {
    "proposal": {"number": 1, "strategy": "one-pass", "kinds": ["noise", "haze"], "why": ""},
    "diagnosis": {"findings": {"noise": {"present": True, "severity": 30}}}, "picture": {}, "problem": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("a\n", Answer(action="approve")),
        ("\n", Answer(action="approve")),
        ("what\ns\n", Answer(action="stop")),
        ("r\n", Answer(action="reject")),
        ("p\nhaze, noise\n", Answer(action="edit", plan=["haze", "noise"])),
        ("d\n", Answer(action="edit", diagnosis={"edited": 1})),
        ("", None),
    ],
)
def test_asking_in_the_terminal(typed: str, answer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{\"edited\": 1}')")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert ask(QUESTION) == answer


def test_a_question_has_the_terminal_for_itself(monkeypatch: Any) -> None:
    from rich.console import Console

    from rnr.work import console

    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), force_terminal=True))
    with console.Meter(2, "looking") as meter:
        assert meter.progress.live.is_started
        with meter.paused():
            assert not meter.progress.live.is_started
        assert meter.progress.live.is_started


def test_a_broken_database_is_named(folder: Path, models: Models, tmp_path: Path) -> None:
    (tmp_path / "out" / "agent").mkdir(parents=True)
    (tmp_path / "out" / "agent" / "threads.sqlite").write_text("no database, but long enough to be read as one" * 9)
    with pytest.raises(SetupError, match=r"threads.sqlite: cannot be used .*move it away"):
        batch(folder, tmp_path / "out", models)


@pytest.fixture
def dark(photographs: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """A photograph that is dark and noisy."""
    clean = to_tensor(photographs["astronaut"][30:158, 150:278])
    pixels = to_uint8(degrade(clean, prescribe({"low_light": 60, "noise": 30}, 0)))
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    return tmp_path / "dark.png"


WORDS = "only remove the noise, leave it dark"


def test_steps_are_made_for_wished_kinds_alone(cli: Any, dark: Path, tmp_path: Path) -> None:
    arguments = ["agent", dark, "-o", tmp_path / "out", "--device", "cpu", "--instruct"]
    code, _, said = cli(*arguments, WORDS)
    assert code == 0 and f'"{WORDS}" is read as: remove noise (certainty' in " ".join(said.split())
    record = json.loads((tmp_path / "out" / "dark.diagnosis.json").read_text())
    assert set(Diagnosis.model_validate(record["before"]["diagnosis"]).present) >= {"noise", "low_light"}
    assert record["agent"]["steps"] and all(s["proposal"]["kinds"] == ["noise"] for s in record["agent"]["steps"])
    wish = record["agent"]["wish"]
    assert (wish["words"], wish["remove"]) == (WORDS, ["noise"]) and wish["certainty"] > 0.999
    assert "is read as: remove noise (certainty" in (tmp_path / "out" / "report.html").read_text()
    trace = tmp_path / "out" / HOME / "trace.jsonl"
    before = trace.read_text()
    assert cli(*arguments, WORDS)[0] == 0 and trace.read_text() == before  # the same request is done
    code, _, said = cli(*arguments, "remove the darkness")
    assert code == 1 and "with other settings" in " ".join(said.split())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("turn it into a cartoon", "asks for something else than removing damage"),
        ("remove the rainbow", "If --strength 0 --strength rain=100 is meant, say so"),
        (" ", "is not sure what is meant"),
    ],
)
def test_an_instruction_that_is_not_understood_is_refused_before_any_picture(
    cli: Any, dark: Path, tmp_path: Path, words: str, problem: str
) -> None:
    code, _, said = cli("agent", dark, "-o", tmp_path / "out", "--instruct", words)
    assert code == 2 and problem in " ".join(said.split()) and not (tmp_path / "out").exists()


def test_python_takes_the_same_words(dark: Path, tmp_path: Path) -> None:
    made = [rnr.agent(dark, tmp_path / "kept", instruct=words, device="cpu") for words in (WORDS, None)]
    assert [step["proposal"]["kinds"] for step in made[0].run.steps] == [["noise"]]
    assert made[0].settings["wish"]["remove"] == ["noise"] and "wish" not in made[1].settings
    assert made[0].run.thread != made[1].run.thread and len(made[1].run.steps[0]["proposal"]["kinds"]) > 1
    with pytest.raises(SetupError, match="cartoon"):
        rnr.agent(dark, instruct="turn it into a cartoon")
