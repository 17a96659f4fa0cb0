"""Two looks at a training on held-out photographs: quick and teacher-forced along the way, decoded at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.photographs import to_uint8
from rnr.reasoner.collate import Collator
from rnr.reasoner.data import HELD_OUT_SEED, damaged_batch
from rnr.reasoner.grammar import segments
from rnr.reasoner.reasoner import Reasoner, Settings

BATCH, BATCHES = 16, 8  # regions at once, and how often `decoded` draws them; a choice


@torch.no_grad()
def teacher_forced(model, collator: Collator, rows: Sequence[dict]) -> dict[str, Any]:
    """Per kind: presence F1, correlation and mean error of the greedy severity where present, accuracy of values."""
    was_training = model.training
    model.eval()
    truth: dict[str, list[tuple[str, str]]] = {}
    for begin in range(0, len(rows), BATCH):
        part = rows[begin : begin + BATCH]
        inputs = collator(part)
        labels, _ = inputs.pop("labels"), inputs.pop("loss_weights")
        guesses = model(**inputs, use_cache=False).logits.argmax(-1)
        for row, guess, label in zip(part, guesses, labels):
            place = int((label != -100).nonzero()[0])
            for segment in segments(Diagnosis.model_validate_json(row["completion"])):
                length = len(collator.tokenizer.encode(segment.text, add_special_tokens=False))
                if segment.path:
                    said = collator.tokenizer.decode(guess[place - 1 : place - 1 + length])
                    truth.setdefault(segment.path, []).append((segment.text, said))
                place += length
    model.train(was_training)
    return summary(truth)


def decoded(reasoner: Reasoner, photographs: Sequence[np.ndarray]) -> dict[str, Any]:
    """The same figures from diagnoses that were written freely, of 128 regions; a severity not said counts as 0."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for number in range(BATCHES):
        images, truths, *_ = damaged_batch(photographs, HELD_OUT_SEED, number, 1.0, BATCH, names=reasoner.kinds)
        records = reasoner.diagnose([to_uint8(image) for image in images], Settings(beliefs=False))
        for truth, record in zip(truths, records):
            said = {entry.field: record.text[entry.start : entry.end] for entry in record.trace}
            for segment in segments(truth):
                if segment.path:
                    pairs.setdefault(segment.path, []).append((segment.text, said.get(segment.path, "0")))
    return summary(pairs)


def summary(pairs: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """`pairs`: by field, (true string, said string)."""
    result: dict[str, Any] = {}
    for path, found in pairs.items():
        _, *middle, last = path.split(".")
        if last == "present":
            result.setdefault(middle[0], {})["f1"] = f1(found)
        elif last == "severity":
            numbers = [(int(true), int(said)) for true, said in found if said.isdigit()]
            result.setdefault(middle[0], {}).update(agreement(numbers))
        elif last in ("evidence", "technical"):
            key = middle[0] if middle else "quality"
            result.setdefault(key, {})[last] = sum(true == said for true, said in found) / len(found)
    return result


def f1(pairs: Sequence[tuple[str, str]]) -> float:
    hits = sum(true == said == "true" for true, said in pairs)
    wrong = sum(true != said for true, said in pairs)
    return 2 * hits / max(1, 2 * hits + wrong)


def agreement(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Pearson correlation and mean absolute error."""
    if len(pairs) < 3:
        return {}
    true, said = torch.tensor(pairs, dtype=torch.float).T
    return {"r": float(torch.corrcoef(torch.stack([true, said]))[0, 1]), "mae": float((true - said).abs().mean())}
