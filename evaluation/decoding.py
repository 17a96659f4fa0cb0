"""Skeleton decoding against grammar-constrained greedy `generate` (xgrammar) on the same weights and pictures.

Both write the Diagnosis greedily, in exactly the same language (`evaluation.ebnf`): what differs is the decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from degradation.diagnosis import Diagnosis
from evaluation.ebnf import grammar
from evaluation.extra import need
from evaluation.metrics import average
from evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

MOST_TOKENS = 600  # a Diagnosis has fewer than half of that


@dataclass
class Written:
    """One Diagnosis as one way of decoding wrote it."""

    token_ids: list[int]
    text: str
    passes: int
    seconds: float


class Constrained:
    """transformers' `generate` with a mask over the tokens that the grammar forbids."""

    def __init__(self, reasoner: Any) -> None:
        xgrammar = need("xgrammar")
        self.reasoner, self.model, tokenizer = reasoner, reasoner.model, reasoner.processor.tokenizer
        size = self.model.config.text_config.vocab_size
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=size, stop_token_ids=[tokenizer.eos_token_id]
        )
        self.grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(grammar(reasoner.kinds))
        self.processor = need("xgrammar.contrib.hf").LogitsProcessor
        self.passes = 0
        self.model.register_forward_pre_hook(self._count)

    def _count(self, *arguments: Any) -> None:
        self.passes += 1

    def write(self, picture_HWC: np.ndarray) -> Written:
        self.passes, started = 0, time.perf_counter()
        inputs = self.reasoner.inputs(picture_HWC)
        tokenizer = self.reasoner.processor.tokenizer
        output = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=MOST_TOKENS, logits_processor=[self.processor(self.grammar)],
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        ids = [token for token in output[0, inputs["input_ids"].shape[1] :].tolist() if token != tokenizer.eos_token_id]
        return Written(ids, tokenizer.decode(ids), self.passes, seconds)


def skeleton(reasoner: Any, picture_HWC: np.ndarray) -> Written:
    """Our own way, without the passes that beliefs cost."""
    from reasoner import Settings

    started = time.perf_counter()
    record = reasoner.diagnose([picture_HWC], Settings(beliefs=False))[0]
    seconds = time.perf_counter() - started
    if record.error:
        raise ValueError(f"the reasoner failed: {record.error}")
    ids = reasoner.processor.tokenizer.encode(record.text, add_special_tokens=False)
    return Written(ids, record.text, record.forward_passes, seconds)


def compare(
    reasoner: Any, pictures: Sequence[np.ndarray], report: Callable[[int], None] = lambda done: None
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
        rows.append(row | {"seconds": ours.seconds, "seconds generate": theirs.seconds})
        report(number)
    return rows


def _valid(text: str) -> bool:
    try:
        Diagnosis.from_json(text)
    except ValueError:
        return False
    return True


def summary(rows: Sequence[Row]) -> Table:
    def total(name: str) -> float:
        return sum(float(str(row[name])) for row in rows)

    lines: list[Row] = [
        {"figure": "pictures", "skeleton": len(rows), "generate": len(rows)},
        {"figure": "identical tokens, %", "skeleton": 100 * sum(int(str(r["same"])) for r in rows) / total("of")},
        {"figure": "identical diagnoses, %", "skeleton": 100 * average([float(bool(r["identical"])) for r in rows])},
        {"figure": "valid, %", "skeleton": 100.0, "generate": 100 * average([float(bool(r["valid"])) for r in rows])},
        {
            "figure": "tokens per diagnosis",
            "skeleton": total("tokens") / len(rows),
            "generate": total("of") / len(rows),
        },
        {
            "figure": "forward passes",
            "skeleton": total("passes") / len(rows),
            "generate": total("passes generate") / len(rows),
        },
        {
            "figure": "seconds",
            "skeleton": total("seconds") / len(rows),
            "generate": total("seconds generate") / len(rows),
        },
        {"figure": "times faster", "skeleton": total("seconds generate") / total("seconds")},
    ]
    note = "generate: transformers' greedy generate under xgrammar. The same weights, pictures and threads."
    return Table("Decoding", ["figure", "skeleton", "generate"], lines, note)
