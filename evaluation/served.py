"""Behind a server: answers kept to the schema (or to our grammar) against free ones, and what beliefs cost there.

Every picture is asked both ways, the one that comes first taking turns, since the second finds the prompt in the
server's cache. Tokens and cache hits come from vLLM's own counters (`/metrics`), where the server has them.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

    from rnr.reasoner.client import ServerReasoner

WAYS = ("kept", "free")
COUNTERS = {
    "prompt tokens": "vllm:prompt_tokens_total", "looked up": "vllm:prefix_cache_queries_total",
    "found": "vllm:prefix_cache_hits_total", "requests": "vllm:request_success_total",
}  # fmt: skip


def compare(
    reasoner: ServerReasoner, pictures: Sequence[np.ndarray], report: Callable[[int], None] = lambda done: None
) -> list[Row]:
    """A row per picture, one request at a time. The first picture is asked once beforehand."""
    for way in WAYS:
        answered(reasoner, pictures[0], way)
    rows: list[Row] = []
    for number, picture in enumerate(pictures, 1):
        answers = {way: answered(reasoner, picture, way) for way in WAYS[:: 1 if number % 2 else -1]}
        row: Row = {"picture": number, "identical": answers["kept"].pop("text") == answers["free"].pop("text")}
        row |= {f"{name} {way}": value for way in WAYS for name, value in answers[way].items()}
        before = counters(reasoner.client.url)
        started = time.perf_counter()
        reasoner.diagnose([picture])
        row["seconds with beliefs"] = time.perf_counter() - started
        rows.append(row | {name: value - before[name] for name, value in counters(reasoner.client.url).items()})
        report(number)
    return rows


def answered(reasoner: ServerReasoner, picture_HWC: np.ndarray, way: str) -> dict[str, Any]:
    """One answer: its text, whether it is a Diagnosis, its tokens (None if the server does not tell), seconds."""
    from rnr.reasoner import Settings
    from rnr.reasoner.client import read_answer

    started = time.perf_counter()
    choice = reasoner.write(reasoner.question(picture_HWC), Settings(), free=way == "free")
    seconds = time.perf_counter() - started
    text = choice["message"]["content"] or ""
    try:
        valid = bool(read_answer(text, choice.get("finish_reason"), reasoner.kinds))
    except ValueError:
        valid = False
    tokens = (choice.get("logprobs") or {}).get("content")
    return {"text": text, "valid": valid, "tokens": len(tokens) if tokens else None, "seconds": seconds}


def counters(url: str) -> dict[str, float]:
    """vLLM's counters since it was started, summed over its models; nothing from a server that has none."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
            text = reply.read().decode()
    except (OSError, ValueError):  # not there, or no address at all (vLLM in this process)
        return {}
    found = {}
    for name, counter in COUNTERS.items():
        values = re.findall(rf"^{re.escape(counter)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        if values:
            found[name] = sum(map(float, values))
    return found


def summary(rows: Sequence[Row]) -> Table:
    """Means of an answer, the ratio of the times, and a whole diagnosis with its beliefs."""

    def mean(name: str) -> float | None:
        values = [float(row[name]) for row in rows if row.get(name) is not None]  # type: ignore[arg-type]
        return sum(values) / len(values) if values else None

    def both(figure: str, name: str, times: float = 1.0) -> Row:
        values = {way: mean(f"{name} {way}") for way in WAYS}
        return {"figure": figure} | {way: None if value is None else times * value for way, value in values.items()}

    kept, free, looked, found = (mean(n) for n in ("seconds kept", "seconds free", "looked up", "found"))
    assert kept and free
    lines: list[Row] = [
        {"figure": "pictures", "kept": len(rows), "free": len(rows)},
        both("valid, %", "valid", 100.0),
        {"figure": "identical answers, %", "free": 100 * (mean("identical") or 0.0)},
        both("tokens of an answer", "tokens"),
        both("seconds", "seconds"),
        {"figure": "times faster", "free": kept / free},
        {"figure": "with beliefs: seconds", "kept": mean("seconds with beliefs")},
        {"figure": "with beliefs: requests", "kept": mean("requests")},
        {"figure": "with beliefs: prompt tokens", "kept": mean("prompt tokens")},
        {"figure": "of them from the prefix cache, %", "kept": 100 * (found or 0.0) / looked if looked else None},
    ]
    note = "kept: to the JSON schema, or for our own weights to the grammar. free: nothing but the prompt."
    return Table("Decoding on a server", ["figure", *WAYS], lines, note)
