"""Images as users of diffusers hand them in and want them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image


def images_of(image: Any) -> Iterator[np.ndarray]:
    """float32 (H, W, 3) in [0, 1] of a PIL image, an array, a tensor, a batch, or a list of them.

    Raises:
        ValueError: For values that are not finite, or no RGB shape.
        TypeError: For anything else.
    """
    if isinstance(image, list | tuple):
        for one in image:
            yield from images_of(one)
    elif isinstance(image, Image.Image):
        yield from images_of(np.asarray(image.convert("RGB")))
    elif isinstance(image, torch.Tensor):
        yield from images_of(image.detach().movedim(-3, -1).cpu().numpy())
    elif isinstance(image, np.ndarray):
        if image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise ValueError(f"an image is (H, W, 3) or (3, H, W) as a tensor, not {tuple(image.shape)}")
        scale = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
        pixels = image.astype(np.float32) / np.float32(scale)
        if bad := int((~np.isfinite(pixels)).sum()):
            raise ValueError(f"the image holds {bad} values that are not finite")
        yield from pixels if image.ndim == 4 else [pixels]
    else:
        raise TypeError(f"an image is a PIL image, an array or a tensor, not {type(image).__name__}")


def as_type(pixels: Sequence[np.ndarray], output_type: str) -> Any:
    """float32 (H, W, 3) images as "pil", "np" or "pt"; arrays of one size as a batch. ValueError for another type."""
    if output_type == "pil":
        return [Image.fromarray((one.clip(0, 1) * 255).round().astype(np.uint8)) for one in pixels]
    if output_type not in ("np", "pt"):
        raise ValueError(f"output_type is pil, np or pt, not {output_type!r}")
    made: list[Any] = (
        list(pixels) if output_type == "np" else [torch.from_numpy(one).permute(2, 0, 1) for one in pixels]
    )
    if len({one.shape for one in made}) > 1:
        return made
    return np.stack(made) if output_type == "np" else torch.stack(made)
