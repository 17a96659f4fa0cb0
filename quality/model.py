"""The quality model: a CLIP of any origin, the ladders' words, and adapters where labels were there to train them.

    from rnr.quality import load
    (found,) = load().score([pixels])
    found.technical, found.interval, found.ladder

One picture is one call of the vision tower on its own views: what it gets does not depend on what else is in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.quality.adapter import Adapter, Intervals
from rnr.quality.captions import LADDERS, LEVELS, title
from rnr.quality.network import picture_feature, text_features
from rnr.quality.views import Views

if TYPE_CHECKING:
    from rnr.degradation.protocols import Picture

SOURCE = "quality model"
NEAREST = 3  # phrases in `Score.words`; a choice
# Why a number is missing, where no head gives it.
MISSING = {
    "aesthetic": "no ratings of beauty were there to learn from; where you have AVA or AADB: "
    "rnr train quality --head aesthetic --dataset ava --data DIR -o FOLDER"
}


@dataclass(frozen=True)
class Score:
    """What a quality model says of one picture.

    Attributes:
        technical: 0-100, 100: nothing lost; None where it has no number.
        interval: The central 80% around it; None where nobody measured one.
        aesthetic: 0-100; None where the model has learned of none.
        ladder: Probability of each word from worst to best.
        words: The phrases nearest to the picture, the nearest first.
        missing: Why a number is missing, by name.
        model, model_hash: Who says so.
    """

    technical: float | None
    interval: tuple[float, float] | None = None
    aesthetic: float | None = None
    ladder: dict[str, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    model: str = ""
    model_hash: str = ""
    source: str = SOURCE

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Head:
    """One number and how it is read: the adapter, the ladders' texts, the intervals where they were measured."""

    adapter: Adapter
    ladder_L5D: torch.Tensor
    intervals: Intervals | None = None


class QualityModel:
    """Scores by one space of pictures and words.

    Args:
        clip: A `CLIPModel` or `SiglipModel`.
        tokenizer: Its tokenizer.
        views: How pictures are cut up for it.
        heads: By name, `technical` and `aesthetic`; without a technical one the ladders are read as they are.
        identity: `model`, `model_hash`.
        phrases: What the nearest words are chosen from; all kinds at all levels by default.
    """

    def __init__(
        self,
        clip: Any,
        tokenizer: Any,
        views: Views,
        heads: Mapping[str, tuple[Adapter, Intervals | None]] | None = None,
        identity: Mapping[str, Any] | None = None,
        phrases: Sequence[str] | None = None,
    ) -> None:
        self.clip, self.tokenizer, self.views = clip.eval().requires_grad_(False), tokenizer, views
        self.identity: Mapping[str, Any] = identity or {"model": "quality", "model_hash": ""}
        with torch.no_grad():
            ladder = self.ladders(len(LADDERS))
            self.phrases = list(phrases or all_phrases())
            self.phrase_PD = self.text(self.phrases)
        scale = float(clip.logit_scale)
        given = dict(heads or {})
        given.setdefault("technical", (Adapter(ladder.shape[-1], scale), None))
        self.heads = {name: Head(a.eval().requires_grad_(False), ladder, i) for name, (a, i) in given.items()}

    @classmethod
    def load(cls, name: str | Path = BUILT_IN, device: str = "cpu") -> QualityModel:
        """The CLIP of this name, with its features and words; `rnr.quality.load` also takes scorers that are none.

        Args:
            name: `built-in`; a folder that `rnr train quality` wrote; a folder or hub name of any CLIP or SigLIP
                (transformers' `CLIPModel`, `SiglipModel`), whose ladders are read without labels.
            device: auto, cpu, cuda, ...

        Raises:
            SetupError: For what is missing, broken, or no CLIP; it says what to do.

        Example:
            >>> import numpy as np
            >>> found = QualityModel.load("built-in").score([np.full((128, 128, 3), 128, np.uint8)])[0]
            >>> 0 <= found.technical <= 100
            True
        """
        from rnr.quality.loading import load

        found = load(name, device)
        if not isinstance(found, cls):
            raise SetupError(f"{name}: no CLIP, it has no features or words; score by rnr.quality.load({str(name)!r})")
        return found

    @property
    def missing(self) -> dict[str, str]:
        """Why a number is missing, by name."""
        return {name: why for name, why in MISSING.items() if name not in self.heads}

    def ladders(self, count: int = len(LADDERS)) -> torch.Tensor:
        """Text features (count, 5, D) of the first ladders."""
        return torch.stack([self.text(ladder.prompts) for ladder in LADDERS[:count]])

    @torch.no_grad()
    def text(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, D), of length 1."""
        return text_features(self.clip, self.tokenizer, texts)

    @torch.no_grad()
    def features(self, images: Iterable[Picture]) -> torch.Tensor:
        """(N, D), of length 1: one picture after the other, so that a batch changes nothing."""
        found = [picture_feature(self.clip, self.views.of(as_tensor(image).to(self.clip.device))) for image in images]
        return torch.nn.functional.normalize(torch.stack(found), dim=-1)

    def score(self, images: Iterable[Picture], /) -> list[Score]:
        """A score per image (uint8, uint16 or float in [0, 1], HWC)."""
        return [self.read(feature) for image in images for feature in self.features([image])]

    @torch.no_grad()
    def read(self, feature_D: torch.Tensor) -> Score:
        """What the heads say of one feature."""
        head = self.heads["technical"]
        rungs = head.adapter.rungs(feature_D[None], head.ladder_L5D)[0].tolist()
        numbers = {name: self._number(h, feature_D) for name, h in self.heads.items()}
        nearest = (self.phrase_PD @ feature_D).topk(NEAREST).indices.tolist()
        technical = numbers["technical"]
        return Score(
            technical=round(technical, 2),
            interval=head.intervals.around(technical) if head.intervals else None,
            aesthetic=round(numbers["aesthetic"], 2) if "aesthetic" in numbers else None,
            ladder={word: round(p, 4) for word, p in zip(LADDERS[0].words, rungs)},
            words=[self.phrases[i] for i in nearest],
            missing=self.missing,
            model=str(self.identity["model"]),
            model_hash=str(self.identity["model_hash"]),
        )

    def _number(self, head: Head, feature_D: torch.Tensor) -> float:
        return float(head.adapter(feature_D[None], head.ladder_L5D)[0].clamp(0, 100))


def all_phrases() -> list[str]:
    """Each kind at each level, and none."""
    from rnr.degradation.kind import kinds

    return ["no visible damage", *(f"{word} {title(name)}" for name in kinds() for _, word in LEVELS)]


def as_tensor(image: Picture) -> torch.Tensor:
    """(3, H, W) in [0, 1] of an array (H, W, 3) of uint8, uint16 or float, or a PIL image. ValueError for another."""
    array = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(f"a picture is an array (H, W, 3), not one of shape {array.shape}")
    largest = {"uint8": 255.0, "uint16": 65535.0}.get(str(array.dtype), 1.0)
    pixels = torch.from_numpy(np.ascontiguousarray(array).astype(np.float32)) / largest
    if not torch.isfinite(pixels).all():
        raise ValueError("a picture with NaN or infinity has no quality; repair it first")
    return pixels.permute(2, 0, 1).clamp(0, 1)
