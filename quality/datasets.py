"""Data sets with people's ratings, read as they ship: pictures with their scores as 0-100. None of them comes with us.

from rnr.quality.datasets import read
rated = read("koniq10k", "data/koniq10k")
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Row = tuple[str, float, str]  # file, score in the data set's own range, reference


@dataclass(frozen=True)
class Rated:
    """A picture and its mean rating, 0-100; pictures of one `reference` must not be split between train and test."""

    path: Path
    score: float
    reference: str

    def pixels(self) -> np.ndarray:
        """uint8 HWC. ValueError for a file that cannot be read, such as the broken ones of AVA."""
        from PIL import Image

        try:
            return np.asarray(Image.open(self.path).convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f"{self.path}: no picture ({error}); fetch it again, or take its line out of the ratings"
            ) from None


@dataclass(frozen=True)
class Format:
    """How a data set lies on the disk.

    Attributes:
        labels: Its file of ratings, below the folder.
        images: Folders that may hold the pictures; the first that is there.
        low, high: The range of the ratings, worst to best.
        rows: Reads the file.
        aesthetic: Beauty was rated, not technical quality.
    """

    labels: str
    images: tuple[str, ...]
    low: float
    high: float
    rows: Callable[[Path], Iterator[Row]]
    aesthetic: bool = False


def table(file: str, score: str, reference: str = "") -> Callable[[Path], Iterator[Row]]:
    """Of a CSV file with a header."""

    def rows(path: Path) -> Iterator[Row]:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            for row in csv.DictReader(opened):
                yield row[file], float(row[score]), row[reference] if reference else row[file]

    return rows


def words(path: Path) -> Iterator[list[str]]:
    yield from (line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def tid2013(path: Path) -> Iterator[Row]:
    """`5.51429 I01_01_1.bmp`; the reference is I01."""
    yield from ((name, float(score), name[:3].upper()) for score, name in words(path))


def ava(path: Path) -> Iterator[Row]:
    """Number, id, counts of the ratings 1-10, tags: the mean of the ratings."""
    for row in words(path):
        counts = [int(count) for count in row[2:12]]
        yield f"{row[1]}.jpg", sum(i * c for i, c in enumerate(counts, 1)) / max(1, sum(counts)), row[1]


def aadb(path: Path) -> Iterator[Row]:
    """`farm1_262_20009074919_cdd9c88d5f.jpg 0.65`."""
    yield from ((name, float(score), name) for name, score in words(path))


def clive(path: Path) -> Iterator[Row]:
    """Two MATLAB files side by side: names and ratings. The first seven pictures are for training raters."""
    from scipy.io import loadmat

    names = loadmat(path)["AllImages_release"].ravel()
    scores = loadmat(path.with_name("AllMOS_release.mat"))["AllMOS_release"].ravel()
    for cell, score in list(zip(names, scores))[7:]:
        name = str(cell[0])
        yield name, float(score), name


FORMATS: Mapping[str, Format] = {
    "koniq10k": Format("koniq10k_scores_and_distributions.csv", ("1024x768", "512x384"), 1, 5,
                       table("image_name", "MOS")),
    "clive": Format("Data/AllImages_release.mat", ("Images",), 0, 100, clive),
    "kadid10k": Format("dmos.csv", ("images",), 1, 5, table("dist_img", "dmos", "ref_img")),
    "tid2013": Format("mos_with_names.txt", ("distorted_images",), 0, 9, tid2013),
    # It ships as .xlsx: save it as .csv beside that.
    "spaq": Format("Annotations/MOS and Image attribute scores.csv", ("TestImage",), 0, 100,
                   table("Image name", "MOS")),
    "ava": Format("AVA.txt", ("images", "image"), 1, 10, ava, aesthetic=True),
    "aadb": Format("imgListTrainRegression_score.txt", ("datasetImages_warp256", "images"), 0, 1, aadb,
                   aesthetic=True),
}  # fmt: skip


def read(name: str, folder: str | Path) -> list[Rated]:
    """The rated pictures of a data set.

    Args:
        name: One of `FORMATS`.
        folder: As it was unpacked.

    Raises:
        ValueError: For an unknown name, a file of ratings that is missing or cannot be read, pictures that are missing.
    """
    if name not in FORMATS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(FORMATS)}")
    form, root = FORMATS[name], Path(folder)
    labels = root / form.labels
    if not labels.is_file():
        raise ValueError(f"{labels}: not there; name the folder to which {name} was unpacked, with {form.labels} in it")
    places = [root / place for place in form.images if (root / place).is_dir()]
    if not places:
        raise ValueError(f"{root}: no folder {' or '.join(form.images)} with the pictures of {name}; unpack them, too")
    try:
        rows = list(form.rows(labels))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{labels}: not as {name} ships it ({error!r}); fetch it again") from None
    rated = [Rated(places[0] / file, scaled(score, form), reference) for file, score, reference in rows]
    if missing := [one.path for one in rated if not one.path.is_file()]:
        raise ValueError(f"{missing[0]}: not there, and {len(missing) - 1} others of {name}; unpack all pictures")
    return rated


def scaled(score: float, form: Format) -> float:
    """0-100."""
    return 100 * (score - form.low) / (form.high - form.low)
