"""`rnr bench hostile`: thousands of damaged, lying and exploding files through `rnr restore`, in its own processes.

A process may end with exit code 0 or 1 only, must say nothing of a traceback, must give every file its result or its
error, and may open no file outside of its folders for writing, nor, apart from what Python and the system need, for
reading (an audit hook hears of every `open`). The files are those that the service is tried with (`rnr.serve.hostile`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rnr.serve.hostile import hostile
from rnr.work.outputs import RECORD, place_of, read_record, write_text

BATCH = 1250  # files in one process: a choice, loading the models once for many
MEGAPIXELS = 25  # more is refused, as by the service: bombs must cost nothing
SUFFIXES = (".png", ".jpg", ".tif", ".webp", ".gif", ".bmp", ".avif", ".jp2", ".tga", ".ppm")
STEMS = ("写真", "a b", "%00", "$(reboot)", "{{7*7}}", "-r", "~", "x" * 240, "a\nb", "\u202egnp", "con", "[1]", "*")

_CHILD = """
import json, os, sys, tempfile
tempfile.gettempdir()  # which tries with a file of its own whether it can write there
folders, log = json.loads(sys.argv[1]), open(sys.argv[2], "a")
sys.dont_write_bytecode = True
from rnr.app.cli import app
import rnr, rnr.work.batch, rnr.images.codecs
own = os.path.dirname(os.path.dirname(os.path.realpath(rnr.__file__)))  # of a checkout: its rooms are links out of rnr/
homes = (sys.prefix, sys.base_prefix, sys.pycache_prefix, own, *sys.path)
libraries = tuple({os.path.realpath(home) for home in homes if home})
def hook(event, arguments):
    if event != "open" or not isinstance(arguments[0], (str, bytes)) or arguments[1] is None and not arguments[2]:
        return
    path, mode = os.path.realpath(os.fsdecode(arguments[0])), arguments[1] or ""
    writes = any(c in mode for c in "wax+") or bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if path.startswith(tuple(folders)) or path == os.devnull:
        return
    system = ("/proc/", "/sys/", "/usr/", "/lib", "/etc/", "/dev/", *libraries)
    if writes or not path.startswith(system) or path == "/etc/passwd":
        log.write(json.dumps([path, mode]) + "\\n"); log.flush()
sys.addaudithook(hook)
app(json.loads(sys.argv[3]), prog_name="rnr")
"""


@dataclass
class Drill:
    """What came of the files.

    Attributes:
        files: How many there were so far.
        seconds: Time of all processes.
        answers: By what a file was: how many were read after all (`done`) and refused (`refused`).
        faults: Everything that must not be, in words.
    """

    files: int = 0
    seconds: float = 0.0
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def run(out: Path, count: int, seed: int) -> Drill:
    """Write `count` files below OUT/in, restore them by a diagnosis that finds nothing, and look at what happened.

    Args:
        out: A folder that is not there yet; OUT/hostile.json holds the result, also while it goes on.
        count: Files.
        seed: Of everything that is drawn.
    """
    from rnr.degradation.diagnosis import Diagnosis, Finding, reasoning_order

    drill, source = Drill(), out / "in"
    source.mkdir(parents=True)
    nothing = Diagnosis(findings={name: Finding(present=False, severity=0) for name in reasoning_order()})
    write_text(out / "nothing.json", nothing.to_json())
    written = list(write_files(source, count, seed))
    for start in range(0, count, BATCH):
        began = time.monotonic()
        done = _restore(out, start)
        drill.seconds += time.monotonic() - began
        part = written[start : start + BATCH]
        drill.files += len(part)
        _judge(drill, out, part, done)
        write_text(out / "hostile.json", json.dumps(asdict(drill), indent=1))
    return drill


def write_files(folder: Path, count: int, seed: int) -> Iterator[tuple[str, Path]]:
    """(what it is, path) of each file, in a folder of its own so that names may be strange."""
    for number, upload in enumerate(hostile(seed, count)):
        own = Path(upload.name).suffix.lower()
        suffix = own if own in SUFFIXES and number % 3 else SUFFIXES[number % len(SUFFIXES)]
        path = folder / str(number // BATCH * BATCH) / f"{number:05d}" / f"{STEMS[number % len(STEMS)]}{suffix}"
        path.parent.mkdir(parents=True)
        path.write_bytes(upload.data)
        yield upload.what, path


def _restore(out: Path, start: int) -> subprocess.CompletedProcess[bytes]:
    command = ["restore", str(out / "in" / str(start)), "-r", "-o", str(out / f"out{start}"), "--no-report"]
    command += [
        "--diagnosis",
        str(out / "nothing.json"),
        "--max-megapixels",
        str(MEGAPIXELS),
        "--device",
        "cpu",
        "--traceback",
    ]
    folders = [os.path.realpath(out) + os.sep]
    child = [sys.executable, "-c", _CHILD, json.dumps(folders), str(out / "opened.jsonl"), json.dumps(command)]
    return subprocess.run(child, capture_output=True, stdin=subprocess.DEVNULL)


def _judge(drill: Drill, out: Path, part: Sequence[tuple[str, Path]], done: subprocess.CompletedProcess[bytes]) -> None:
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode not in (0, 1):
        drill.faults.append(f"exit code {done.returncode}: {said[-2000:]}")
    drill.faults += [line[:500] for line in said.splitlines() if "Traceback" in line or "unexpected" in line]
    opened = (out / "opened.jsonl").read_text().splitlines() if (out / "opened.jsonl").is_file() else []
    drill.faults += [f"opened {line}" for line in dict.fromkeys(opened)]
    results = {record["source"]["place"] for record in _records(out)}
    refused = sum(line.startswith("error: ") for line in said.splitlines())
    counts: dict[str, Counter[str]] = {}
    for what, path in part:
        counts.setdefault(what, Counter())["done" if place_of(path) in results else "refused"] += 1
    missing = sum(count["refused"] for count in counts.values()) - refused
    if missing:
        drill.faults.append(f"{missing} files have neither a result nor an error")
    for what, count in counts.items():
        held = Counter(drill.answers.get(what, {}))
        drill.answers[what] = dict(held + count)


def _records(out: Path) -> Iterator[dict]:
    yield from (read_record(path) for path in out.rglob(f"*{RECORD}"))
