"""`rnr gallery`: a page of restored photographs that one may give away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rnr.app.cli import app


@pytest.fixture(scope="module")
def made(tmp_path_factory, photographs: dict[str, np.ndarray]) -> Path:
    """Results of `rnr restore` on a dark photograph with a position and on an undamaged one, and their gallery."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "in").mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    dark = (photographs["coffee"][:200, :320] * 0.12).astype(np.uint8)
    Image.fromarray(dark).save(folder / "in" / "dark & <b>.jpg", exif=exif, quality=95)
    Image.fromarray(photographs["coffee"][:200, :320]).save(folder / "in" / "clean.png")
    restored = CliRunner().invoke(app, ["restore", str(folder / "in"), "-o", str(folder / "out")])
    assert restored.exit_code == 0, restored.output
    done = CliRunner().invoke(app, ["gallery", str(folder / "out"), str(folder / "in"), "-o", str(folder / "page")])
    assert done.exit_code == 0, done.output
    return folder


def test_the_page_shows_each_photograph_before_and_after(made: Path):
    html = (made / "page" / "index.html").read_text(encoding="utf-8")
    assert html.count("<article>") == 2 and "dark &amp; &lt;b&gt;.jpg" in html and "low light" in html
    assert html.count('type="range"') == 1 and "as it was" in html, "a slider where something changed"
    images = sorted((made / "page" / "img").iterdir())
    assert len(images) == 3 and all(f"img/{image.name}" in html for image in images)


def test_nothing_of_the_file_or_the_machine_is_given_away(made: Path):
    for image in (made / "page" / "img").iterdir():
        with Image.open(image) as opened:
            assert not opened.getexif() and max(opened.size) <= 1200
    assert str(made) not in (made / "page" / "index.html").read_text(encoding="utf-8")


def test_a_folder_that_is_there_is_not_written_to(made: Path):
    again = CliRunner().invoke(app, ["gallery", str(made / "out"), str(made / "in"), "-o", str(made / "page")])
    assert again.exit_code == 2 and "choose another folder" in again.output


def test_a_photograph_that_is_not_there_is_named_and_the_rest_is_shown(made: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["gallery", str(made / "out"), "-o", str(tmp_path / "page")])
    assert done.exit_code == 1 and "dark" in done.output
    html = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert html.count("<article>") == 1 and "clean.png" in html
