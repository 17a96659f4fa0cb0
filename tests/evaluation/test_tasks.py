"""`rnr bench tasks` on tiny weights: what is measured, not how well."""

import math

import numpy as np
import pytest
import skimage.data
import torch

from rnr.evaluation import tasks
from rnr.evaluation.metrics import character_error
from rnr.quality.loading import load_clip
from rnr.restorer.latent import TaskRestorer
from tests.restorer.latent.tiny_tasks import tiny

CAT = skimage.data.chelsea()


class Halves:
    """A machine of two classes: whether the upper or the lower half is brighter."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        half = image.shape[2] // 2
        upper, lower = image[:, :, :half].mean((1, 2, 3)), image[:, :, half:].mean((1, 2, 3))
        return 20 * torch.stack([upper, lower], 1)


@pytest.fixture(scope="module")
def rows():
    _, held = tasks.page_cases(2, 2, 0)
    served = tasks.Served(lambda image, case: tasks.classified(Halves(), image, case), held)
    found = tasks.ways(TaskRestorer(*tiny()), "reading", None, None, {"other": TaskRestorer(*tiny(1, tfa=False))})
    return tasks.measured(found, served, load_clip())


def test_every_way_is_measured_on_every_damage(rows):
    ways = ["degraded", "latent, perception", "latent, reading", "other, perception", "other, reading", "clean"]
    assert [row["way"] for row in rows[:6]] == ways and len(rows) == 4 * 6
    clean = [row for row in rows if row["way"] == "clean"]
    assert all(row["top-1"] == 100 and row["overlap"] == pytest.approx(1) and row["PSNR"] == 60 for row in clean)


def test_the_table_says_what_the_prompt_gains_and_costs(rows):
    renamed = [{**row, "CER": 1 - row["overlap"]} for row in rows]
    table = tasks.summary("reading", renamed)
    assert [row["way"] for row in table.rows][0] == "degraded" and "CER 95%" in table.columns
    assert table.note.startswith("4 damages of 2 pictures. The prompt of reading against that of perception: CER ")
    first, second = ([r for r in renamed if r["way"] == f"latent, {n}"] for n in ("reading", "perception"))
    change = np.mean([a["PSNR"] - b["PSNR"] for a, b in zip(first, second)])
    assert f"PSNR {change:+.2f}" in table.note


def test_cases_follow_from_their_seed_and_have_the_classifiers_size():
    a, b = (tasks.photograph_cases({"cat": CAT}, 2, 1) for _ in range(2))
    assert a[0].clean.shape == (1, 3, 224, 224) and torch.equal(a[1].damaged, b[1].damaged)


def test_reading_counts_the_characters_of_all_lines():
    class Half:
        def read(self, image_1CHW: torch.Tensor, corners_42: np.ndarray) -> str:
            return said.pop()

    pages, held = tasks.page_cases(1, 1, 0)
    texts = [line.text for line in pages["page 0"].lines]
    said = texts[::-1]
    assert tasks.read(Half(), pages, held[0].clean, held[0]) == {"CER": 0}
    pages["page 0"].lines.clear()
    assert math.isnan(tasks.read(Half(), pages, held[0].clean, held[0])["CER"])


@pytest.mark.parametrize(("said", "wanted", "rate"), [
    (["abc"], ["abc"], 0), (["a b c"], ["abc"], 0), ([""], ["abcd"], 1), (["abxd"], ["abcd"], 0.25),
    (["abd"], ["abcd"], 0.25), (["abccd"], ["abcd"], 0.25), (["x", "ab"], ["y", "ab"], 1 / 3), (["a"], [""], 1),
])  # fmt: skip
def test_character_error_rate(said, wanted, rate):
    assert character_error(said, wanted) == pytest.approx(rate)
