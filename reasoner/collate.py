"""Rows to tensors for training: the same tokens and pixels as the processor makes, without its per-picture work."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.reasoner.grammar import Segment, segments

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

IGNORED = -100
SKELETON = 0.1  # weight of text that is not chosen: learned soon, and it must not drown the values
MISREAD = 0.2  # share of evidence words that are shown wrong in training: about as many as are misread in use
FALSE = 0.03  # share of the evidence of absent kinds that is shown wrong by any distance; a choice
WEIGHTS = {"severity": 2.0, "present": 2.0, "evidence": 1.0, "technical": 1.0}
SCENE, FACTOR = 0.3, 1.0
MOST_PIECES = 50_000  # texts whose tokens are remembered
HIDDEN = 0.3  # share of pictures of which training shows the last drawn view alone; a choice
FEW = 8  # a scale has more values
SPREAD = 0.025  # of a scale: how far the learned number is spread about the true one


def weight_of(path: str | None) -> float:
    """Weight of a token in the loss, by the field it writes."""
    if path is None:
        return SKELETON
    return SCENE if path.startswith("scene.") else WEIGHTS.get(path.rsplit(".", 1)[-1], FACTOR)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("-").isdigit()


def messages(prompt: str, pictures: int) -> list[dict]:
    """One user turn: the views, then the words."""
    content = [{"type": "image"}] * pictures + [{"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]


def patchify(views_NCHW: torch.Tensor, patch: int = 16, merge: int = 2) -> torch.Tensor:
    """Views in [-1, 1] to Qwen3-VL's rows of patches (N * patches, 3 * 2 * patch * patch), merge blocks together."""
    count, channels, height, width = views_NCHW.shape
    blocks = views_NCHW.view(
        count, channels, height // patch // merge, merge, patch, width // patch // merge, merge, patch
    )
    blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return blocks.reshape(-1, channels * 2 * patch * patch)


def misread(options: Sequence[str], text: str, rng: random.Random) -> str:
    """A word of evidence as a reasoner may have read it: a neighbour on its scale.

    Nothing further off: it hardly happens, and a model that is shown far misreadings of what is there believes no
    evidence at all. Of what is not there any word is shown now and then (`FALSE`): evidence alone makes no finding.
    """
    place = options.index(text) + rng.choice((-1, 1))
    return options[min(max(place, 0), len(options) - 1)]


def severities(diagnoses: Sequence[Diagnosis]) -> torch.Tensor:
    """True severities (B, K) in 0..1, 0 = absent, in the order of `reasoning_order`."""
    rows = [[(d.findings[kind].severity or 0) / 100 for kind in reasoning_order()] for d in diagnoses]
    return torch.tensor(rows)


class Collator:
    """Rows of `rnr.reasoner.data` to a batch: input_ids, labels (completion only), loss_weights, pixel_values, grids.

    Rows with the text of another picture (`own`, see `rnr.reasoner.data.counterfactual_batch`) are shown its evidence
    and do not learn to say it; rows of which nobody knows what they show (`looked`) do not learn its words.

    Args:
        processor: Of the reasoner.
        doubt: Share 0..1 of the evidence words that are shown misread to what follows them, while the label stays
            true. A model that was only shown true evidence believes its own misreadings.
        spread: Numbers are learned as a gaussian about the true one, its deviation this share of the scale (HL-Gauss,
            Farebrother et al. 2024): 57 is a better answer than 27 where 58 is true. The batch then has soft_places
            (N, 3: row, position, token) and soft_shares (N,).
        severities: The batch has the true severities (B, K) in 0..1 for `rnr.reasoner.probe`, too, and, where all rows
            have them, the `traces` of its tokens (B, 4, 16, K).
        hidden: Share 0..1 of the pictures of which all views but the last are grey (ModDrop, Neverova et al. 2015).
            What the last one shows is what the others explain already, so that 12,800 samples taught nothing of it:
            read alone, it gave an area under the curve of 0.59, where the detector behind it has 0.94.

    Example:
        >>> import numpy as np
        >>> from rnr.reasoner import load_local, make_rows
        >>> from rnr.degradation import Diagnosis, truths
        >>> from rnr.degradation.photographs import to_tensor
        >>> from rnr.degradation.synthesize import Mixture
        >>> reasoner, image = load_local(), to_tensor(np.full((128, 128, 3), 128, np.uint8))
        >>> rows = make_rows(image, truths(image, image, Mixture([], 1)), reasoner.prompt_text)
        >>> batch = Collator(reasoner.processor)(rows)
        >>> batch["input_ids"].shape == batch["labels"].shape == batch["loss_weights"].shape  # (B, tokens)
        True
    """

    def __init__(
        self, processor: Any, doubt: float = 0.0, spread: float = 0.0, severities: bool = False, hidden: float = 0.0
    ):
        self.processor, self.tokenizer, self.doubt, self.spread = processor, processor.tokenizer, doubt, spread
        self.severities, self.hidden = severities, hidden
        images = processor.image_processor
        self.patch, self.merge = images.patch_size, images.merge_size
        self._pieces: dict[str, list[int]] = {}
        self._softened: dict[tuple[str, int, str], list[dict[int, float]]] = {}

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        diagnoses = [Diagnosis.model_validate_json(row["completion"]) for row in rows]
        encoded = [self.encode(row, diagnosis) for row, diagnosis in zip(rows, diagnoses)]
        longest = max(len(ids) for ids, _, _, _ in encoded)
        shape = (len(rows), longest)
        input_ids = torch.full(shape, self.tokenizer.pad_token_id)
        labels, weights = torch.full(shape, IGNORED), torch.zeros(shape)
        mask = torch.zeros(shape, dtype=torch.long)
        soft: list[tuple[int, int, int, float]] = []
        for i, (ids, true, weight, places) in enumerate(encoded):
            input_ids[i, : len(ids)] = torch.tensor(ids)
            labels[i, : len(ids)] = torch.tensor(true)
            mask[i, : len(ids)] = 1
            weights[i, : len(ids)] = torch.tensor(weight)
            soft += [(i, at, token, share) for at, shares in places.items() for token, share in shares.items()]
        labels = torch.where(weights > 0, labels, IGNORED)
        kinds = (input_ids == self.processor.image_token_id).long()
        batch = {"input_ids": input_ids, "attention_mask": mask, "labels": labels, "loss_weights": weights}
        if self.spread:
            batch["soft_places"] = torch.tensor([entry[:3] for entry in soft]).reshape(-1, 3)
            batch["soft_shares"] = torch.tensor([entry[3] for entry in soft])
        if self.severities:
            written = severities(diagnoses).tolist()
            batch["severities"] = torch.tensor([row.get("own") or true for row, true in zip(rows, written)])
            traced = [row.get("traces") for row in rows]
            if all(trace is not None for trace in traced):
                batch["traces"] = torch.from_numpy(np.stack([np.asarray(trace, np.float32) for trace in traced]))
        return batch | {"mm_token_type_ids": kinds} | self.pixels([self._views(row) for row in rows])

    def _views(self, row: dict) -> np.ndarray:
        """A row's views (V, S, S, 3), all but the last grey where they are hidden."""
        views = np.asarray(row["images"])
        if random.Random(f"hidden {row['completion']}").random() >= self.hidden:
            return views
        views = views.copy()
        views[:-1] = 128
        return views

    def pixels(self, pictures: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """uint8 views (V, S, S, 3) of each picture to pixel_values and image_grid_thw."""
        views = torch.from_numpy(np.concatenate([np.asarray(views) for views in pictures])).permute(0, 3, 1, 2)
        grid = torch.tensor([[1, views.shape[2] // self.patch, views.shape[3] // self.patch]]).expand(len(views), 3)
        return {"pixel_values": patchify(views.float() / 127.5 - 1, self.patch, self.merge), "image_grid_thw": grid}

    def encode(
        self, row: dict, diagnosis: Diagnosis
    ) -> tuple[list[int], list[int], list[float], dict[int, dict[int, float]]]:
        """Token ids of prompt and completion as shown, the true ones, the loss weight of each, and, by position, the
        shares of tokens where a number is spread."""
        ids = self.prompt_ids(row["prompt"], np.shape(row["images"])[:3])
        true, weights = list(ids), [0.0] * len(ids)
        soft: dict[int, dict[int, float]] = {}
        rng = random.Random(zlib.crc32(row["completion"].encode()))  # the row decides, so that a resumed run repeats it
        for segment in segments(diagnosis):
            piece = shown = self._piece(segment.text)
            weight = weight_of(segment.path)
            if segment.path and segment.path.endswith(".evidence"):
                shown = self._shown(segment, diagnosis, rng) if row.get("own") is None else piece
                weight = weight if row.get("own") is None else 0.0
            if segment.path and segment.path.startswith("scene.objects"):
                weight = weight if row.get("looked") else 0.0
            if self.spread and segment.path and len(segment.options) > FEW and _is_number(segment.text):
                soft |= {len(ids) + i: shares for i, shares in enumerate(self._soft(segment.options, segment.text))}
            ids, true = ids + shown, true + piece
            weights += [weight] * len(piece)
        end = [self.tokenizer.eos_token_id]
        return ids + end, true + end, weights + [SKELETON], soft

    def _shown(self, segment: Segment, diagnosis: Diagnosis, rng: random.Random) -> list[int]:
        """The tokens of a word of evidence as what follows sees them: right, misread, or false."""
        absent = not diagnosis.findings[str(segment.path).split(".")[1]].present
        wrong = segment.text
        if rng.random() < self.doubt:
            wrong = misread(segment.options, segment.text, rng)
        elif self.doubt and absent and rng.random() < FALSE:
            wrong = rng.choice(segment.options)
        shown, piece = self._piece(wrong), self._piece(segment.text)
        return shown if len(shown) == len(piece) else piece

    def _soft(self, options: tuple[str, ...], text: str) -> list[dict[int, float]]:
        """For each token of the number, which tokens could stand there, given the true ones before it."""
        key = (options[0], len(options), text)
        if key not in self._softened:
            truth, width = options.index(text), max(0.5, self.spread * len(options))
            near = range(max(0, truth - round(4 * width)), min(len(options), truth + round(4 * width) + 1))
            known = [(self._piece(options[i]), math.exp(-(((i - truth) / width) ** 2) / 2)) for i in near]
            true, result = self._piece(text), []
            for place in range(len(true)):
                shares: dict[int, float] = {}
                for tokens, weight in known:
                    if len(tokens) > place and tokens[:place] == true[:place]:
                        shares[tokens[place]] = shares.get(tokens[place], 0.0) + weight
                total = sum(shares.values())
                result.append({token: share / total for token, share in shares.items()})
            self._softened[key] = result
        return self._softened[key]

    def prompt_ids(self, prompt: str, shape: tuple[int, ...]) -> list[int]:
        """The chat up to the answer, each view's placeholder repeated for its tokens."""
        count, height, width = shape
        text = self.processor.apply_chat_template(messages(prompt, count), add_generation_prompt=True)
        pad, side = self.processor.image_token, self.patch * self.merge
        return self._piece(text.replace(pad, pad * (height // side * (width // side))))

    def _piece(self, text: str) -> list[int]:
        if text not in self._pieces:
            if len(self._pieces) > MOST_PIECES:  # a teacher's texts are all different
                self._pieces.clear()
            self._pieces[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self._pieces[text]
