"""From a name to a quality model: the one way, for everybody.

scorer = rnr.quality.load("built-in")
scorer = rnr.quality.load("openai/clip-vit-base-patch16")
scorer = rnr.quality.load("pyiqa:musiq")
scorer = rnr.quality.load("reasoner:recipes/qwen3vl_8b.toml")
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.files import hash_of
from rnr.degradation.loading import BUILT_IN, device_named, explained, one_at_a_time

if TYPE_CHECKING:
    from rnr.degradation.protocols import Scorer
    from rnr.quality.model import QualityModel

NAMES = "built-in, a folder or hub name of a CLIP or SigLIP, pyiqa:METRIC, reasoner:NAME."  # for --help
FOLDER = Path(__file__).parent / "weights"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of openai/clip, where a checkpoint does not say
CLIP_SPREAD = (0.26862954, 0.26130258, 0.27577711)


def load(name: str | Path = BUILT_IN, device: str = "cpu") -> Scorer:
    """The scorer of this name.

    Args:
        name: `built-in`; a folder that `rnr train quality` wrote; a folder or hub name of any CLIP or SigLIP, whose
            ladders are read without labels; `pyiqa:METRIC` where pyiqa is installed; `reasoner:NAME` for a
            vision-language model, whose five words are read (Q-Align).
        device: auto, cpu, cuda, …

    Raises:
        SetupError: For what is missing or broken; it says what to do.

    Example:
        >>> load("built-in").identity["model"]  # doctest: +SKIP
        'built-in'
    """
    text = str(name)
    with one_at_a_time, explained(f"quality model {text}"):
        where = device_named(device)
        if text.startswith("pyiqa:"):
            from rnr.quality.others import PyiqaScorer

            return PyiqaScorer(text.partition(":")[2], where)
        if text.startswith("reasoner:"):
            from rnr.quality.others import LanguageScorer

            return LanguageScorer.load(text.partition(":")[2], where)
        return load_clip(name, where)


def load_clip(name: str | Path = BUILT_IN, device: str = "cpu") -> QualityModel:
    """The same for those who need features and words. Raises ValueError, OSError."""
    from rnr.quality.export import heads_of, read_card, views_of
    from rnr.quality.model import QualityModel

    folder = folder_of(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        what = "install the package again" if folder == FOLDER else "train them with `rnr train quality`"
        raise SetupError(f"quality model {folder}: no weights here; {what}")
    card = read_card(folder) if folder.is_dir() else {}
    clip, tokenizer = towers(str(folder if folder.is_dir() else name))
    identity = {"model": str(name), "model_hash": hash_of(folder.glob("*.safetensors")) if folder.is_dir() else ""}
    views = views_of(card) if card else foreign_views(clip, folder)
    heads = heads_of(folder, card) if card else None
    return QualityModel(clip.to(device), tokenizer, views, heads, identity)


def folder_of(name: str | Path) -> Path:
    """Where the weights of this name would lie on the disk."""
    return FOLDER if str(name) == BUILT_IN else Path(name)


def towers(name: str) -> tuple[Any, Any]:
    """Model and tokenizer as transformers loads them. ValueError for what is no CLIP. Raises OSError."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(name, dtype=torch.float32)
    if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
        raise ValueError(f"{name}: a {type(model).__name__} has no common space of pictures and words; name a CLIP")
    return model, AutoTokenizer.from_pretrained(name)


def foreign_views(clip: Any, folder: Path) -> Any:
    """Crops and overview in the size of a published checkpoint, colours as its preprocessor has them."""
    from rnr.quality.views import Views

    path, settings = folder / "preprocessor_config.json", {}
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
    mean, spread = (tuple(settings.get(key, d)) for key, d in (("image_mean", CLIP_MEAN), ("image_std", CLIP_SPREAD)))
    return Views(clip.config.vision_config.image_size, 2, 3, False, mean, spread)
