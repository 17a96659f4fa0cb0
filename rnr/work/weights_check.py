"""Whether weights are whole: their files against the hashes that are recorded of them, their cards, and a load.

A wheel has a record of the SHA-256 of each of its files, a checkout has git's index, and the hub's cache calls a large
file by its SHA-256. A folder of a user's own has none of these: there, whether it reads, is finite and loads is all.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import rnr
from rnr.degradation.errors import Error
from rnr.degradation.kind import PHYSICS
from rnr.work.models import quiet
from rnr.work.weights import REPAIR, ROOMS, Weights, class_in

DISTRIBUTION = "reason-and-restore"
FROM_GIT = "`git checkout -- FILE` brings that back; where it is meant to be another, `git add` it"
Digests = Mapping[Path, str]  # SHA-256, or what git calls a file by (SHA-1 of its head and contents), in hex


def problems_of(weights: Weights, recorded: Digests) -> list[str]:
    """What is wrong with weights, each with the file and the remedy.

    Args:
        weights: Of `rnr.work.weights`.
        recorded: What its files were to hash to (`recorded`); files that are not in it are not compared.
    """
    found = [weights.error] if weights.error else []
    files = [*weights.files, *([weights.card] if weights.card else [])]
    found += [text for path in files if (text := _changed(path, recorded, weights.source))]
    found += [] if weights.error else _card_problems(weights)
    if found or weights.source == "cached":  # a model of a hub may be larger than this machine
        return found
    return _unloadable(weights)


def missing(recorded: Digests) -> list[str]:
    """Files that the package should have and has not."""
    return [f"{path}: is missing; {REPAIR['built-in']}" for path in recorded if not path.exists()]


def recorded() -> dict[Path, str]:
    """The digests of all files of the package's weights, by the wheel's record or by git's index; {} without either."""
    return _by_wheel() or _by_git()


def _by_wheel() -> dict[Path, str]:
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    home = Path(rnr.__file__).resolve().parent
    own = {Path(str(file.locate())).resolve(): file.hash for file in files if _of_weights(str(file))}
    return {
        path: base64.urlsafe_b64decode(hash_.value + "=").hex()
        for path, hash_ in own.items()
        if hash_ and home in path.parents
    }


def _by_git() -> dict[Path, str]:
    root = Path(rnr.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return {}
    command = ["git", "-C", str(root), "ls-files", "--stage", "-z", *ROOMS]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    rows = [row.partition("\t") for row in listed.split("\0") if row]
    return {root / name: about.split()[1] for about, _, name in rows if _of_weights(name)}


def _of_weights(name: str) -> bool:
    return "/weights/" in name or name.endswith(".safetensors")


def _changed(path: Path, recorded: Digests, source: str) -> str:
    """That a file is not the one that it was; empty if it is, or if nobody knows."""
    real = path.resolve()
    by_name = source == "cached" and re.fullmatch("[0-9a-f]{64}", real.name)
    wanted = real.name if by_name else recorded.get(real)
    if wanted is None or wanted == digest(real, wanted):
        return ""
    remedy = FROM_GIT if len(wanted) == 40 else REPAIR[source]
    return f"{path}: is not the file that it was ({wanted[:16]} is recorded); {remedy}"


def digest(path: Path, like: str) -> str:
    """In hex, of the length of another: SHA-256, or git's of a blob."""
    content = path.read_bytes()
    if len(like) == 40:
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _card_problems(weights: Weights) -> list[str]:
    """What a card lacks, or says of another file or another release."""
    path, remedy = weights.files[0], REPAIR[weights.source]
    if weights.part == "expert" and path.stem != weights.kinds[0]:
        return [f"{path}: holds the expert of {weights.kinds[0]}; give it that name, or {remedy}"]
    if (weights.physics or 0) > PHYSICS:
        return [f"{path}: learned physics {weights.physics}, this release has {PHYSICS}; use the release it came with"]
    if weights.card is None and not weights.samples:
        return [f"{path}: has no card, neither inside nor beside it; {remedy}, with its JSON files"]
    if weights.part in ("reasoner", "quality") and not (path.parent / "tokenizer.json").is_file():
        # transformers makes an empty one then, and only the first text that is read fails
        return [f"{path.parent}: its tokenizer.json is missing; {remedy}"]
    heads = [each for each in weights.files if each.name == "heads.safetensors"]
    if heads and weights.part != "quality":
        return [f"{path.parent}: a quality model without its card quality.json; {remedy}"]
    return []


def _unloadable(weights: Weights) -> list[str]:
    """What goes wrong when its numbers are read and it is loaded as it is for use."""
    if infinite := [path for path in weights.files if not _finite(path)]:
        return [f"{path}: holds numbers that are not finite; {REPAIR[weights.source]}" for path in infinite]
    folder = weights.files[0].parent
    quiet()
    load = LOADERS.get(weights.part) or _loader_around(folder)
    try:
        load(weights.files[0])
    except (Error, ValueError, OSError, RuntimeError, KeyError) as error:
        text = " ".join(str(error).split())
        return [text if str(folder) in text else f"{folder}: cannot be loaded ({text}); {REPAIR[weights.source]}"]
    return []


def _finite(path: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    return all(bool(torch.isfinite(tensor).all()) for tensor in load_file(str(path)).values())


def _detector(path: Path) -> object:
    from rnr.reasoner.detector import load_detector

    return load_detector(path)


def _reader(path: Path) -> object:
    from rnr.reasoner.instructions import load

    return load(path.parent)


def _expert(path: Path) -> object:
    from rnr.restorer.expert import load_expert

    return load_expert(path)


def _reasoner(path: Path) -> object:
    from rnr.reasoner import load

    return load(path.parent)


def _quality(path: Path) -> object:
    from rnr.quality import load

    return load(path.parent)


def _autoencoder(path: Path) -> object:
    from rnr.restorer.latent import Autoencoder

    return Autoencoder.from_pretrained(path.parent)


def _unified(path: Path) -> object:
    from rnr.unified import load

    return load(path.parent)


def _restorer(path: Path) -> object:
    from rnr.restorer import load

    homes = [folder for folder in path.parents[:2] if (folder / "model_index.json").is_file()]
    return load(homes[0] if homes else path.parent)


LOADERS: Mapping[str, Callable[[Path], object]] = {
    "detector": _detector,
    "instructions": _reader,
    "expert": _expert,
    "reasoner": _reasoner,
    "quality": _quality,
    "autoencoder": _autoencoder,
    "unified": _unified,
}


def _loader_around(folder: Path) -> Callable[[Path], object]:
    """Of what is no part of ours by name: a reasoner of a family that transformers knows, a CLIP, or a restorer's."""
    name = class_in(folder)
    if name.endswith("ForConditionalGeneration"):
        return _reasoner
    return _quality if name in ("CLIPModel", "SiglipModel") else _restorer


def compared(weights: Sequence[Weights], recorded: Digests) -> int:
    """How many have files whose hashes are known beforehand."""
    return sum(any(path.resolve() in recorded for path in each.files) for each in weights)
