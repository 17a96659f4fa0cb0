"""A small model behind the part of vLLM's HTTP interface that the client uses. The first part of a path is its mood:

/ answers; /flaky fails every second time; /free ignores the schema; /mute gives no log-probabilities.
"""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from PIL import Image

from reasoner.decode import Session, decode, sampler
from reasoner.ebnf import ebnf
from reasoner.grammar import program
from reasoner.reasoner import Reasoner

NAME = "tiny"


class Served(Reasoner):
    """A reasoner whose pictures arrive as views."""

    def views(self, picture_HWC):
        return picture_HWC


class Handler(BaseHTTPRequestHandler):
    reasoner: Served
    card = ""
    lock, count = threading.Lock(), 0

    def do_GET(self) -> None:
        self.reply({"data": [{"id": NAME, "root": self.card}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Handler.count += 1
            if self.path.startswith("/flaky") and self.count % 2:
                return self.reply({"error": {"message": "busy"}}, 503)
            choice = self.answer(body)
        if self.path.startswith("/mute"):
            choice["logprobs"] = None
        self.reply({"choices": [choice]})

    def reply(self, data: dict, status: int = 200) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments) -> None:
        pass

    def answer(self, body: dict) -> dict:
        asked, *begun = body["messages"]
        *pictures, words = asked["content"]
        views = [Image.open(io.BytesIO(base64.b64decode(p["image_url"]["url"].split(",")[1]))) for p in pictures]
        assert words["text"] == self.reasoner.prompt_text
        session = Session(self.reasoner.model, self.reasoner.inputs(np.stack([np.array(view) for view in views])))
        encode = self.reasoner.processor.tokenizer.encode
        if begun:
            assert body["continue_final_message"] and not body["add_generation_prompt"]
            session.feed(encode(begun[0]["content"], add_special_tokens=False))
            return self.following(session, body["top_logprobs"])
        if self.path.startswith("/free"):
            return {"message": {"content": "A nice photograph."}, "finish_reason": "stop"}
        order = self.reasoner.kinds
        assert body["structured_outputs"]["grammar"] == ebnf(order)
        done = decode(session, program(order), self.reasoner.lexicon, sampler(body["temperature"], body["seed"]))
        ids = done.token_ids[: body["max_tokens"]]
        tokens = [self.reasoner.processor.tokenizer.decode([i]) for i in ids]
        content = [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]
        finish = "length" if len(ids) < len(done.token_ids) else "stop"
        message = {"role": "assistant", "content": "".join(tokens)}
        return {"message": message, "finish_reason": finish, "logprobs": {"content": content}, "token_ids": ids}

    def following(self, session: Session, top: int) -> dict:
        likely = torch.log_softmax(session.logits(), 0).topk(top)
        tokens = [self.reasoner.processor.tokenizer.decode([i]) for i in likely.indices.tolist()]
        pairs = [{"token": token, "logprob": p} for token, p in zip(tokens, likely.values.tolist())]
        content = [{**pairs[0], "top_logprobs": pairs}]
        return {"message": {"content": tokens[0]}, "finish_reason": "length", "logprobs": {"content": content}}


def serve(folder: str, ready) -> None:
    torch.set_num_threads(1)
    Handler.reasoner, Handler.card = Served.from_pretrained(folder), folder  # type: ignore[assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def running(folder: str):
    """(url, process) of a server of its own process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(folder, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}", process
    finally:
        process.kill()
        process.join()
