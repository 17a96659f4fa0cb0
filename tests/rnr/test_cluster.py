"""Ray gives the records of one process, whatever the number of workers, and goes on where it was cut off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def test_without_ray_the_extra_is_named(cli, tmp_path: Path, crop: np.ndarray, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Image.fromarray(crop).save(tmp_path / "a.png")
    code, _, err = cli("diagnose", tmp_path, "--engine", "ray", "-o", tmp_path / "out")
    assert code == 2 and "reason-and-restore[ray]" in err
    code, _, err = cli("diagnose", tmp_path, "--engine", "spark", "-o", tmp_path / "out")
    assert code == 2 and "not spark" in err


def plain(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.ray
def test_two_workers_write_what_one_process_writes(cli, tmp_path: Path, crop: np.ndarray, monkeypatch) -> None:
    pytest.importorskip("ray", reason="the `ray` extra is not installed")
    monkeypatch.setattr("rnr.cluster.CHUNK", 2)
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
