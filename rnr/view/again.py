"""Edit a severity and run again: the restorer, by the edited Diagnosis, and the reasoner's second look.

Results go to the folder `again` beside the run, as `rnr restore` writes them, so that `rnr view RUN/again` reads them.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.degradation.editing import edited
from rnr.degradation.errors import Error
from rnr.graph.store import short_hash
from rnr.images.files import Picture, write_picture
from rnr.view.facts import severity
from rnr.view.items import read_object
from rnr.work.models import Models, versions
from rnr.work.outputs import RECORD, record_beside
from rnr.work.request import Request
from rnr.work.restoring import Outcome, restore_picture

if TYPE_CHECKING:
    from rnr.view.library import Library
    from rnr.view.pictures import Pictures

NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.(png|jpg|tif|webp|bmp)")
WAITING = 8  # jobs that may wait at the same time; a choice


@dataclass(frozen=True)
class Again:
    """A result that stands in the folder: its name, its picture's file, what was asked and what is left."""

    name: str
    file: str
    words: str
    left: list[float | None]


def agains(folder: Path, key: str) -> list[Again]:
    """What was run again of an item, oldest first; what this module did not write is passed over."""
    if folder.is_symlink():
        return []
    paths = [path for path in folder.glob(f"{key}-*{RECORD}") if not path.is_symlink()]
    found = [again_of(read_object(path)) for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)]
    return [again for again in found if NAME.fullmatch(again.file)]


def again_of(data: Mapping[str, Any]) -> Again:
    made = data["again"]
    words = ", ".join(f"{kind.replace('_', ' ')} {value}" for kind, value in made["severities"].items())
    left = [severity(data["after"], kind) for kind in reasoning_order()]
    return Again(made["name"], data["output"], words or "unchanged", left)


@dataclass
class Job:
    """One run again, as the page asks about it."""

    stage: str = "waiting"
    error: str = ""
    result: Again | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))


class Runner:
    """Runs again, one picture after the other; the models load with the first."""

    def __init__(self, library: Library, pictures: Pictures, models: Models) -> None:
        self.library, self.pictures, self.models = library, pictures, models
        self.jobs: dict[str, Job] = {}
        self._pool = ThreadPoolExecutor(1, "again")
        self._lock = threading.Lock()

    def start(self, identity: str, severities: Mapping[str, int], steps: int | None, seed: int) -> Job:
        """Begin; what is wrong with the request is raised at once.

        Raises:
            KeyError: For an unknown item.
            Error: For a request that cannot be.
        """
        run, key, item = self.library.item(identity)
        request = self._request(item.read(), severities, steps, seed)
        job = Job()
        with self._lock:
            if sum(not (job.error or job.result) for job in self.jobs.values()) >= WAITING:
                raise Error(f"{WAITING} pictures wait already; try again when they are done")
            self.jobs[job.id] = job
        self._pool.submit(self._work, job, identity, key, run.source.again, request, dict(severities))
        return job

    def _request(self, data: Mapping[str, Any], severities: Mapping[str, int], steps: int | None, seed: int) -> Request:
        import json

        base = Diagnosis.from_json(json.dumps(data), "the record")
        return Request(steps, seed, (), edited(base, severities), "an edit in rnr view").check()

    def _work(
        self, job: Job, identity: str, key: str, folder: Path, request: Request, severities: dict[str, int]
    ) -> None:
        from rnr.view.pictures import read_bytes

        try:
            assert request.diagnosis
            made = short_hash(request.diagnosis.to_json(), request.steps, request.seed, self.models.names)
            record = folder / f"{key}-{made}{RECORD}"
            if not record.is_file():
                job.stage = "loading the models"
                self.models.load()
                name = self.library.item(identity)[2].name
                picture = read_bytes(self.pictures.bytes_of(identity, "before"), name)
                outcome = restore_picture(
                    self.models, picture, request, name, lambda stage: setattr(job, "stage", stage)
                )
                about = {"of": identity.partition("-")[2], "name": f"{key}-{made}", "severities": severities}
                self._write(record, picture, outcome, request, about)
            self.library.finder.also(folder)
            job.result = again_of(read_object(record))
        except Exception as error:  # the page has to hear of every one
            job.error = f"{error}" if isinstance(error, Error | ValueError) else f"{type(error).__name__}: {error}"

    def _write(self, record: Path, picture: Picture, outcome: Outcome, request: Request, about: dict[str, Any]) -> None:
        if record.parent.is_symlink():
            raise Error(f"{record.parent}: is a link; results are not written through links")
        record.parent.mkdir(exist_ok=True)
        target = record.with_name(about["name"] + picture.suffix)
        names = dict(zip(("reasoner", "restorer"), self.models.names))
        given = request.diagnosis.model_dump() if request.diagnosis else None
        data = {
            "output": target.name, "untouched": outcome.untouched, "again": about,
            "before": outcome.before.model_dump(mode="json"), "after": outcome.after.model_dump(mode="json"),
            "restoration": {**outcome.settings, "seconds": outcome.seconds},
            "request": {"steps": request.steps, "seed": request.seed, "only": [], "diagnosis": given, **names},
            "versions": versions(),
        }  # fmt: skip
        with record_beside(record, data):
            write_picture(picture, outcome.pixels_HWC3, target, overwrite=True)
