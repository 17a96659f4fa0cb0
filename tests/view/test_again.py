"""An edit keeps a diagnosis consistent, and is obeyed."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.view.again import Runner, agains
from rnr.view.jobs import Job
from rnr.view.library import Library
from rnr.view.pictures import Pictures
from rnr.view.record_page import RecordPage
from rnr.work.models import Models


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(device="cpu")


def wait(job: Job) -> Job:
    until = time.monotonic() + 600
    while not (job.error or job.result):
        assert time.monotonic() < until
        time.sleep(0.05)
    return job


def test_run_again_restores_by_the_edit(gallery: Path, models: Models, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    library = Library([run, gallery / "damaged"])
    runner = Runner(library, Pictures(library), models)
    key = next(iter(library.runs[0].items))
    nothing = dict.fromkeys(library.names, 0)
    jobs = [
        wait(runner.start(f"0-{key}", severities, None, 0)) for severities in (nothing, {"noise": 60}, {"noise": 60})
    ]
    assert [job.error for job in jobs] == ["", "", ""]
    results = [job.result for job in jobs]
    assert results[0] and results[1] and results[2]
    source, untouched, restored = (
        np.asarray(Image.open(path))
        for path in (
            gallery / "damaged" / "astronaut.png",
            run / "again" / results[0].file,
            run / "again" / results[1].file,
        )
    )
    assert (untouched == source).all() and (restored != source).any()
    assert results[2].file == results[1].file  # the same request again is the same result
    record = json.loads((run / "again" / results[1].file).with_suffix(".diagnosis.json").read_text())
    assert record["before"]["diagnosis"]["findings"]["noise"]["severity"] == 60
    assert {each.name for each in agains(run / "again", key)} == {results[0].name, results[1].name}
    assert len(Library([run, gallery / "damaged"]).runs[0].items) == 3  # what was run again is no item of the run


def test_explain_writes_a_layer_for_each_kind_and_method(gallery: Path, models: Models, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    library = Library([run, gallery / "damaged"])
    pictures = Pictures(library)
    runner, key = Runner(library, pictures, models), next(iter(library.runs[0].items))
    job = wait(runner.explain(f"0-{key}"))
    assert job.error == "" and job.result["severities"].keys() == {"noise"} and job.result["reasoner"] == "built-in"
    page = RecordPage(library, pictures, f"0-{key}")
    assert [(kind, method) for kind, method, _ in page.maps] == [
        ("noise", "gradient × input"), ("noise", "the restorer's leg"), ("noise", "occlusion"),
    ]  # fmt: skip
    assert page.mapped["severities"]["noise"] == pytest.approx(job.result["severities"]["noise"])
    source = Image.open(gallery / "damaged" / "astronaut.png")
    for role in (role for role in page.roles if role.startswith("map-")):
        layer = Image.open(io.BytesIO(pictures.bytes_of(f"0-{key}", role)))
        assert layer.size == source.size and layer.mode == "RGBA"
        assert layer.getchannel("A").getextrema() == (0, 255)  # transparent where it is least
    assert len(Library([run, gallery / "damaged"]).runs[0].items) == 3  # a map is no item of the run


def test_results_are_not_written_through_a_link(gallery: Path, models: Models, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gallery / "run-a", run)
    (tmp_path / "elsewhere").mkdir()
    (run / "again").symlink_to(tmp_path / "elsewhere")
    library = Library([run, gallery / "damaged"])
    runner = Runner(library, Pictures(library), models)
    job = wait(runner.explain(f"0-{next(iter(library.runs[0].items))}"))
    assert "is a link" in job.error and not list((tmp_path / "elsewhere").iterdir())


def test_a_missing_picture_is_said_to_the_page(gallery: Path, models: Models, tmp_path: Path) -> None:
    shutil.copytree(gallery / "run-a", tmp_path / "run")
    library = Library([tmp_path / "run"])
    runner = Runner(library, Pictures(library), models)
    job = wait(runner.start(f"0-{next(iter(library.runs[0].items))}", {"noise": 0}, None, 0))
    assert "is not in the given folders" in job.error
    job = wait(runner.explain(f"0-{next(iter(library.runs[0].items))}"))
    assert "is not in the given folders" in job.error


def test_a_record_that_names_a_strange_file_is_passed_over(gallery: Path, tmp_path: Path) -> None:
    data = json.loads((gallery / "run-a" / "astronaut.diagnosis.json").read_text())
    made = {"name": "x", "severities": {"noise": 3}}
    for number, output in enumerate(("../../escaped.png", "0123456789abcdef-0123456789abcdef.png")):
        path = tmp_path / f"0123456789abcdef-{number}.diagnosis.json"
        path.write_text(json.dumps(data | {"again": made, "output": output}))
    assert [each.file for each in agains(tmp_path, "0123456789abcdef")] == ["0123456789abcdef-0123456789abcdef.png"]
