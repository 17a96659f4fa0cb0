"""The head of a model card: what a hub and a scanner of licences read of weights."""

from __future__ import annotations

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
