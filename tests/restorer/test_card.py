"""The card of the built-in restorer says what its files say."""

from __future__ import annotations

import re

import pytest

from rnr.restorer.expert import load_expert
from rnr.restorer.pipeline import BUILT_IN

CARD = (BUILT_IN / "README.md").read_text(encoding="utf-8")
FILES = sorted((BUILT_IN / "experts").glob("*.safetensors"))


def numbers(kind: str) -> list[str]:
    """The cells of an expert's row, without separators of thousands."""
    row = re.search(rf"^\| {kind} \|(.*)\|$", CARD, re.MULTILINE)
    assert row, f"no row of {kind}"
    return [cell.strip().replace(",", "") for cell in row[1].split("|")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_row_of_an_expert_is_its_metadata(path) -> None:
    network, card = load_expert(path)
    parameters, samples, hours, *shown = numbers(path.stem)
    assert float(parameters) == pytest.approx(sum(p.numel() for p in network.parameters()) / 1e6, abs=0.01)
    assert (int(samples), float(hours)) == (card["samples"], card["hours"])
    if "type gaussian" in card["figures"]:  # of the reader of point spread functions
        assert set(shown) == {"-"}
        return
    for cell, (name, value) in zip(shown, card["figures"].items(), strict=True):
        figure, _, top = cell.partition(" (")
        assert float(figure) == pytest.approx(value, abs=0.051)
        assert not top or name.endswith(f" {top.rstrip(')')}")


def test_every_part_is_named_with_its_photographs() -> None:
    assert "BSDS500" not in CARD and "SOURCES.csv" in CARD and "WEIGHTS-NOTICE.md" in CARD
    assert CARD.startswith("---\n") and "\nlicense: other\n" in CARD
