"""Which weights lie here, and what they say of themselves: those of the package, of a folder, and of the hub's cache.

Everything is read: shapes from the header of each safetensors file, the rest from its metadata or from the card
(JSON) beside it. Nothing is loaded, so that a list takes no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import rnr
from rnr.degradation.errors import SetupError
from rnr.degradation.files import hash_of

ROOMS = ("reasoner", "quality", "restorer", "unified")  # those whose folders hold weights
CARDS = {
    "reasoner.json": "reasoner",
    "quality.json": "quality",
    "unified.json": "unified",
}  # and what they are cards of
NAMED_INSIDE = {"detector": "detector", "reader": "instructions"}  # keys of metadata that hold a card
STATE = "checkpoint.safetensors"  # of a training that may go on, with its optimiser: no weights to use
TRAINING = "training.json"  # what a restorer or an autoencoder says of its training, beside it or a folder above
AGAIN = "copy it again"
REPAIR = {
    "built-in": "install the package again",
    "folder": AGAIN,
    "cached": "delete it there, and it is fetched again",
}

Json = Mapping[str, Any]  # as a card holds it


@dataclass(frozen=True)
class Weights:
    """One model: a file, or the files of a folder with a common card.

    Attributes:
        source: built-in, folder, or cached.
        room: Where it belongs; of a cached model its name on the hub.
        part: What it is: reasoner, detector, expert, autoencoder, quality, ...
        files: Its safetensors files.
        hash: First 16 hex digits of the SHA-256 of its file, or of its files one after the other.
        kinds: Kinds of degradation that it knows, where it says so.
        physics: Version of the forward models that it learned from.
        samples: In units of its training (pictures, crops), all trainings together.
        hours: Of training.
        figures: As its card has them.
        error: Why a file or a card cannot be read, with the remedy; empty if they can.
    """

    source: str
    room: str
    part: str
    files: tuple[Path, ...]
    hash: str
    bytes: int
    parameters: int | None = None
    kinds: tuple[str, ...] = ()
    physics: int | None = None
    samples: int | None = None
    hours: float | None = None
    license: str | None = None
    figures: Json = field(default_factory=dict)
    card: Path | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """What it is, in words: an expert has its kind."""
        return f"{self.part} {self.kinds[0]}" if self.part == "expert" and self.kinds else self.part

    def as_json(self) -> dict[str, Any]:
        paths = {"files": [str(path) for path in self.files], "card": self.card and str(self.card)}
        return asdict(self) | paths


def built_in() -> list[Weights]:
    """All weights that came with the package."""
    home = Path(rnr.__file__).parent
    return [each for room in ROOMS for each in weights_in(home / room, "built-in", room)]


def of_folder(path: Path) -> list[Weights]:
    """All weights of a folder and of those in it, or of one file. Raises SetupError where there are none."""
    found = weights_in(path, "folder", path.name)
    if not found:
        raise SetupError(
            f"{path}: no weights (.safetensors) here; name a folder that `rnr train` wrote, or a file of it"
        )
    return found


def cached(cache: Path | None = None) -> list[Weights]:
    """All models in a cache of the hub's client (None: where it keeps it), whoever fetched them."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(cache).repos
    except CacheNotFound:
        return []
    models = sorted((each for each in repositories if each.repo_type == "model"), key=lambda each: each.repo_id)
    return [
        each
        for model in models
        for revision in model.revisions
        for each in weights_in(revision.snapshot_path, "cached", model.repo_id)
    ]


def weights_in(root: Path, source: str, room: str) -> list[Weights]:
    """One for each model at or below a path."""
    return [_described(files, source, room) for files in _grouped(root)]


def _grouped(root: Path) -> Iterator[tuple[Path, ...]]:
    """The files of each model: one that carries its card stands for itself, the others of a folder belong together."""
    paths = [root] if root.is_file() else sorted(root.rglob("*.safetensors"))
    groups: dict[Path, list[Path]] = {}
    for path in (path for path in paths if path.name != STATE):
        own = _card_inside(path) or not _folder_card(path.parent)
        groups.setdefault(path if own else path.parent, []).append(path)
    yield from map(tuple, groups.values())


def _described(files: tuple[Path, ...], source: str, room: str) -> Weights:
    size = sum(path.stat().st_size for path in files)
    bare = Weights(source, room, files[0].stem, files, hash_of(files), size)
    try:
        part, about, card = _about(files[0])
        parameters = sum(map(parameters_of, files))
    except ValueError as error:
        return Weights(**vars(bare) | {"error": f"{error}; {REPAIR[source]}"})
    return Weights(**vars(bare) | {"parameters": parameters, "part": part, "card": card} | about)


def _about(path: Path) -> tuple[str, dict[str, Any], Path | None]:
    """What a file is, what is said of its training, and the card that says it if that lies beside it."""
    if inside := _card_inside(path):
        part, said = inside
        return part, _facts(said), None
    if (card := _folder_card(path.parent)) is None:
        return path.stem, {}, None
    said, part = read_json(card), CARDS.get(card.name) or class_in(path.parent) or path.stem
    return part, _facts(said) | _license_of(path.parent, said), card


def _card_inside(path: Path) -> tuple[str, dict[str, Any]] | None:
    """What a file of one network is and says in its own metadata; None where it has no card or cannot be read."""
    try:
        entries = header(path).get("__metadata__", {})
        for key, part in NAMED_INSIDE.items():
            if key in entries:
                return part, json.loads(entries[key])
        held = json.loads(entries.get("about", "{}"))
        config, card = (held.get(name) or json.loads(entries.get(name, "{}")) for name in ("config", "card"))
    except ValueError:
        return None
    kind = config.get("kind")
    return (("expert", card | {"kinds": [kind]}) if kind else (path.stem, card)) if card else None


def _folder_card(folder: Path) -> Path | None:
    """The JSON file that says what a folder's weights are; of a checkpoint by others its config."""
    beside = [folder / name for name in (*CARDS, TRAINING)]
    around = [folder.parent / TRAINING, folder / "config.json"]
    return next((path for path in (*beside, *around) if path.is_file()), None)


def class_in(folder: Path) -> str:
    """The class that a folder's config.json names; AutoencoderKL and its like are called autoencoder."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or []), ""))
    return "autoencoder" if name.startswith(("Autoencoder", "VQModel")) else name


def _facts(card: Json) -> dict[str, Any]:
    """The same few facts of every sort of card."""
    stages = card.get("training", card)
    stages = [stages] if isinstance(stages, Mapping) else list(stages) or [{}]
    last = stages[-1]
    samples = [stage[name] for stage in stages for name in ("samples", "samples_before") if name in stage]
    hours = [stage["hours"] for stage in stages if "hours" in stage]
    return {
        "kinds": tuple(card.get("kinds", ())),
        "physics": card.get("physics", last.get("physics")),
        "samples": sum(samples) if samples else None,
        "hours": sum(hours) if hours else None,
        "license": last.get("license"),
        "figures": _mapping(last.get("figures", last.get("validation", {}))),
    }


def _mapping(figures: Any) -> Json:
    """Figures that a training gave as words have no names."""
    return figures if isinstance(figures, Mapping) else {"": figures}


def _license_of(folder: Path, card: Json) -> dict[str, str]:
    """Of a checkpoint by others, by the head of its README."""
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    if card.get("training") or "license" in card or not path.is_file():
        return {}
    license = ModelCard.load(path).data.to_dict().get("license")
    return {"license": str(license)} if license else {}


def header(path: Path) -> dict[str, Any]:
    """The JSON at the head of a safetensors file: metadata, and shapes by name. Raises ValueError for another file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            return {"__metadata__": file.metadata() or {}, **shapes}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as safetensors ({error})") from None


def parameters_of(path: Path) -> int:
    """Numbers in a safetensors file. Raises ValueError."""
    return sum(prod(shape) for name, shape in header(path).items() if name != "__metadata__")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises ValueError that names it."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path}: holds no JSON object")
    return held
