"""Scorers of other origin by name: a metric of pyiqa where somebody has installed it, a vision-language model's words.

pyiqa is under PolyForm-Noncommercial: it is in no extra of ours, and nothing here is made of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr.degradation.errors import SetupError
from rnr.quality.captions import LADDERS
from rnr.quality.model import Score, as_tensor

if TYPE_CHECKING:
    from rnr.degradation.protocols import Picture

NOT_ASKED = "this scorer gives one number"
QUESTION = "How would you rate the quality of this image? Answer with one word: {}."  # Q-Align's question, in a word


class PyiqaScorer:
    """A no-reference metric of pyiqa, in its own range.

    Args:
        metric: Such as `musiq`.
        device: Where it runs.

    Raises:
        SetupError: Where pyiqa is missing or knows no such metric.
    """

    def __init__(self, metric: str, device: str = "cpu") -> None:
        try:
            pyiqa = importlib.import_module("pyiqa")  # not declared: see above
        except ImportError:
            problem = "pyiqa is not installed; its licence is non-commercial, so it is in no extra"
            raise SetupError(f"pyiqa:{metric}: {problem}: pip install pyiqa") from None
        self.metric = pyiqa.create_metric(metric, device=device)
        self.identity: Mapping[str, Any] = {"model": f"pyiqa:{metric}", "model_hash": ""}

    def score(self, images: Iterable[Picture], /) -> list[Score]:
        """`technical` is null: the metric's own range is no 0-100; the value stands in `words`."""
        values = [float(self.metric(as_tensor(image)[None])) for image in images]
        why = {"technical": "a metric of its own range", "aesthetic": NOT_ASKED}
        return [Score(None, words=[f"{v:.4f}"], missing=why, model=self.identity["model"]) for v in values]


class LanguageScorer:
    """A vision-language model of the reasoner's loader: the probabilities of five words as its next token.

    Q-Align (Wu et al., ICML 2024): score = sum_k w_k softmax over the words' logits, w from 0 to 100.

    Args:
        model: Any transformers model with `logits` over text and pictures.
        processor: Its processor, with a chat template.
        name: By which it is known.
    """

    words = LADDERS[0].words

    def __init__(self, model: Any, processor: Any, name: str = "reasoner") -> None:
        self.model, self.processor = model, processor
        self.identity: Mapping[str, Any] = {"model": f"reasoner:{name}", "model_hash": ""}
        first = [processor.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in self.words]
        if len(set(first)) < len(first):
            raise SetupError(f"{name}: its tokenizer begins two of {', '.join(self.words)} alike; name another model")
        self.tokens = torch.tensor(first)

    @classmethod
    def load(cls, name: str, device: str) -> LanguageScorer:
        """Raises SetupError for a server, and for the built-in reasoner, which writes a Diagnosis and nothing else."""
        from rnr.reasoner.loading import load_local

        found = load_local(name, device)
        if found.card:
            raise SetupError(f"reasoner:{name}: it writes a Diagnosis and no such words; name a general model")
        return cls(found.model, found.processor, name)

    def score(self, images: Iterable[Picture], /) -> list[Score]:
        return [self._one(image) for image in images]

    @torch.no_grad()
    def _one(self, image: Picture) -> Score:
        from PIL import Image

        pixels = (as_tensor(image).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        asked = [{"type": "image"}, {"type": "text", "text": QUESTION.format(", ".join(self.words))}]
        text = self.processor.apply_chat_template([{"role": "user", "content": asked}], add_generation_prompt=True)
        given = self.processor(text=[text], images=[Image.fromarray(pixels)], return_tensors="pt")
        logits = self.model(**given.to(self.model.device)).logits[0, -1, self.tokens].float()
        rungs = logits.softmax(-1).cpu()
        value = float(rungs @ torch.linspace(0, 100, len(self.words)))
        ladder = {word: round(p, 4) for word, p in zip(self.words, rungs.tolist())}
        why = {"aesthetic": NOT_ASKED}
        return Score(round(value, 2), ladder=ladder, missing=why, model=self.identity["model"])
