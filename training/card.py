"""What weights say of themselves: the head of a model card, as a hub and a scanner of licences read it, and their
training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnr.training.engine import Engine

LICENSE = "other"  # where a training does not say what its photographs allow
MEANING = "licence of the weights, as an SPDX identifier: what the photographs allow"


def head(license: str, library: str, task: str) -> str:
    """A card's YAML header.

    Args:
        license: SPDX identifier of the weights' licence, or `other`.
        library: What loads them: transformers, diffusers.
        task: What they do, by the hub's names: image-to-text, image-to-image.

    Example:
        >>> head("CC-BY-4.0", "diffusers", "image-to-image").splitlines()[2]
        'license: cc-by-4.0'
    """
    from huggingface_hub import ModelCardData

    tags = ["image-restoration", "reason-and-restore"]
    data = ModelCardData(license=license.lower(), library_name=library, pipeline_tag=task, tags=tags)
    return f"---\n{data.to_yaml()}\n---\n\n"


def card_of(
    engine: Engine, images: str | Path, count: int, command: str, figures: Mapping[str, float]
) -> dict[str, Any]:
    """What a training on crops says of itself, for the weights' file and the model card.

    Args:
        engine: As it stands at the training's end.
        images: Folder of the photographs; its name alone is kept.
        count: Their number.
        command: That repeats it, without samples, rate and seed.
        figures: Of validation.
    """
    from rnr.degradation.kind import PHYSICS

    run = engine.run
    return {"samples": engine.samples, "unit": "crops of 64x64 px", "hours": round(engine.seconds / 3600, 2),
            "data": f"{count} photographs of {Path(images).name}", "license": run.license,
            "command": f"{command} --samples {run.samples} --rate {run.rate:g} --seed {run.seed}",
            "precision": engine.precision, "physics": PHYSICS, "figures": dict(figures)}  # fmt: skip
