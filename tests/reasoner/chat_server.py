"""A small model behind the part of vLLM's HTTP interface that the client uses. The first part of a path is its mood:

/ answers; /flaky fails every second time; /free ignores the schema; /mute gives no log-probabilities; /loose breaks the
schema in one place; /moody cuts greedy descriptions off; /mortal dies while it makes its third answer. Weights with a
card write under the grammar, others under the JSON schema; a scene is described by its mean: no two have the same.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import multiprocessing
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import numpy as np
import torch
from PIL import Image

from rnr.reasoner.decode import Session, decode, sampler
from rnr.reasoner.ebnf import ebnf
from rnr.reasoner.grammar import program
from rnr.reasoner.reasoner import Reasoner

NAME = "tiny"


class Served(Reasoner):
    """A reasoner whose pictures arrive as views."""

    def views(self, picture_HWC, boxes=None):
        return picture_HWC


class Handler(BaseHTTPRequestHandler):
    reasoner: Served
    card = ""
    lock, count = threading.Lock(), 0
    begun: tuple[str, Session | None] = ("", None)  # the last prompt, as a prefix cache has it

    def do_GET(self) -> None:
        self.reply({"data": [{"id": NAME, "root": self.card}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Handler.count += 1
            if self.path.startswith("/flaky") and self.count % 2:
                return self.reply({"error": {"message": "busy"}}, 503)
            if self.path.startswith("/mortal") and self.count == 3:
                os._exit(1)
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
        files = [io.BytesIO(base64.b64decode(p["image_url"]["url"].split(",")[1])) for p in pictures]
        views = np.stack([np.array(Image.open(file)) for file in files])
        if self.path.startswith("/free"):
            return {"message": {"content": "A nice photograph."}, "finish_reason": "stop"}
        wanted = body.get("response_format", {}).get("json_schema", {})
        if wanted.get("name") == "scene":
            return self.keeping(wanted["schema"], self.scene(views[0], body), body["max_tokens"])
        assert words["text"] == self.reasoner.prompt_text
        session = self.session(views, json.dumps(asked))
        encode = self.reasoner.processor.tokenizer.encode
        if begun:
            assert body["continue_final_message"] and not body["add_generation_prompt"]
            session.feed(encode(begun[0]["content"], add_special_tokens=False))
            return self.following(session, body["top_logprobs"])
        properties = wanted.get("schema", {}).get("properties", {})
        order = list(properties["findings"]["properties"]) if wanted else self.reasoner.kinds
        if not wanted and "structured_outputs" not in body:
            return self.freely(session, body["max_tokens"])
        written = program(order, physics=self.reasoner.physics)
        done = decode(session, written, self.reasoner.lexicon, sampler(body["temperature"], body["seed"]))
        if not self.reasoner.card:
            return self.keeping(wanted["schema"], in_sentences(json.loads(done.text)), body["max_tokens"])
        assert body["structured_outputs"]["grammar"] == ebnf(order, physics=self.reasoner.physics)
        ids = done.token_ids[: body["max_tokens"]]
        tokens = [self.reasoner.processor.tokenizer.decode([i]) for i in ids]
        content = [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]
        finish = "length" if len(ids) < len(done.token_ids) else "stop"
        message = {"role": "assistant", "content": "".join(tokens)}
        return {"message": message, "finish_reason": finish, "logprobs": {"content": content}, "token_ids": ids}

    def freely(self, session: Session, most: int) -> dict:
        """The likeliest tokens, whatever they are."""
        ids: list[int] = []
        tokenizer = self.reasoner.processor.tokenizer
        while len(ids) < most and (token := int(session.logits().argmax())) != tokenizer.eos_token_id:
            ids.append(token)
            session.feed([token])
        content = [{"token": tokenizer.decode([i]), "logprob": -0.5, "top_logprobs": []} for i in ids]
        message = {"role": "assistant", "content": tokenizer.decode(ids)}
        finish = "length" if len(ids) == most else "stop"
        return {"message": message, "finish_reason": finish, "logprobs": {"content": content}, "token_ids": ids}

    def session(self, views: np.ndarray, prompt: str) -> Session:
        known, session = self.begun
        if session is None or known != prompt:
            session = Session(self.reasoner.model, self.reasoner.inputs(views))
            session.logits()
            Handler.begun = prompt, session
        return copy.deepcopy(session, {id(session.model): session.model})

    def keeping(self, schema: dict, data: dict, most: int) -> dict:
        """An answer by the schema with the white space that it allows, cut off after `most` characters."""
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(data, schema)
        if self.path.startswith("/loose"):
            data["findings"]["haze"] |= {"present": True, "severity": 0, "factors": {}}
        text = json.dumps(data, indent=1)
        finish = "length" if len(text) > most else "stop"
        return {"message": {"role": "assistant", "content": text[:most]}, "finish_reason": finish, "logprobs": None}

    def scene(self, picture: np.ndarray, body: dict) -> dict:
        if self.path.startswith("/moody") and not body["temperature"]:
            body["max_tokens"] = 20
        return {"summary": f"Light of {picture.mean():.3f}.", "objects": ["a  ramp", "grain"]}

    def following(self, session: Session, top: int) -> dict:
        likely = torch.log_softmax(session.logits(), 0).topk(top)
        tokens = [self.reasoner.processor.tokenizer.decode([i]) for i in likely.indices.tolist()]
        pairs = [{"token": token, "logprob": p} for token, p in zip(tokens, likely.values.tolist())]
        content = [{**pairs[0], "top_logprobs": pairs}]
        return {"message": {"content": tokens[0]}, "finish_reason": "length", "logprobs": {"content": content}}


def in_sentences(data: dict) -> dict:
    """A Diagnosis as an untuned model words it."""
    data["scene"] |= {"summary": "A photograph.", "objects": ["a cup"]}
    for finding in data["findings"].values():
        finding["evidence"] = f"I see {finding['evidence']}."
    return data


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
