"""Ray gives the records of one process, whatever the number of workers, and goes on where it was cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def test_without_ray_the_extra_is_named(cli, tmp_path: Path, crop: np.ndarray, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Image.fromarray(crop).save(tmp_path / "a.png")
    code, _, err = cli("diagnose", tmp_path, "--engine", "ray", "-o", tmp_path / "out")
    assert code == 2 and "pip install -e '.[ray]'" in err
    code, _, err = cli("diagnose", tmp_path, "--engine", "spark", "-o", tmp_path / "out")
    assert code == 2 and "not spark" in err


@pytest.fixture
def one_thread():
    """As in an actor: rounding depends on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plain(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.ray
def test_two_workers_write_what_one_process_writes(
    one_thread, cli, tmp_path: Path, crop: np.ndarray, monkeypatch
) -> None:
    pytest.importorskip("ray", reason="the `ray` extra is not installed")
    monkeypatch.setattr("rnr.work.cluster.CHUNK", 2)
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.roll(crop, 8 * i, 1)).save(folder / f"{i}.png")
    out = tmp_path / "out"
    code, said, err = cli("diagnose", folder, "--engine", "ray", "--workers", 2, "-o", out, "--device", "cpu")
    assert code == 0 and said == "4 done\n", err
    shards = sorted(out.glob("part-*.jsonl"))
    together = [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]
    alone = [json.loads(line) for line in cli("diagnose", folder, "--jsonl", "--device", "cpu")[1].splitlines()]
    assert list(map(plain, together)) == list(map(plain, alone)) and len(shards) == 2
    assert cli("diagnose", folder, "--engine", "ray", "-o", out)[1] == "4 before\n"
    shards[1].unlink()
    assert cli("diagnose", folder, "--engine", "ray", "-o", out, "--device", "cpu")[1] == "2 done, 2 before\n"

    for name, more in (("one", ()), ("two", ("--engine", "ray", "--workers", 2))):
        assert cli("restore", folder, "-o", tmp_path / name, "--no-report", "--device", "cpu", *more)[0] == 0
    for path in (tmp_path / "one").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.ray
def test_killed_within_a_chunk_it_repeats_that_chunk_only(
    one_thread, cli, tmp_path: Path, crop: np.ndarray, monkeypatch
) -> None:
    pytest.importorskip("ray", reason="the `ray` extra is not installed")
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.roll(crop, 8 * i, 1)).save(folder / f"{i}.png")
    program = "import sys, rnr.work.cluster; rnr.work.cluster.CHUNK = 4; from rnr.app.cli import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", program, "diagnose", folder, "--engine", "ray", "-o", out, "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(list(map(str, command)), env=environment)
    first = out / "part-00000.jsonl"
    while not first.is_file() and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, "it ended by itself"
    process.kill()
    process.wait()
    time.sleep(3)  # Ray's own processes end with their driver
    assert list(out.iterdir()) == [first], "the second chunk was under way"
    stamp = first.stat().st_mtime_ns
    monkeypatch.setattr("rnr.work.cluster.CHUNK", 4)
    assert cli("diagnose", folder, "--engine", "ray", "-o", out, "--device", "cpu")[1] == "4 done, 4 before\n"
    rows = [json.loads(line) for shard in sorted(out.iterdir()) for line in shard.read_text().splitlines()]
    alone = [json.loads(line) for line in cli("diagnose", folder, "--jsonl", "--device", "cpu")[1].splitlines()]
    assert first.stat().st_mtime_ns == stamp and list(map(plain, rows)) == list(map(plain, alone))


@pytest.mark.ray
def test_pictures_of_a_parquet_file(one_thread, cli, tmp_path: Path, crop: np.ndarray) -> None:
    pytest.importorskip("ray", reason="the `ray` extra is not installed")
    import pyarrow
    import pyarrow.parquet

    held = []
    for i in range(3):
        Image.fromarray(np.roll(crop, 8 * i, 1)).save(tmp_path / f"{i}.png")
        held.append({"bytes": (tmp_path / f"{i}.png").read_bytes(), "path": None})
    table = tmp_path / "data.v2.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": [*held, {"bytes": b"no picture", "path": None}]}), table, 2)
    out = tmp_path / "out"
    code, said, err = cli("diagnose", table, "--engine", "ray", "-o", out, "--device", "cpu")
    assert (code, said) == (1, "3 done, 1 failed\n") and f"{table}#3: " in err
    rows = [json.loads(line) for shard in sorted(out.glob("part-*")) for line in shard.read_text().splitlines()]
    assert [row["file"] for row in rows] == [f"{table}#{i}" for i in range(4)]
    alone = [json.loads(cli("diagnose", tmp_path / f"{i}.png", "--jsonl", "--device", "cpu")[1]) for i in range(3)]
    assert [row["diagnosis"] for row in rows[:3]] == [row["diagnosis"] for row in alone]
    assert rows[3]["diagnosis"] is None and str(tmp_path / "out") not in rows[3]["error"]

    out, single = tmp_path / "restored", tmp_path / "single"
    code, said, err = cli("restore", table, "--engine", "ray", "-o", out, "--device", "cpu")
    assert (code, said) == (1, "3 restored, 1 failed\n") and f"{table}#3: " in err
    assert cli("restore", tmp_path, "-o", single, "--device", "cpu", "--no-report")[0] == 0
    for i in range(3):
        assert (out / f"data.v2-{i:06d}.png").read_bytes() == (single / f"{i}.png").read_bytes()
        record = json.loads((out / f"data.v2-{i:06d}.diagnosis.json").read_text())
        assert record["source"]["file"] == f"data.v2.parquet#{i}"
    again = cli("restore", table, "--engine", "ray", "-o", out, "--device", "cpu", "--skip-existing")
    assert again[:2] == (1, "3 restored, 1 failed, 3 before\n")

    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), table)
    code, _, err = cli("diagnose", table, "--engine", "ray", "-o", out)
    assert code == 2 and "no column `image`" in err
