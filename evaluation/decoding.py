"""Skeleton decoding against grammar-constrained greedy `generate` (xgrammar) on the same weights and pictures.

Both write the Diagnosis greedily, in exactly the same language (`rnr.reasoner.ebnf`): what differs is the decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import need
from rnr.degradation.diagnosis import Diagnosis
from rnr.evaluation.metrics import average
from rnr.evaluation.tables import Row, Table
from rnr.reasoner.ebnf import ebnf

if TYPE_CHECKING:
    import numpy as np

    from rnr.reasoner import Reasoner

MOST_TOKENS = 600  # a Diagnosis has fewer than half of that


@dataclass
class Written:
    """One Diagnosis as one way of decoding wrote it."""

    token_ids: list[int]
    text: str
    passes: int
    seconds: float
    cpu: float  # seconds of the processor: what a busy machine does not change


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


class Constrained:
    """transformers' `generate` with a mask over the tokens that the grammar forbids."""

    def __init__(self, reasoner: Reasoner) -> None:
        xgrammar = need("xgrammar", "bench")
        self.reasoner, self.model, tokenizer = reasoner, reasoner.model, reasoner.processor.tokenizer
        size = self.model.config.text_config.vocab_size
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=size, stop_token_ids=[tokenizer.eos_token_id]
        )
        rules = ebnf(reasoner.kinds, physics=reasoner.physics)
        self.grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(rules)
        self.processor = need("xgrammar.contrib.hf", "bench").LogitsProcessor
        self.passes = 0
        self.model.register_forward_pre_hook(self._count)

    def _count(self, *arguments: Any) -> None:
        self.passes += 1

    def write(self, picture_HWC: np.ndarray) -> Written:
        self.passes, started = 0, Clock()
        inputs = self.reasoner.inputs(picture_HWC)
        tokenizer = self.reasoner.processor.tokenizer
        output = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=MOST_TOKENS, logits_processor=[self.processor(self.grammar)],
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        spent = started.spent()
        ids = [token for token in output[0, inputs["input_ids"].shape[1] :].tolist() if token != tokenizer.eos_token_id]
        return Written(ids, tokenizer.decode(ids), self.passes, *spent)


def skeleton(reasoner: Reasoner, picture_HWC: np.ndarray) -> Written:
    """Our own way, without the passes that beliefs cost."""
    from rnr.reasoner import Settings

    started = Clock()
    record = reasoner.diagnose([picture_HWC], Settings(beliefs=False))[0]
    spent = started.spent()
    if record.error:
        raise ValueError(f"the reasoner failed: {record.error}")
    ids = reasoner.processor.tokenizer.encode(record.text, add_special_tokens=False)
    return Written(ids, record.text, record.forward_passes, *spent)


def compare(
    reasoner: Reasoner, pictures: Sequence[np.ndarray], report: Callable[[int], None] = lambda done: None
) -> list[Row]:
    """A row per picture. Both ways run once beforehand, so that neither pays for warming up."""
    constrained = Constrained(reasoner)
    constrained.write(pictures[0])
    skeleton(reasoner, pictures[0])
    rows: list[Row] = []
    for number, picture in enumerate(pictures, 1):
        ours, theirs = skeleton(reasoner, picture), constrained.write(picture)
        same = sum(a == b for a, b in zip(ours.token_ids, theirs.token_ids))
        longest = max(len(ours.token_ids), len(theirs.token_ids))
        row: Row = {"picture": number, "tokens": len(ours.token_ids), "same": same, "of": longest}
        row |= {"identical": ours.token_ids == theirs.token_ids, "valid": _valid(theirs.text)}
        row |= {"passes": ours.passes, "passes generate": theirs.passes}
        row |= {"seconds": ours.seconds, "seconds generate": theirs.seconds}
        rows.append(row | {"cpu": ours.cpu, "cpu generate": theirs.cpu})
        report(number)
    return rows


def _valid(text: str) -> bool:
    try:
        Diagnosis.from_json(text)
    except ValueError:
        return False
    return True


def summary(rows: Sequence[Row]) -> Table:
    """Means per diagnosis, and the ratios of the sums."""

    def total(name: str) -> float:
        return sum(float(str(row[name])) for row in rows)

    def means(figure: str, ours: str, theirs: str) -> Row:
        return {"figure": figure, "skeleton": total(ours) / len(rows), "generate": total(theirs) / len(rows)}

    identical, valid = ([float(bool(row[name])) for row in rows] for name in ("identical", "valid"))
    lines: list[Row] = [
        {"figure": "pictures", "skeleton": len(rows), "generate": len(rows)},
        {"figure": "identical tokens, %", "skeleton": 100 * total("same") / total("of")},
        {"figure": "identical diagnoses, %", "skeleton": 100 * average(identical)},
        {"figure": "valid, %", "skeleton": 100.0, "generate": 100 * average(valid)},
        means("tokens per diagnosis", "tokens", "of"),
        means("forward passes", "passes", "passes generate"),
        means("seconds", "seconds", "seconds generate"),
        means("CPU seconds", "cpu", "cpu generate"),
        {"figure": "times faster", "skeleton": total("seconds generate") / total("seconds")},
        {"figure": "times less CPU", "skeleton": total("cpu generate") / total("cpu")},
    ]
    note = "generate: transformers' greedy generate under xgrammar. The same weights, pictures and threads."
    return Table("Decoding", ["figure", "skeleton", "generate"], lines, note)
