"""Scene text from a teacher: any vision-language model behind an OpenAI-compatible server (`rnr data build --teacher`).

It is shown the clean region, as the labels of the scene are, and writes the summary and the objects; of the damage,
which is known, it is asked nothing. An answer that breaks the schema is asked for again; then the text stays null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.schema import OBJECTS, SUMMARY
from rnr.reasoner.chat import Client, ServerError, served_by
from rnr.reasoner.client import data_url

PROMPT = "describe_scene"
SCHEMA = {"type": "object", "properties": {"summary": SUMMARY, "objects": OBJECTS},
          "required": ["summary", "objects"], "additionalProperties": False}  # fmt: skip
TRIES = 3  # answers, the first one greedy
MOST_TOKENS = 512
AT_ONCE = 8  # requests of one worker


class Teacher:
    """Asks the model of a server about pictures; of scenes here, of their quality in `rnr.quality.teacher`.

    Args:
        url: The server's address.
        served: The model's name there, the first by default.
        client: Options of `Client`.

    Raises:
        ServerError: Where the server is down.
    """

    prompt_name, answers, schema = PROMPT, "scene", SCHEMA

    def __init__(self, url: str, served: str | None = None, **client: Any):
        self.client, self.prompt = Client(url, **client), prompts.load(self.prompt_name)
        self.served: str = served_by(self.client, served)["id"]

    @property
    def identity(self) -> str:
        """What the text depends on; not the address."""
        return f"{self.served}, prompt {self.prompt.name} {self.prompt.version}"

    def tell(self, regions: Sequence[np.ndarray], diagnoses: Sequence[Diagnosis], seed: int) -> list[Diagnosis]:
        """The diagnoses with the scenes of these regions (uint8 HWC) described, in their order. Raises ServerError."""
        described = self.ask_all(regions, [{}] * len(regions), seed)
        scenes = [d.scene.model_copy(update=text) for d, text in zip(diagnoses, described)]
        return [d.model_copy(update={"scene": scene}) for d, scene in zip(diagnoses, scenes)]

    def ask_all(
        self, pictures: Sequence[np.ndarray], values: Sequence[Mapping[str, Any]], seed: int
    ) -> list[dict[str, Any]]:
        """`ask` of each picture (uint8 HWC), several at a time. ServerError also if no answer keeps to the schema."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self.ask, pictures, values, range(seed, seed + len(pictures))))
        if not any(answers):
            problem = f"none of {len(answers)} answers keeps to the schema of a {self.answers}"
            raise ServerError(f"{self.client.url}: {problem}; the server needs structured outputs (a JSON schema)")
        return answers

    def ask(self, picture_HWC: np.ndarray, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The fields of the answer about one picture; {} where none keeps to the schema. Raises ServerError.

        `values`: what the prompt is filled with.
        """
        picture = {"type": "image_url", "image_url": {"url": data_url(picture_HWC)}}
        asked = {"role": "user", "content": [picture, {"type": "text", "text": self.prompt.fill(**values)}]}
        schema = {"name": self.answers, "schema": self.schema, "strict": True}
        body = {"model": self.served, "messages": [asked], "max_tokens": MOST_TOKENS,
                "response_format": {"type": "json_schema", "json_schema": schema}}  # fmt: skip
        for attempt in range(TRIES):
            drawn = {"temperature": 0.7 if attempt else 0.0, "seed": (seed * TRIES + attempt) % 2**31}
            if text := self.read(self.client.chat(body | drawn)):
                return text
        return {}

    def read(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an answer; {} where it breaks the schema."""
        return scene_text(choice)


def scene_text(choice: Mapping[str, Any]) -> dict[str, Any]:
    """{summary, objects} of an answer, white space made plain; {} where it was cut off or breaks the schema."""
    try:
        data = json.loads(choice["message"]["content"] or "", strict=False)
        summary, *objects = (" ".join(str.split(text)) for text in (data["summary"], *data["objects"]))
        "".join((summary, *objects)).encode()
    except (ValueError, KeyError, TypeError):  # also half of a surrogate pair
        return {}
    longest = max(map(len, objects), default=0)
    fits = 0 < len(summary) <= SUMMARY["maxLength"] and longest <= OBJECTS["items"]["maxLength"]
    if choice.get("finish_reason") == "length" or not fits or not all(objects) or len(objects) > OBJECTS["maxItems"]:
        return {}
    return {"summary": summary, "objects": list(dict.fromkeys(objects))}
