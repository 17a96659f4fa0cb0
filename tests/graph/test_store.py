"""The store: lossless, by content, whole files or none, many writers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rnr.graph import Store, StoreError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_comes_back_bit_for_bit(tmp_path: Path, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 7, 3), dtype, endpoint=True)
    store = Store(tmp_path)
    ref = store.put(pixels)
    assert (ref["width"], ref["height"], ref["bits"]) == (7, 9, 8 * np.dtype(dtype).itemsize)
    again = store.get(ref)
    assert again.dtype == dtype and np.array_equal(again, pixels)


def test_floats_keep_16_bits(tmp_path: Path) -> None:
    pixels = np.linspace(-0.1, 1.1, 3 * 5 * 4, dtype=np.float32).reshape(4, 5, 3)
    store = Store(tmp_path)
    assert abs(store.get(store.put(pixels)) / 65535 - pixels.clip(0, 1)).max() < 1 / 65535


def test_equal_content_is_stored_once_and_depth_makes_a_difference(tmp_path: Path) -> None:
    store, pixels = Store(tmp_path), np.zeros((4, 4, 3), np.uint8)
    assert store.put(pixels) == store.put(pixels.copy())
    assert store.put(pixels.astype(np.uint16))["sha256"] != store.put(pixels)["sha256"]
    assert store.put(pixels.reshape(2, 8, 3))["sha256"] != store.put(pixels)["sha256"]
    assert len(list(tmp_path.glob("*/*.png"))) == 3


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.full((4, 4, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, pixels: np.ndarray, problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        Store(tmp_path).put(pixels)


def test_a_changed_a_cut_and_a_missing_file_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ref, other = (store.put(np.full((4, 4, 3), value, np.uint8)) for value in (1, 2))
    whole = store.path(other).read_bytes()
    for data in (store.path(ref).read_bytes(), whole[:40], b""):
        store.path(other).write_bytes(data)
        with pytest.raises(StoreError, match=f"{other['sha256']}.png: the file was changed"):
            store.get(other)
    store.path(other).unlink()
    with pytest.raises(StoreError, match="is gone"):
        store.get(other)


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, "a" * 63 + "/"])
def test_a_state_cannot_point_out_of_the_store(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(StoreError, match="not the sha256"):
        Store(tmp_path).note(sha256, "x")
    with pytest.raises(StoreError, match="letters and digits"):
        Store(tmp_path).keep_note("a" * 64, "../x", {})


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys, numpy as np; from rnr.graph import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "Store(sys.argv[1]).put(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_half_files_of_the_dead_are_swept_and_those_of_the_living_kept(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone, kept = folder / f".{dead.pid}-0.tmp", folder / f".{os.getpid()}-0.tmp"
    gone.touch()
    kept.touch()
    Store(tmp_path)
    assert (gone.exists(), kept.exists()) == (False, True)


def test_many_writers_of_the_same_and_of_other_pictures(tmp_path: Path) -> None:
    stores = [Store(tmp_path) for _ in range(4)]
    pictures = [np.full((64, 64, 3), value % 5, np.uint8) for value in range(40)]
    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(lambda i: stores[i % 4].put(pictures[i]), range(40)))
    assert all(np.array_equal(stores[0].get(ref), picture) for ref, picture in zip(refs, pictures))
    assert len(list(tmp_path.glob("*/*"))) == 5 and not list(tmp_path.rglob("*.tmp"))


def test_what_was_damaged_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pixels = np.full((4, 5, 3), 7, np.uint8)
    ref = store.put(pixels)
    assert store.holds(ref)
    store.path(ref).write_bytes(b"half")
    assert not store.holds(ref)
    assert store.put(pixels) == ref and np.array_equal(store.get(ref), pixels)
    store.keep_note(ref["sha256"], "seen", {"a": 1})
    note = next(tmp_path.rglob("*.seen.json"))
    note.write_text('{"a": ')
    assert store.note(ref["sha256"], "seen") is None
