"""Notes and labels of people: one file of events beside the run, which is only ever appended to.

A line is {"id", "time", "item", "name", "author"} and either "text" (a note), "label" with "on" (true, false), or
"withdraws" (the id of a note). Nothing is rewritten, so that two tabs, two servers and a kill cannot lose a line.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnr.degradation.errors import Error

LONGEST = {"text": 10_000, "label": 60, "author": 80}  # characters; a choice
BUSY = 10.0  # seconds to wait for another process
Event = dict[str, Any]


class Notes:
    """The events of one run, read again when another process wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read, self._events = (-1, -1), list[Event]()

    def add(self, item: str, name: str, given: Mapping[str, Any]) -> Event:
        """Append one event and return it, on disk when it returns.

        Args:
            item: Key of the item in its run.
            name: Its name, for whoever reads the file.
            given: What a person sent: author, and text, or label and on, or withdraws.

        Raises:
            Error: For what is no note, and where the file cannot be written.
        """
        about = {"id": secrets.token_hex(8), "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        event = {**about, "item": item, "name": name, **_checked(given)}
        with self._lock:
            self._append(json.dumps(event, ensure_ascii=False) + "\n")
        return event

    def _append(self, line: str) -> None:
        from filelock import FileLock, Timeout

        if self.path.is_symlink():
            raise Error(f"{self.path}: is a link; notes are not written through links")
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            with FileLock(lock, timeout=BUSY), self.path.open("ab+") as file:
                torn = file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
                file.write((b"\n" if torn else b"") + line.encode())  # a line that a kill cut off stays alone
                file.flush()
                os.fsync(file.fileno())
        except Timeout:
            raise Error(f"{self.path}: another process holds it; try again") from None
        except OSError as error:
            remedy = "make the folder writable, or copy the run and view the copy"
            raise Error(f"{self.path}: cannot be written ({error.strerror}); {remedy}") from error

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the file does."""
        try:
            status = self.path.stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size

    def events(self) -> list[Event]:
        """All events, oldest first; a line that is no event (cut off by a kill) is passed over, and stays."""
        with self._lock:
            stamp = self.stamp()
            if self._read != stamp:
                self._read, self._events = stamp, _parsed(self.path) if stamp[1] else []
            return self._events

    def of(self, item: str) -> dict[str, Any]:
        """The notes of an item that stand, oldest first, and its labels."""
        return standing([event for event in self.events() if event["item"] == item])

    def counts(self) -> dict[str, tuple[int, list[str]]]:
        """By item: how many notes, which labels."""
        grouped: dict[str, list[Event]] = {}
        for event in self.events():
            grouped.setdefault(event["item"], []).append(event)
        held = {item: standing(events) for item, events in grouped.items()}
        return {item: (len(each["notes"]), each["labels"]) for item, each in held.items()}


def standing(events: list[Event]) -> dict[str, Any]:
    """What is left of an item's events: notes that were not withdrawn, labels that are on."""
    withdrawn = {event["withdraws"] for event in events if "withdraws" in event}
    labels = {event["label"]: event.get("on", True) for event in events if "label" in event}
    notes = [event for event in events if "text" in event and event["id"] not in withdrawn]
    return {"notes": notes, "labels": sorted(label for label, on in labels.items() if on)}


def _parsed(path: Path) -> list[Event]:
    events = []
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("item"), str) and "id" in event:
            events.append(event)
    return events


def _checked(given: Mapping[str, Any]) -> Event:
    kinds = [name for name in ("text", "label", "withdraws") if name in given]
    if len(kinds) != 1 or not all(isinstance(given[name], str) and given[name].strip() for name in kinds):
        raise Error("a note has a text, a label or the id of a note that it withdraws")
    event: Event = {"author": str(given.get("author") or "").strip(), kinds[0]: given[kinds[0]].strip()}
    for name, limit in LONGEST.items():
        if len(event.get(name, "")) > limit:
            raise Error(f"the {name} is longer than {limit} characters; shorten it")
    return event | ({"on": bool(given.get("on", True))} if kinds[0] == "label" else {})
