"""The data sets' own formats, as small samples that are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.quality.datasets import FORMATS, read

SAMPLES = {  # file of labels: its text
    "koniq10k": "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore\na.png,0,0,25,73,7,105,3.0,0.5,50\n",
    "kadid10k": "dist_img,ref_img,dmos,var\na.png,I01.png,4.57,0.496\n",
    "tid2013": "5.51429 a.png\n",
    "spaq": "Image name,MOS,Brightness\na.png,39.5,40\n",
    "ava": "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n",
    "aadb": "a.png 0.65\n",
}
SCORES = {"koniq10k": 50.0, "kadid10k": 89.25, "tid2013": 61.27, "spaq": 39.5, "ava": 51.5, "aadb": 65.0}


def unpacked(folder: Path, name: str) -> Path:
    form = FORMATS[name]
    labels = folder / form.labels
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text(SAMPLES[name])
    (folder / form.images[0]).mkdir(parents=True)
    file = "953619.jpg" if name == "ava" else "a.png"
    Image.new("RGB", (8, 8)).save(folder / form.images[0] / file)
    return folder


@pytest.mark.parametrize("name", SAMPLES)
def test_a_data_set_is_read_as_it_ships(name: str, tmp_path: Path) -> None:
    (one,) = read(name, unpacked(tmp_path, name))
    assert one.path.is_file() and one.score == pytest.approx(SCORES[name], abs=0.1)


def test_the_reference_of_distorted_pictures(tmp_path: Path) -> None:
    assert read("kadid10k", unpacked(tmp_path, "kadid10k"))[0].reference == "I01.png"


def test_clive_leaves_out_the_seven_pictures_for_training_raters(tmp_path: Path) -> None:
    from scipy.io import savemat

    names = np.array([f"{i}.bmp" for i in range(9)], dtype=object)[:, None]
    (tmp_path / "Data").mkdir()
    (tmp_path / "Images").mkdir()
    savemat(tmp_path / "Data" / "AllImages_release.mat", {"AllImages_release": names})
    savemat(tmp_path / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.arange(9.0)[None]})
    for i in (7, 8):
        Image.new("RGB", (8, 8)).save(tmp_path / "Images" / f"{i}.bmp")
    assert [(one.path.name, one.score) for one in read("clive", tmp_path)] == [("7.bmp", 7.0), ("8.bmp", 8.0)]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "dmos.csv").unlink(), "dmos.csv: not there; name the folder"),
        (lambda folder: (folder / "dmos.csv").write_text("a,b\n1,2\n"), "dmos.csv: not as kadid10k ships it"),
        (lambda folder: (folder / "images" / "a.png").unlink(), "a.png: not there, and 0 others"),
    ],
)
def test_what_is_wrong_is_named(break_it, message: str, tmp_path: Path) -> None:
    folder = unpacked(tmp_path, "kadid10k")
    break_it(folder)
    with pytest.raises(ValueError, match=message):
        read("kadid10k", folder)
    with pytest.raises(ValueError, match="unknown data set 'live'; known: koniq10k"):
        read("live", folder)
