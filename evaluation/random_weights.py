"""Validity does not depend on training: outputs of a reasoner whose weights nobody has trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation.diagnosis import DiagnosisRecord, reasoning_order
from rnr.degradation.kind import PHYSICS
from rnr.evaluation.diagnosis_cases import is_valid
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

EVERY = 50  # outputs of one set of random weights


def untrained(seed: int) -> Any:
    """A Reasoner of the built-in size with fresh weights and the built-in prompt."""
    from rnr import prompts
    from rnr.reasoner import Reasoner
    from rnr.reasoner.model import new_model, tiny_config
    from rnr.reasoner.processor import build_processor
    from rnr.reasoner.tokenizer import build_tokenizer
    from rnr.reasoner.views import VIEWS

    prompt = "diagnose_tuned"
    tokenizer = build_tokenizer(extra=[prompts.load(prompt).text])
    card = {"kinds": reasoning_order(), "physics": PHYSICS, "prompt": prompt, "views": VIEWS}
    return Reasoner(new_model(tiny_config(tokenizer), seed), build_processor(tokenizer), card, f"random {seed}")


def outputs(pictures: Sequence[np.ndarray], count: int, seed: int) -> Iterator[DiagnosisRecord]:
    """`count` sampled diagnoses (temperature 1, so that they differ), new weights every EVERY of them."""
    from rnr.reasoner import Settings

    for number in range(count):
        if number % EVERY == 0:
            model = untrained(seed + number)
        settings = Settings(temperature=1.0, seed=seed + number, beliefs=False)
        yield model.diagnose([pictures[number % len(pictures)]], settings)[0]


def validity(
    pictures: Sequence[np.ndarray], count: int, seed: int, report: Callable[[int], None] = lambda done: None
) -> Table:
    """How many are valid, how many differ, and the first error if there is one."""
    valid, texts, error = 0, set(), ""
    for number, record in enumerate(outputs(pictures, count, seed), 1):
        valid += is_valid(record)
        texts.add(record.text)
        error = error or record.error or ""
        report(number)
    row: Row = {
        "outputs": count,
        "valid": valid,
        "valid %": 100 * valid / count,
        "different": len(texts),
        "first error": error,
    }
    return Table.of("Untrained weights", [row])
