"""Explain a picture: which pixels each severity comes from, computed when a page asks for it.

Maps go to the folder `again` beside the run, as `KEY.attribution.KIND.METHOD.png` (transparent where there is little),
and `KEY.attribution.json` says by which models. A second explanation replaces the first.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.files import whole
from rnr.images.files import read_stream
from rnr.view.files import Files
from rnr.view.items import own_folder, read_object
from rnr.view.jobs import Job
from rnr.work.models import Models, versions
from rnr.work.outputs import write_text

if TYPE_CHECKING:
    from rnr.view.library import Library
    from rnr.view.pictures import Pictures


def maps_in(folder: Path, key: str) -> Files:
    """The maps of an item by role, `map-KIND-METHOD`."""
    paths = [path for path in sorted(folder.glob(f"{key}.attribution.*.*.png")) if not path.is_symlink()]
    return {"map-" + "-".join(path.name.split(".")[2:4]): ([path], "") for path in paths}


def about(folder: Path, key: str) -> dict[str, Any]:
    """By which models the maps of an item were made, and of what expected severities; empty where there are none."""
    path = folder / f"{key}.attribution.json"
    return read_object(path) if path.is_file() and not (folder.is_symlink() or path.is_symlink()) else {}


def explain(library: Library, pictures: Pictures, models: Models, identity: str, job: Job) -> dict[str, Any]:
    """Make and write the maps of an item; gives what `about` reads.

    Raises:
        KeyError: For an unknown item.
        PictureError: If its picture is not there.
        Error: For a reasoner behind a server, and where the picture cannot be diagnosed.
    """
    from rnr.explain import Internals
    from rnr.explain.attribution import maps_of, worth_mapping
    from rnr.reasoner.views import as_uint8

    run, key, item = library.item(identity)
    picture = as_uint8(read_stream(io.BytesIO(pictures.bytes_of(identity, "before")), item.name).pixels_HWC3)
    folder = own_folder(run.source.again)
    job.tell("loading the models")
    models.load()
    internals = Internals(models.reasoner)
    job.tell("reading the picture")
    answer = internals.run(picture)
    kinds = worth_mapping(answer)
    job.tell(f"mapping {', '.join(kinds)}")
    maps = maps_of(internals, answer, models.pipeline, picture, kinds)
    names = dict(zip(("reasoner", "restorer"), models.names)) | {"model_hash": internals.reasoner.model_hash}
    made = {**names, "severities": {kind: answer.expected_severity(kind) for kind in kinds}, "versions": versions()}
    library.finder.also(folder)
    _write(folder, key, maps, made)
    return made


def _write(folder: Path, key: str, maps: dict[str, dict[str, Any]], made: dict[str, Any]) -> None:
    from PIL import Image

    from rnr.explain.pixels import overlay

    for paths, _ in maps_in(folder, key).values():
        paths[0].unlink()
    for kind, by_method in maps.items():
        for method, found in by_method.items():
            with whole(folder / f"{key}.attribution.{kind}.{method.split()[0]}.png") as part:
                Image.fromarray(overlay(found)).save(part, "PNG")
    write_text(folder / f"{key}.attribution.json", json.dumps(made, ensure_ascii=False, indent=1) + "\n")
