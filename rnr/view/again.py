"""Edit a severity and run again: the restorer, by the edited Diagnosis, and the reasoner's second look.

Results go to the folder `again` beside the run, as `rnr restore` writes them, so that `rnr view RUN/again` reads them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.degradation.editing import edited
from rnr.degradation.files import short_hash
from rnr.images.files import Picture, read_stream, write_picture
from rnr.view.explained import explain
from rnr.view.facts import severity
from rnr.view.items import own_folder, read_object
from rnr.view.jobs import Job, Jobs
from rnr.work.models import Models, versions
from rnr.work.outputs import RECORD, record_beside
from rnr.work.request import Request
from rnr.work.restoring import Outcome, restore_picture

if TYPE_CHECKING:
    from rnr.view.library import Library
    from rnr.view.pictures import Pictures

NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.(png|jpg|tif|webp|bmp)")


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


class Runner:
    """What pages ask for: run again, explain; one picture after the other. The models load with the first."""

    def __init__(self, library: Library, pictures: Pictures, models: Models) -> None:
        self.library, self.pictures, self.models = library, pictures, models
        self.jobs = Jobs()

    def explain(self, identity: str) -> Job:
        """Begin to map which pixels the severities come from. Raises KeyError, Error as `start`."""
        self.library.item(identity)
        return self.jobs.start(lambda job: explain(self.library, self.pictures, self.models, identity, job))

    def start(self, identity: str, severities: Mapping[str, int], steps: int | None, seed: int) -> Job:
        """Begin to run again; what is wrong with the request is raised at once.

        Raises:
            KeyError: For an unknown item.
            Error: For a request that cannot be.
        """
        request = self._request(self.library.item(identity)[2].read(), severities, steps, seed)
        return self.jobs.start(lambda job: self._again(job, identity, request, dict(severities)))

    def _request(self, data: Mapping[str, Any], severities: Mapping[str, int], steps: int | None, seed: int) -> Request:
        import json

        base = Diagnosis.from_json(json.dumps(data), "the record")
        return Request(steps, seed, (), edited(base, severities), "an edit in rnr view").check()

    def _again(self, job: Job, identity: str, request: Request, severities: dict[str, int]) -> Again:
        assert request.diagnosis
        run, key, _ = self.library.item(identity)
        made = short_hash(request.diagnosis.to_json(), request.num_inference_steps, request.seed, self.models.names)
        record = run.source.again / f"{key}-{made}{RECORD}"
        if not record.is_file():
            self._restore(job, identity, request, record, severities)
        self.library.finder.also(record.parent)
        return again_of(read_object(record))

    def _restore(self, job: Job, identity: str, request: Request, record: Path, severities: dict[str, int]) -> None:
        job.tell("loading the models")
        self.models.load()
        name = self.library.item(identity)[2].name
        picture = read_stream(io.BytesIO(self.pictures.bytes_of(identity, "before")), name)
        outcome = restore_picture(self.models, picture, request, name, job.tell)
        about = {"of": identity.partition("-")[2], "name": record.name.removesuffix(RECORD), "severities": severities}
        self._write(record, picture, outcome, request, about)

    def _write(self, record: Path, picture: Picture, outcome: Outcome, request: Request, about: dict[str, Any]) -> None:
        own_folder(record.parent)
        target = record.with_name(about["name"] + picture.suffix)
        names = dict(zip(("reasoner", "restorer"), self.models.names))
        given = request.diagnosis.model_dump() if request.diagnosis else None
        data = {
            "output": target.name, "untouched": outcome.untouched, "again": about,
            "before": outcome.before.model_dump(mode="json"), "after": outcome.after.model_dump(mode="json"),
            "restoration": {**outcome.settings, "seconds": outcome.seconds},
            "request": {**request.asked, "diagnosis": given, **names},
            "versions": versions(),
        }  # fmt: skip
        with record_beside(record, data):
            write_picture(picture, outcome.pixels_HWC3, target, overwrite=True)
