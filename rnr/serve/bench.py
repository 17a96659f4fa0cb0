"""`rnr bench serve`: the load drill. A closed loop of clients on loopback against the real service.

    first   --workers workers, for --seconds; in the middle one of them is killed (kill -9)
    then    one worker, for half as long, the same requests from the start: what a second worker brings

A tenth of the requests is hostile. Sizes follow p(s) ~ 1/s^2 between 0.1 and 4 MP: many small pictures, few large ones.
An answer is right if it is what the same request got before, to the bit, whichever worker gave it; the first one is
checked by itself (readable, same size, a record that validates). Each worker has one thread, so that two are twice one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import resource
import signal
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnr.evaluation.tables import Table
from rnr.serve.hostile import Upload, hostile
from rnr.serve.local import Answer, Local
from rnr.serve.metrics import resident_bytes

HOSTILE = 0.1  # share of the requests
RESTORE = 0.3  # share of the others; the rest is diagnosed
SIZES = (0.1, 4.0)  # MP
PICTURES = 40  # different ones: few enough that most are sent several times, so that answers can be compared
NOISE = 15.0  # levels, sigma; so that there is something to restore
PLACES_SHORT = 2  # places fewer than clients: some requests must be refused with 429 and come again
WAIT = 120.0  # seconds that a client waits for its last answer after the end


@dataclass
class Ended:
    """One answer. `client`: which one; `seconds` without the waits between 429 and the next try."""

    at: float
    what: str
    megapixels: float
    status: int
    seconds: float
    wrong: str = ""


@dataclass
class Phase:
    """What happened with so many workers."""

    workers: int
    seconds: float = 0.0
    ended: list[Ended] = field(default_factory=list)
    memory: list[tuple[float, dict[int, int]]] = field(default_factory=list)  # (time, {process: resident bytes})
    client_cpu: float = 0.0  # cores that the clients used, on average
    service_cpu: float = 0.0  # cores that the service got: less than `workers` where others use the machine
    unanswered: int = 0

    def good(self) -> list[Ended]:
        return [e for e in self.ended if e.status == 200]


@dataclass(frozen=True)
class Request:
    number: int
    endpoint: str
    what: str  # diagnose, restore, hostile
    megapixels: float
    upload: Upload


class Deck:
    """The requests, the same ones for every phase: request i follows from the seed and i alone."""

    def __init__(self, photographs: Sequence[np.ndarray], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pictures = [self._picture(photographs[i % len(photographs)], i, rng) for i in range(PICTURES)]
        self.hostile = list(hostile(seed, 400))
        self.seed = seed

    def _picture(self, photograph: np.ndarray, number: int, rng: np.random.Generator) -> tuple[float, bytes, str]:
        """(megapixels, bytes, name), in one of four formats."""
        import cv2

        from rnr.images.encoding import encode

        low, high = SIZES
        megapixels = 1 / (1 / low - (number + 0.5) / PICTURES * (1 / low - 1 / high))  # quantiles of p(s) ~ 1/s^2
        height, width = photograph.shape[:2]
        scale = (megapixels * 1e6 / (height * width)) ** 0.5
        large = cv2.resize(photograph, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(large + rng.normal(0, NOISE, large.shape), 0, 255)
        format, deep, suffix = [("PNG", 0, ".png"), ("JPEG", 0, ".jpg"), ("PNG", 1, ".png"), ("TIFF", 0, ".tif")][
            number % 4
        ]
        samples = np.rint(noisy * 257).astype(np.uint16) if deep else noisy.astype(np.uint8)
        return megapixels, encode(samples, format, {}), f"{number}{suffix}"

    def __getitem__(self, number: int) -> Request:
        rng = np.random.default_rng((self.seed, number))
        if rng.random() < HOSTILE:
            upload = self.hostile[number % len(self.hostile)]
            return Request(number, "/diagnose", "hostile", 0.0, upload)
        action = "restore" if rng.random() < RESTORE else "diagnose"
        megapixels, data, name = self.pictures[int(rng.integers(len(self.pictures)))]
        return Request(number, f"/{action}", action, megapixels, Upload(action, data, name))


class Referee:
    """Says whether an answer is right."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def wrong(self, request: Request, answer: Answer) -> str:
        """What is wrong; empty if nothing is."""
        if request.what == "hostile":
            return "" if answer.status in (200, *range(400, 500)) else f"hostile: {answer.status}"
        if answer.status in (429, 503):
            return "" if "retry-after" in answer.headers else f"{answer.status} without Retry-After"
        if answer.status != 200:
            return f"status {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}"
        return self._differs(request, answer.json) or self._unreadable(request, answer.json)

    def _differs(self, request: Request, said: dict[str, Any]) -> str:
        seen = said["summary"] if request.what == "diagnose" else said["picture"]["data"]
        key = request.what, request.upload.name
        print_ = hashlib.sha256(repr(seen).encode()).hexdigest()
        with self._lock:
            return "" if self._known.setdefault(key, print_) == print_ else "not what it was before"

    def _unreadable(self, request: Request, said: dict[str, Any]) -> str:
        from rnr.degradation.diagnosis import DiagnosisRecord
        from rnr.images.files import read_stream

        record = said["record"] if request.what == "diagnose" else said["record"]["before"]
        if DiagnosisRecord.model_validate(record).diagnosis is None:
            return "no diagnosis"
        if request.what == "diagnose":
            return ""
        before = read_stream(io.BytesIO(request.upload.data), request.upload.name)
        after = read_stream(io.BytesIO(base64.b64decode(said["picture"]["data"])), said["picture"]["name"])
        same = (before.size, before.bit_depth, before.format) == (after.size, after.bit_depth, after.format)
        return "" if same else "another size, depth or format"


def drill(deck: Deck, clients: int, seconds: float, workers: int, kill: bool, referee: Referee) -> Phase:
    """One phase."""
    phase, numbers, lock = Phase(workers), iter(range(10**9)), threading.Lock()
    queue = max(0, clients - PLACES_SHORT - workers)
    options = ["--workers", str(workers), "--queue", str(queue), "--threads", "1", "--device", "cpu"]
    with Local(*options).wait_ready(workers) as service:
        started, cpu = time.monotonic(), _cpu()
        stop = threading.Event()

        def client() -> None:
            while not stop.is_set():
                with lock:
                    request = deck[next(numbers)]
                _ask(service, request, phase, referee, stop, started)

        threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        _watch(service, phase, started, seconds, kill)
        stop.set()
        phase.seconds = time.monotonic() - started
        phase.client_cpu = (_cpu() - cpu) / phase.seconds
        for thread in threads:
            thread.join(WAIT)
        phase.unanswered = sum(thread.is_alive() for thread in threads)
    return phase


def _ask(service: Local, request: Request, phase: Phase, referee: Referee, stop: threading.Event, start: float) -> None:
    """One request until it is answered: 429 and 503 come again when the service says so."""
    while True:
        begun = time.monotonic()
        try:
            answer = service.post(request.endpoint, request.upload)
        except OSError as error:
            answer, wrong = Answer(0, {}, b""), f"no answer: {type(error).__name__}"
        else:
            wrong = referee.wrong(request, answer)
        now = time.monotonic()
        ended = Ended(now - start, request.what, request.megapixels, answer.status, now - begun, wrong)
        phase.ended.append(ended)
        if answer.status not in (429, 503) or stop.wait(float(answer.headers.get("retry-after", 1))):
            return


def _watch(service: Local, phase: Phase, started: float, seconds: float, kill: bool) -> None:
    """Memory and CPU time every second until the time is up; one worker is killed in the middle."""
    used: dict[int, float] = {}
    before = {pid: cpu_seconds(pid) for pid in service.workers()}
    while (now := time.monotonic() - started) < seconds:
        if kill and now > seconds / 2 and len(pids := service.workers()) == phase.workers:
            os.kill(pids[0], signal.SIGKILL)
            kill = False
        try:
            pids = [service.process.pid, *service.workers()]
            phase.memory.append((now, {pid: resident_bytes(pid) for pid in pids}))
            used |= {pid: cpu_seconds(pid) - before.get(pid, 0.0) for pid in pids}
        except OSError:  # one that has just ended
            pass
        time.sleep(1)
    phase.service_cpu = sum(used.values()) / seconds


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far (Linux). Raises OSError when it has gone."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def results(phases: Sequence[Phase]) -> Table:
    rows = [_row(phase) for phase in phases]
    ratio = rows[0]["answers a minute"] / rows[-1]["answers a minute"] if rows[-1]["answers a minute"] else 0.0
    work = rows[0]["MP a minute"] / rows[-1]["MP a minute"] if rows[-1]["MP a minute"] else 0.0
    against = f" Throughput against one worker: {ratio:.2f} times the answers, {work:.2f} the megapixels."
    note = f"Columns: workers.{against if len(rows) > 1 else ''}"
    table = Table("the service under load", ["", *(str(row["workers"]) for row in rows)], note=note)
    for name in rows[0]:
        if name != "workers":
            table.rows.append({"": name, **{str(row["workers"]): row[name] for row in rows}})
    return table


def _row(phase: Phase) -> dict[str, Any]:
    good, minutes = [e for e in phase.good() if e.at <= phase.seconds], phase.seconds / 60
    row: dict[str, Any] = {"workers": phase.workers, "minutes": round(minutes, 1)}
    for what in ("diagnose", "restore"):
        times = [e.seconds for e in good if e.what == what] or [0.0]
        row |= {f"{what} p50 s": float(np.percentile(times, 50)), f"{what} p95 s": float(np.percentile(times, 95))}
    row["answers a minute"] = sum(e.what != "hostile" for e in good) / minutes
    row["MP a minute"] = sum(e.megapixels for e in good) / minutes
    row["hostile"] = sum(e.what == "hostile" for e in phase.ended)
    row |= {str(status): sum(e.status == status for e in phase.ended) for status in (200, 429, 503)}
    row["wrong"] = sum(bool(e.wrong) for e in phase.ended)
    row["unanswered"] = phase.unanswered
    row["memory MB"] = max((sum(sizes.values()) for _, sizes in phase.memory), default=0) / 1e6
    row["grown MB"] = _grown(phase)
    row |= {"service's cores": phase.service_cpu, "clients' cores": phase.client_cpu}
    row["answers a core-minute"] = row["answers a minute"] / phase.service_cpu if phase.service_cpu else 0.0
    return row


def _grown(phase: Phase) -> float:
    """Of the process that grew most: its median memory in the last quarter of the phase over that in the second one, by
    when every size has come by. Processes that were there all the time."""
    quarter = phase.seconds / 4
    second, last = ([sizes for at, sizes in phase.memory if n * quarter <= at < (n + 1) * quarter] for n in (1, 3))
    stayed = set.intersection(*(set(sizes) for sizes in [*second, *last])) if second and last else set()
    medians = [[statistics.median(sizes[pid] for sizes in part) for part in (second, last)] for pid in stayed]
    return max((after - before for before, after in medians), default=0.0) / 1e6


def journal(phases: Sequence[Phase]) -> Table:
    """Every answer."""
    return Table.of("answers", [{"workers": phase.workers, **vars(e)} for phase in phases for e in phase.ended])


def run(images: Path, out: Path, clients: int, seconds: float, workers: int, kill: bool, seed: int) -> list[Phase]:
    """Both phases. `out` gets serve.csv, serve.md, answers.csv and run.json, also after the first phase."""
    from rnr.evaluation import command

    started = time.monotonic()
    deck, referee = Deck(list(command.photographs(images, 16).values()), seed), Referee()
    settings = {"clients": clients, "seconds": seconds, "workers": workers, "kill": kill, "seed": seed}
    phases: list[Phase] = []
    for many, long, killing in ((workers, seconds, kill), (1, seconds / 2, False)):
        phases.append(drill(deck, clients, long, many, killing, referee))
        tables = {"serve": results(phases), "answers": journal(phases)}
        command.publish(tables, out, {**settings, "images": str(images)}, started, silent=["answers"])
    return phases
