"""What is read: every kind of source, its numbers, and what is wrong with a broken one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.judge.reading import severity as reading
from rnr.view.library import Library
from rnr.view.pictures import Pictures
from tests.view.conftest import as_row, write_loop_a, write_rows, write_table

ROWS = ["astronaut.png", "chelsea.png", "coffee.png"]


def names(library: Library) -> list[str]:
    return [item.name for run in library.runs for item in run.items.values()]


def test_a_folder_of_restored_pictures(gallery: Path) -> None:
    library = Library([gallery / "run-a", gallery / "damaged", gallery / "clean"])
    assert names(library) == ROWS  # the ground truth in damaged/ is no run
    item = next(iter(library.runs[0].items.values()))
    data = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())
    record = DiagnosisRecord.model_validate(data["before"])
    assert item.facts.before == [reading(record, kind).severity for kind in library.names]
    truth = json.loads((gallery / "damaged" / "astronaut.diagnosis.json").read_text())["diagnosis"]["findings"]
    assert item.facts.truth == [truth[kind]["severity"] for kind in library.names]
    pictures = Pictures(library)
    identity = f"0-{next(iter(library.runs[0].items))}"
    for role, folder in {"before": "damaged", "after": "run-a", "clean": "clean"}.items():
        assert pictures.bytes_of(identity, role) == (gallery / folder / "astronaut.png").read_bytes()


def test_one_severity_has_one_doubt(gallery: Path) -> None:
    """The standard deviation of: 0 with 1 - p, else mean m and spread s."""
    library = Library([gallery / "run-a"])
    item = next(iter(library.runs[0].items.values()))
    beliefs = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())["before"]["beliefs"]
    for kind, doubt in zip(library.names, item.facts.doubt):
        if kind not in beliefs:  # newer than the weights: it was not asked
            assert doubt is None
            continue
        p, m, s = (beliefs[kind][name] for name in ("probability", "severity_if_present", "spread"))
        second_moment = p * (m * m + s * s)
        assert doubt == pytest.approx((second_moment - (p * m) ** 2) ** 0.5)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_tables_hold_the_same_numbers(gallery: Path, tmp_path: Path, suffix: str) -> None:
    rows = [as_row(path) for path in sorted((gallery / "run-a").glob("*.json"))]
    path = write_table(tmp_path / f"rows{suffix}", rows, gallery)
    library, folder = Library([path]), Library([gallery / "run-a"])
    assert names(library) == ROWS
    for item, other in zip(library.runs[0].items.values(), folder.runs[0].items.values()):
        assert item.facts.states == other.facts.states
        assert item.facts.before == pytest.approx(other.facts.before)  # `datasets` rounds to float32
        diagnosis = item.read()["diagnosis"]
        assert DiagnosisRecord.model_validate({"diagnosis": diagnosis}).diagnosis


def test_a_table_may_hold_its_pictures(gallery: Path, tmp_path: Path) -> None:
    rows = [as_row(path) for path in sorted((gallery / "run-a").glob("*.json"))]
    library = Library([write_table(tmp_path / "rows.parquet", rows, gallery)])
    identity = f"0-{list(library.runs[0].items)[1]}"
    assert Pictures(library).bytes_of(identity, "before") == (gallery / "damaged" / "chelsea.png").read_bytes()


def test_an_agents_folder_and_its_store(gallery: Path) -> None:
    library = Library([gallery / "agent", gallery / "agent" / "agent" / "pictures"])
    assert [run.source.kind for run in library.runs] == ["folder of records", "agent's store"]
    pictures, first = Pictures(library), next(iter(library.runs[0].items))
    steps = json.loads((gallery / "agent" / "chelsea.diagnosis.json").read_text())["agent"]["steps"]
    roles = pictures.roles(f"0-{first}")
    assert sum(role.startswith("step") for role in roles) == sum(len(step["candidates"]) for step in steps) > 0
    for key in library.runs[1].items:
        assert pictures.shown(f"1-{key}", "before")[1] == "image/png"


def test_an_rl_run(gallery: Path) -> None:
    library = Library([gallery / "rl"])
    assert names(library) == ["task 0", "task 1"]
    facts = [item.facts for item in library.runs[0].items.values()]
    assert facts[1].measures["reward"] == pytest.approx(1.4)
    assert facts[1].measures["reward gained"] == pytest.approx(0.3)
    assert "naturalness" not in facts[1].measures  # not measured is not 0
    assert [path.name for path in library.runs[0].source.figures] == ["curves.png", "goodhart.png"]
    assert Pictures(library).shown(f"0-{list(library.runs[0].items)[1]}", "clean")[1] == "image/png"


def test_an_rl_run_that_records_no_pictures(tmp_path: Path) -> None:
    write_loop_a(tmp_path / "run")
    library = Library([tmp_path / "run"])
    facts = {item.name: item.facts for item in library.runs[0].items.values()}
    assert list(facts) == ["policy", "supervised, same time", "training"]
    assert facts["policy"].measures == {"severity_mae": 15.5, "f1": 0.5}, "the last evaluation"
    assert facts["training"].measures == {"reward": 0.2, "kl": 0.02, "reward gained": pytest.approx(0.1)}
    assert b"severity_mae" in library.rows()


def test_alternatives_that_no_record_holds_are_no_alternatives_that_there_are_not() -> None:
    from rnr.view.chain import chain

    trace = {"field": "findings.noise.severity", "start": 0, "end": 2, "token_ids": [1, 2], "logprobs": [-0.7, 0.0]}
    record = {"text": "45", "diagnosis": {"findings": {"noise": {"severity": 45}}}, "trace": [trace]}

    def value():
        ((part,),) = [chain(record, {"noise": "noise"})]
        return part.values[0]

    assert not value().recorded and not value().alternatives
    trace["alternatives"] = [[], []]
    assert value().recorded and not value().alternatives
    for logprob in (-0.693147, "-0.693147"):  # `datasets` makes text of both
        trace["alternatives"] = [[["3", logprob]], []]
        assert [(other.text, other.percent) for other in value().tokens[0].alternatives] == [("3", "50.0 %")]


def test_what_is_broken_is_listed_with_its_problem(gallery: Path, tmp_path: Path) -> None:
    shutil.copytree(gallery / "run-a", tmp_path / "run")
    (tmp_path / "run" / "coffee.diagnosis.json").write_text('{"before": {"diagnosis": ')
    failed = {"file": "gone.png", "diagnosis": None, "error": "no such file; check the spelling"}
    rows = write_rows(tmp_path / "rows.jsonl", [as_row(gallery / "run-a" / "chelsea.diagnosis.json"), failed])
    rows.write_text(rows.read_text() + "not JSON\n")
    library = Library([tmp_path / "run", rows])
    facts = {item.name: item.facts for run in library.runs for item in run.items.values()}
    assert facts["coffee"].status == "failed" and "coffee.diagnosis.json" in facts["coffee"].error
    assert facts["gone.png"].error == "no such file; check the spelling"
    assert facts["line 3"].error.startswith("line 3: not JSON")
    assert facts["astronaut.png"].status == "restored"


def test_an_unknown_severity_is_not_zero(tmp_path: Path) -> None:
    findings = {"noise": {"present": None, "severity": None}, "haze": {"present": False, "severity": 0}}
    library = Library([write_rows(tmp_path / "rows.jsonl", [{"file": "a.png", "diagnosis": {"findings": findings}}])])
    facts = next(iter(library.runs[0].items.values())).facts
    found = dict(zip(library.names, zip(facts.states, facts.before, facts.doubt)))
    assert (
        found["noise"] == ("u", None, None) and found["haze"] == ("a", 0.0, None) and found["rain"][:2] == ("n", None)
    )


def test_a_run_that_grows_is_read_again(gallery: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(gallery / "run-a" / "astronaut.diagnosis.json", run)
    library = Library([run])
    assert b"chelsea" not in library.rows()
    shutil.copy(gallery / "run-a" / "chelsea.diagnosis.json", run)
    assert b"chelsea" in library.rows()
    version = library.version
    library.runs[0].notes.add(next(iter(library.runs[0].items)), "astronaut.png", {"label": "look again"})
    assert b"look again" in library.rows() and library.version == version  # a note costs no second reading


def test_the_same_name_of_another_picture_is_not_shown(gallery: Path, tmp_path: Path) -> None:
    from rnr.images.files import PictureError

    shutil.copytree(gallery / "clean", tmp_path / "other")  # astronaut.png again, without the damage
    library = Library([gallery / "run-a", tmp_path / "other"])
    identity = f"0-{next(iter(library.runs[0].items))}"
    with pytest.raises(PictureError, match="is not the file that the record speaks of"):
        Pictures(library).bytes_of(identity, "before")


def test_nothing_to_view_is_said(gallery: Path, tmp_path: Path) -> None:
    for path, words in (
        (gallery / "clean", "no records"),
        (tmp_path / "none", "no such file"),
        (gallery / "clean" / "coffee.png", "is no file of records"),
    ):
        with pytest.raises(SetupError, match=words):
            Library([path])


def test_a_folder_of_tables_and_a_folder_of_runs(gallery: Path, tmp_path: Path) -> None:
    rows = [as_row(path) for path in sorted((gallery / "run-a").glob("*.json"))]
    shards = tmp_path / "all" / "shards"
    shards.mkdir(parents=True)
    write_rows(shards / "0.jsonl", rows[:2])
    write_rows(shards / "1.jsonl", rows[2:])
    write_rows(shards / "other.jsonl", [{"step": 1}])  # of something else
    shutil.copytree(gallery / "run-a", tmp_path / "all" / "restored")
    library = Library([tmp_path / "all"])
    assert [(run.name, len(run.items)) for run in library.runs] == [("restored", 3), ("shards", 3)]
