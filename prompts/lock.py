"""Lock the prompts as they are: `python -m rnr.prompts.lock`. A changed text must get a new version first, by hand.

It refuses to write a text that changed under its old version; records name the version, so the words must not drift.
"""

from __future__ import annotations

import hashlib
import json
import sys

from rnr.prompts import FOLDER, LOCK, names


def changed() -> dict[str, str]:
    """{name: what is wrong} for every template whose text differs from the lock."""
    locked = json.loads(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    wrong = {name: "locked, but there is no such file" for name in locked if name not in names()}
    for name in names():
        if name not in locked:
            wrong[name] = "not locked: run python -m rnr.prompts.lock"
        elif locked[name]["sha256"] != digest(name):
            wrong[name] = (
                f"changed under version {locked[name]['version']}: raise it with python -m rnr.prompts.lock {name}"
            )
    return wrong


def digest(name: str) -> str:
    return hashlib.sha256((FOLDER / f"{name}.txt").read_bytes()).hexdigest()


def lock(raised: list[str]) -> None:
    """Write the lock; templates named in `raised` get the next version, new ones start at 1."""
    locked = json.loads(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    fresh = {}
    for name in names():
        old = locked.get(name)
        if old and old["sha256"] != digest(name) and name not in raised:
            raise SystemExit(f"{name}: {changed()[name]}")
        version = int(old["version"]) + (name in raised) if old else 1
        fresh[name] = {"version": str(version), "sha256": digest(name)}
    LOCK.write_text(json.dumps(fresh, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    lock(sys.argv[1:])
