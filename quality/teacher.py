"""Captions of damaged pictures from a teacher behind an OpenAI-compatible server: `rnr train quality --teacher URL`.

As in UniQA (section 3.2), the teacher sees the picture and is given the level as a hint: here what was done to it, and
the rung of its full-reference quality. It writes a sentence on quality and one on aesthetics. All captions are written
before the training begins, because the tokenizer learns their words, into captions.jsonl beside the checkpoint: a run
that was killed goes on there, and what was answered is not asked again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnr.degradation.files import whole
from rnr.degradation.kind import PHYSICS
from rnr.degradation.photographs import to_uint8
from rnr.quality.captions import LADDERS, findings_text, rung
from rnr.quality.pairs import Pairs, draw_pairs
from rnr.reasoner.teacher import Teacher

if TYPE_CHECKING:
    from rnr.quality.train import QualityRun
    from rnr.training.journal import Report

FILE = "captions.jsonl"
FIELDS = ("quality", "aesthetics")
LONGEST = 300  # characters of a sentence; a choice
SCHEMA = {"type": "object", "properties": {name: {"type": "string", "maxLength": LONGEST} for name in FIELDS},
          "required": list(FIELDS), "additionalProperties": False}  # fmt: skip
FIRST_SEED = 30_000  # of their pictures: away from those of validation (10,000) and of the channels (20,000)
OFTEN = 2  # captions in which a word must stand to get a token of its own; a choice
Batches = list[list[list[str]]]  # by batch and picture: what the teacher wrote, one text a field, or nothing


class CaptionTeacher(Teacher):
    """Says of damaged pictures how good and how beautiful they are."""

    prompt_name, answers, schema = "caption_quality", "caption", SCHEMA

    def read(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """The sentences by field, as captions are written; {} where the answer breaks the schema."""
        try:
            data = json.loads(choice["message"]["content"] or "", strict=False)
            texts = {name: plain(data[name]) for name in FIELDS}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}
        cut = choice.get("finish_reason") == "length"
        return {} if cut or not all(texts.values()) else texts

    def captions(self, pairs: Pairs, seed: int) -> list[list[str]]:
        """A text for each field of each picture; [] of one whose answers break the schema. Raises ServerError."""
        hints = [
            {"damage": findings_text(diagnosis).replace(" ,", ","), "score": round(score),
             "word": LADDERS[0].words[rung(score)]}
            for diagnosis, score in zip(pairs.diagnoses(), pairs.score_B.tolist())
        ]  # fmt: skip
        pictures = [to_uint8(picture) for picture in pairs.degraded_BCHW]
        return [list(answer.values()) for answer in self.ask_all(pictures, hints, seed)]


def plain(text: str) -> str:
    """A sentence in the captions' spelling: lower case, each word and mark by itself, no line breaks.

    Example:
        >>> plain("Strong noise,\\nbut  it's sharp.")
        "strong noise , but it's sharp ."
    """
    return " ".join(re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,]", text[:LONGEST].lower()))


def taught_pairs(run: QualityRun, photographs: Sequence[np.ndarray], number: int) -> Pairs:
    """The pictures of one of the batches that a teacher writes of."""
    return draw_pairs(photographs, run.batch, run.side, run.seed * 1_000_003 + FIRST_SEED + number)


def written(run: QualityRun, photographs: Sequence[np.ndarray], report: Report) -> Batches:
    """The teacher's captions: from the file in `run.out`, the rest from the server, which is asked for no more.

    Raises:
        ValueError: For a file of other pictures.
        ServerError: Where the teacher fails; what it has answered stays.
    """
    about = {"photographs": len(photographs), "batch": run.batch, "side": run.side, "seed": run.seed,
             "physics": PHYSICS}  # fmt: skip
    path = run.out / FILE
    rows = _rows(path) or [about]
    if rows[0] != about:
        raise ValueError(f"{path}: begun with other settings ({rows[0]}); go on with those, or name another --out")
    if len(rows) <= run.taught:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_text("".join(map(_line, rows)), encoding="utf-8")
        teacher = CaptionTeacher(run.teacher, run.teacher_model)
        for number in range(len(rows) - 1, run.taught):
            captions = teacher.captions(taught_pairs(run, photographs, number), number * run.batch)
            rows.append({"captions": captions, "by": teacher.identity})
            with path.open("a", encoding="utf-8") as file:
                file.write(_line(rows[-1]))
            report({"samples": 0, "doing": f"captions of batch {number + 1} of {run.taught}"})
    return [row["captions"] for row in rows[1 : run.taught + 1]]


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of the file; one that a kill cut off is dropped."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def words_of(batches: Batches) -> list[str]:
    """The words that stand in several captions, sorted: those that get a token of their own."""
    counts = Counter(word for batch in batches for texts in batch for text in texts for word in set(text.split()))
    return sorted(word for word, count in counts.items() if count >= OFTEN)
