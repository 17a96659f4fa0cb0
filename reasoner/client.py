"""A reasoner behind an OpenAI-compatible server such as vLLM: the same records, from structured outputs.

    vllm serve Qwen/Qwen3-VL-8B-Instruct --limit-mm-per-prompt '{"image": 3}'
    rnr diagnose photo.jpg --server http://localhost:8000

One request writes the Diagnosis under our JSON schema (weights of our own: under the exact grammar, so that the text is
the one that skeleton decoding writes). The beliefs come from the log-probabilities of single tokens: the text so far is
the beginning of the answer, one request at `present`, one at the severity, and one below each first digit that is
likely at all (the server's prefix cache makes them cheap). Masked to the legal tokens and renormalised, as in
`severity.py`. What lies outside the 20 likeliest tokens, or below LEAST, counts as 0.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rnr import prompts
from rnr.degradation.diagnosis import (
    Belief,
    Diagnosis,
    DiagnosisRecord,
    TokenTrace,
    quality_words,
    reasoning_order,
)
from rnr.degradation.kind import kinds
from rnr.degradation.schema import diagnosis_schema
from rnr.reasoner.card import check_card, physics_of, read_card
from rnr.reasoner.chat import Client, ServerError, served_by
from rnr.reasoner.ebnf import ebnf
from rnr.reasoner.grammar import SEVERITIES, segments, severity_opening
from rnr.reasoner.reasoner import Identified, Settings, shown, versions
from rnr.reasoner.severity import summarise
from rnr.reasoner.views import SIDE, as_uint8
from rnr.reasoner.vllm_engine import PREFIX, Engine

LEAST = (
    1e-4  # probability of a first digit below which its branch is not asked: moves E[severity] by 0.1 at the very most
)
TOP = 20  # log-probabilities a server gives at most, by default


class ServerReasoner(Identified):
    """A reasoner behind an OpenAI-compatible server; `diagnose` as `Reasoner` has it.

    Args:
        url: The server's address; `vllm:FOLDER` runs vLLM in this process (`reasoner/vllm_engine.py`).
        served: The model's name there (the first by default).
        card: A folder with the reasoner.json of the served weights, which says with which prompt they were trained; not
            needed where the server runs on this machine from such a folder, nor for an untuned model.
        workers: Pictures at the same time.
        most_tokens: Of an answer, at most.
        pixels: Budget of each view of a model that has no views of its own.
        client: Options of `rnr.reasoner.chat.Client` (retries, timeout), or of `vllm.LLM`.

    Raises:
        ServerError: Where nobody answers, or nothing is served.

    Example:
        With a server at this address (docs/real-models.md):

        >>> reasoner = ServerReasoner("http://localhost:8000", workers=32)  # doctest: +SKIP
        >>> records = reasoner.diagnose(images)  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str,
        served: str | None = None,
        card: str | Path | None = None,
        workers: int = 8,
        most_tokens: int = 4096,
        pixels: int | None = None,
        **client: Any,
    ):
        self.client = Engine(url, card, **client) if url.startswith(PREFIX) else Client(url, **client)
        self.workers, self.most_tokens = workers, most_tokens
        entry = served_by(self.client, served)
        self.served = self.name = entry["id"]
        self.model_hash = ""  # a server does not say
        self.card = read_card(Path(card or entry.get("root") or self.served))
        check_card(self.card, f"{url}: {self.served}")
        if pixels:
            self.card.setdefault("views", {"most": max(SIDE, int(pixels**0.5) // 32 * 32)})
        self.closed = bool(self.card)  # trained by us: closed vocabulary; else it writes sentences
        self.kinds = list(self.card.get("kinds") or reasoning_order())
        self.prompt = prompts.load(self.card.get("prompt", "diagnose_instruct"))
        self.physics = physics_of(self.card)
        self.prompt_text = self.prompt.fill(kinds=[kinds()[name].as_of(self.physics) for name in self.kinds])

    def diagnose(self, images: Iterable[Any], settings: Settings | None = None) -> list[DiagnosisRecord]:
        """A record per picture, in order; `workers` of them at a time. One that fails has a record with `error`."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda image: self.diagnose_one(image, settings or Settings()), images))

    def diagnose_one(self, image: Any, settings: Settings) -> DiagnosisRecord:
        """See `diagnose`."""
        started = time.perf_counter()
        used = asdict(settings) | {"server": self.client.url, "schema": "closed" if self.closed else "open"}
        more: dict[str, Any] = {"settings": used, "prompt_text": self.prompt_text, "versions": versions()}
        record = DiagnosisRecord(diagnosis=None, **self.identity, **more)
        try:
            picture = as_uint8(np.asarray(image if not hasattr(image, "convert") else image.convert("RGB")))
            record.picture_size = (picture.shape[1], picture.shape[0])
            asked = self.question(picture)
            choice = self.write(asked, settings)
            text = choice["message"]["content"] or ""
            record.diagnosis = read_answer(text, choice.get("finish_reason"), self.kinds)
            record.text = record.diagnosis.to_json()
            record.trace = trace(choice, record.diagnosis) if record.text == text and self.closed else []
            if settings.beliefs:
                with ThreadPoolExecutor(len(self.kinds)) as pool:
                    record.beliefs = self._beliefs(asked, record.diagnosis, pool)
        except Exception as error:  # one bad picture must not cost the others their result
            record.error = f"{type(error).__name__}: {error}"
        record.seconds = time.perf_counter() - started
        return record

    def question(self, picture_HWC: np.ndarray) -> dict[str, Any]:
        """The user's turn: views as PNG, then the prompt."""
        views = shown(picture_HWC, self.card)
        parts: list[dict] = [{"type": "image_url", "image_url": {"url": data_url(view)}} for view in views]
        return {"role": "user", "content": [*parts, {"type": "text", "text": self.prompt_text}]}

    def write(self, asked: dict[str, Any], settings: Settings, free: bool = False) -> dict[str, Any]:
        """The answer to a question, as the server's choice; `free`: with nothing that keeps it to the schema."""
        schema = {"name": "diagnosis", "schema": diagnosis_schema(self.kinds, physics=self.physics), "strict": True}
        shape: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": schema}}
        if free:
            shape = {}
        elif self.closed:  # white space that a schema allows is text that these weights have never seen
            shape = {
                "structured_outputs": {"grammar": ebnf(self.kinds, self.card.get("scene_text", False), self.physics)}
            }
        return self.client.chat(shape | {
            "model": self.served, "messages": [asked], "temperature": settings.temperature, "seed": settings.seed,
            "max_tokens": self.most_tokens, "logprobs": True, "top_logprobs": 0, "return_token_ids": True,
        })  # fmt: skip

    def _beliefs(self, asked: dict[str, Any], diagnosis: Diagnosis, pool: Executor) -> dict[str, Belief]:
        def of(kind: str) -> Belief:
            text = before_present(diagnosis, kind)
            among = masked(self._next(asked, text), ("true", "false"))
            opened = text + "true" + severity_opening()
            return summarise(among["true"], severities(lambda digits: self._next(asked, opened + digits)))

        return dict(zip(self.kinds, pool.map(of, self.kinds)))

    def _next(self, asked: dict[str, Any], answer: str) -> dict[str, float]:
        """Log-probabilities of the likeliest tokens after the beginning of an answer."""
        choice = self.client.chat({
            "model": self.served, "messages": [asked, {"role": "assistant", "content": answer}], "max_tokens": 1,
            "temperature": 0, "logprobs": True, "top_logprobs": TOP, "add_generation_prompt": False,
            "continue_final_message": True,
        })  # fmt: skip
        content = (choice.get("logprobs") or {}).get("content")
        if not content:
            raise ServerError(f"{self.client.url}: gives no log-probabilities; severities cannot be scored there")
        return {entry["token"]: entry["logprob"] for entry in content[0]["top_logprobs"]}


def data_url(view_HWC: np.ndarray) -> str:
    """uint8 pixels as a PNG in a URL."""
    file = io.BytesIO()
    Image.fromarray(view_HWC).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def read_answer(text: str, finish: str | None, names: list[str]) -> Diagnosis:
    """The Diagnosis in an answer; its plan and its word of quality, which a schema cannot tie, follow from the rest.

    Raises ServerError for an answer that was cut off or is none, ValueError for one that contradicts itself.
    """
    if finish == "length":
        raise ServerError(f"the answer was cut off after {len(text)} characters; raise most_tokens")
    try:
        data = json.loads(text, strict=False)  # grammars let control characters into strings
        present = [name for name in names if data["findings"][name]["present"]]
        data["plan"], data["quality"]["words"] = present, quality_words(int(data["quality"]["technical"]))
    except (ValueError, KeyError, TypeError) as error:
        problem = f"the answer does not follow the schema ({type(error).__name__}: {error}): {text[:80]!r}"
        raise ServerError(
            f"{problem}; the server needs structured outputs (a JSON schema, or for our own weights a grammar)"
        ) from None
    return Diagnosis.from_json(json.dumps(data), "the server's answer")


def before_present(diagnosis: Diagnosis, kind: str) -> str:
    """The canonical text up to the value of a kind's `present`."""
    text = diagnosis.to_json()
    evidence = json.dumps(diagnosis.findings[kind].evidence, ensure_ascii=False)
    opening = f'"{kind}":{{"evidence":{evidence},"present":'
    return text[: text.index(opening, text.index('"findings":{')) + len(opening)]


def masked(tokens: Mapping[str, float], legal: Iterable[str]) -> dict[str, float]:
    """Probabilities of the legal texts among themselves: a token counts for the text that it begins, or begins with."""
    mass = {text: 0.0 for text in legal}
    for token, logprob in tokens.items():
        for text in mass:
            if token and (token.startswith(text) or text.startswith(token)):
                mass[text] += float(np.exp(logprob))
                break
    total = sum(mass.values())
    if not total:
        raise ServerError(f"none of {', '.join(mass)} is among the {len(tokens)} likeliest tokens")
    return {text: value / total for text, value in mass.items()}


def severities(following: Any) -> torch.Tensor:
    """P(severity = 1..100 | present), from `following(digits)`, the log-probabilities of the next tokens."""
    digits = [str(n) for n in range(10)]
    found = dict.fromkeys(SEVERITIES, 0.0)
    for first, p in masked(following(""), digits[1:]).items():
        if p < LEAST:
            continue
        after = masked(following(first), [*digits, ","])
        found[first] = p * after.pop(",")
        found |= {first + second: p * q for second, q in after.items()}
    if found["10"] >= LEAST:
        end = masked(following("10"), ["0", ","])
        found["10"], found["100"] = found["10"] * end[","], found["10"] * end["0"]
    result = torch.tensor([found[value] for value in SEVERITIES], dtype=torch.float64)
    return result / result.sum()


def trace(choice: Mapping[str, Any], diagnosis: Diagnosis) -> list[TokenTrace]:
    """Tokens of each field with the server's own log-probabilities (among all tokens, unlike the built-in path's)."""
    content, place, spans = (choice.get("logprobs") or {}).get("content") or [], 0, []
    ids = choice.get("token_ids") or [-1] * len(content)
    for entry, token in zip(content, ids):
        spans.append((place, place + len(entry["token"]), token, entry["logprob"]))
        place += len(entry["token"])
    fields = [piece for piece in segments(diagnosis) if piece.path]

    def of(piece: Any) -> TokenTrace:
        inside = [(token, p) for low, high, token, p in spans if low < piece.end and high > piece.start]
        return TokenTrace(field=piece.path, start=piece.start, end=piece.end,
                          token_ids=[token for token, _ in inside], logprobs=[p for _, p in inside])  # fmt: skip

    return [of(piece) for piece in fields]
