"""The card of a weights folder, `reasoner.json`: what the weights know, and whether this release can use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnr.degradation.diagnosis import SCHEMA_VERSION
from rnr.degradation.kind import PHYSICS
from rnr.degradation.loading import BUILT_IN as NAME
from rnr.reasoner import detector
from rnr.reasoner.views import CROPS

CARD = "reasoner.json"
BUILT_IN = Path(__file__).parent / "weights"
FIELD = '","present":'  # one token of our tokenizer


def folder_of(name: str | Path) -> Path | None:
    """The weights folder of this name, checked; None for a name that is no folder here. Raises ValueError."""
    folder = BUILT_IN if str(name) == NAME else Path(name)
    if folder != BUILT_IN and not folder.exists():
        return None
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """ValueError where a folder holds no weights, or weights that this release cannot use."""
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"reasoner {folder}: no weights here; train them with `rnr train reasoner`, or name another folder"
        )
    card = read_card(folder)
    if not card and ours(folder):
        raise ValueError(
            f"reasoner {folder}: its card {CARD} is missing, without which nobody knows its kinds and its prompt; "
            "copy the whole weights folder again, or export it with python -m rnr.reasoner.export"
        )
    check_card(card, f"reasoner {folder}")


def ours(folder: Path) -> bool:
    """Whether the weights write our own tokens: a field of the Diagnosis is one, which no other tokenizer has."""
    path = folder / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > 1 << 20:  # ours has 16 kB, Qwen's 11 MB
        return False
    return FIELD in json.loads(path.read_text(encoding="utf-8")).get("model", {}).get("vocab", {})


def check_card(card: dict[str, Any], name: str) -> None:
    """ValueError where weights were made for another release."""
    crops, version = card.get("views", {}).get("crops", CROPS), card.get("schema_version", SCHEMA_VERSION)
    if crops != CROPS:
        raise ValueError(f"{name}: trained on {crops} crops a picture, this release makes {CROPS}")
    detector.check(card, name)
    if version != SCHEMA_VERSION:
        problem = f"writes diagnoses of schema version {version}, this release reads {SCHEMA_VERSION}"
        raise ValueError(f"{name}: {problem}; train it again or use the release it came with")


def physics_of(card: Mapping[str, Any]) -> int:
    """In which weights of this card speak: the first where it names kinds but no physics, today's where it is none."""
    return card.get("physics", 1 if card.get("kinds") else PHYSICS)


def read_card(folder: Path) -> dict[str, Any]:
    """What a weights folder says of itself; {} where it says nothing."""
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); copy the weights folder again") from None
