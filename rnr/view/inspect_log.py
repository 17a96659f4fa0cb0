"""`rnr records OUT --to inspect`: the records of a run as a log that inspect_ai reads and shows.

A sample per picture: the user's message holds the picture and the prompt, the assistant's the answer as it was written,
`target` the true Diagnosis where it is known, `metadata` the columns of `rnr records` and the whole record. What could
not be diagnosed has an error and no answer. Nothing is scored: no scores, never 0. The format is inspect_ai's own JSON
log, version 2 (`inspect_ai.log.EvalLog`); its package is not needed to write it.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rnr.degradation.files import short_hash

Row = dict[str, Any]


def log_of(rows: Sequence[tuple[Row, bytes | None]], name: str) -> dict[str, Any]:
    """The log of a run.

    Args:
        rows: Of `rnr.view.records.row_of`, each with its picture as PNG, None where it is gone.
        name: Of the run.
    """
    model = next((f"rnr/{row['model']}" for row, _ in rows if row["model"]), "rnr/unknown")
    samples = [sample(row, picture, model) for row, picture in rows]
    again: Counter[str] = Counter()
    for each in samples:  # files of different folders may be called the same
        again[each["id"]] += 1
        each["id"] += f"#{again[each['id']]}" if again[each["id"]] > 1 else ""
    done = sum("error" not in each for each in samples)
    created = datetime.datetime.now(datetime.UTC).isoformat()
    return {
        "version": 2, "status": "success",
        "eval": {
            "created": created, "task": "diagnose", "run_id": short_hash(name, created),
            "model": model, "config": {}, "packages": packages(rows),
            "dataset": {"name": name, "samples": len(rows), "sample_ids": [each["id"] for each in samples]},
        },
        "plan": {"name": "diagnose", "steps": [{"solver": "rnr.diagnose", "params": {}}], "config": {}},
        "results": {"total_samples": len(rows), "completed_samples": done},
        "stats": {}, "samples": samples,
    }  # fmt: skip


def sample(row: Row, picture: bytes | None, model: str) -> dict[str, Any]:
    """One picture's diagnosis; `picture` is a PNG."""
    data = json.loads(row["record"]) if row["record"] else {}
    before = data.get("before", data)
    asked: list[dict[str, Any]] = [{"type": "text", "text": before.get("prompt_text") or ""}]
    if picture:
        asked.insert(0, {"type": "image", "image": "data:image/png;base64," + base64.b64encode(picture).decode()})
    user = {"role": "user", "content": asked, "source": "input"}
    answer = {"role": "assistant", "content": row["text"] or "", "source": "generate", "model": model}
    truth = data.get("truth")
    found: dict[str, Any] = {
        "id": row["file"], "epoch": 1, "input": [user], "target": json.dumps(truth) if truth else "",
        "messages": [user, answer], "metadata": {k: v for k, v in row.items() if k != "record"} | {"record": data},
        "output": {"model": model, "choices": [{"message": answer, "stop_reason": "stop"}], "time": row["seconds"]},
    }  # fmt: skip
    if row["error"]:
        found["error"] = {"message": row["error"], "traceback": "", "traceback_ansi": ""}
        found |= {"messages": [user], "output": {"model": model, "choices": []}}
    return found


def packages(rows: Sequence[tuple[Row, bytes | None]]) -> dict[str, str]:
    """Versions that the first record names."""
    for row, _ in rows:
        data = json.loads(row["record"]) if row["record"] else {}
        if versions := data.get("before", data).get("versions"):
            return versions
    return {}
