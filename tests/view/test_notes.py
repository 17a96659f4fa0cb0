"""Notes are appended, never rewritten: many writers, a kill in the middle of a line, a folder that is read-only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rnr.degradation.errors import Error
from rnr.view.notes import Notes

WRITER = (
    "import sys; from pathlib import Path; from rnr.view.notes import Notes\n"
    "for n in range(40): Notes(Path(sys.argv[1])).add('item', 'a.png', {'text': f'{sys.argv[2]} {n}'})"
)


def test_processes_write_at_the_same_time_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(who)]) for who in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    texts = {note["text"] for note in Notes(path).of("item")["notes"]}
    assert texts == {f"{who} {n}" for who in range(3) for n in range(40)}


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    Notes(path).add("item", "a.png", {"text": "first"})
    with path.open("a") as file:
        file.write('{"id": "x", "item": "item", "te')
    Notes(path).add("item", "a.png", {"text": "second"})
    assert [note["text"] for note in Notes(path).of("item")["notes"]] == ["first", "second"]
    assert len(path.read_text().splitlines()) == 3  # nothing was rewritten


def test_labels_and_withdrawals_are_events_too(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes.jsonl")
    note = notes.add("item", "a.png", {"text": "wrong", "author": "Ada"})
    notes.add("item", "a.png", {"label": "look again", "on": True})
    notes.add("item", "a.png", {"label": "result better", "on": True})
    notes.add("item", "a.png", {"label": "look again", "on": False})
    assert notes.counts() == {"item": (1, ["result better"])}
    notes.add("item", "a.png", {"withdraws": note["id"]})
    assert notes.of("item") == {"notes": [], "labels": ["result better"]}
    lines = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text().splitlines()]
    assert lines[0]["text"] == "wrong" and lines[0]["author"] == "Ada" and len(lines) == 5


@pytest.mark.parametrize("given", [{}, {"text": " "}, {"text": "a", "label": "b"}, {"text": "x" * 10_001}, {"text": 3}])
def test_what_is_no_note_is_refused(tmp_path: Path, given: dict) -> None:
    with pytest.raises(Error):
        Notes(tmp_path / "notes.jsonl").add("item", "a.png", given)
    assert not (tmp_path / "notes.jsonl").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot be written .*make the folder writable"):
        Notes(tmp_path).add("item", "a.png", {"text": "a"})  # a folder stands where the file should
