"""Pictures as programs have them: paths, PIL images, arrays, tensors, bytes, file objects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rnr.images import codecs
from rnr.images.files import MAX_MEGAPIXELS, Picture, PictureError, naming, read_picture, read_stream_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = "a path, a PIL image, an array, a tensor, bytes or a file object"
_SLACK = 1e-3  # beyond 0..1, of floats that were computed; more is another scale


def picture_of(source: object, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """One picture.

    Args:
        source: A path, a PIL image, bytes, a file object, a Picture; an array (H, W) or (H, W, C), or a tensor
            (C, H, W), (1, C, H, W) or (H, W, C), with C 1 to 4 in RGB order, of uint8, uint16 or float in [0, 1].
            Floats become 16 bits.
        max_megapixels: Refuse larger ones.

    Raises:
        PictureError: For one of these that cannot be used: NaN and infinity are counted.
        TypeError: For anything else.
    """
    import numpy as np
    from PIL import Image

    if isinstance(source, Picture):
        return source
    if isinstance(source, str | os.PathLike):
        return read_picture(os.fspath(source), max_megapixels)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with naming(getattr(source, "filename", "") or "the PIL image"), codecs.decoding():
            return Picture(**codecs.decode(source, None, max_megapixels))
    if is_tensor(source):
        return _from_array(_of_tensor(source))
    if isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        return read_stream_of(source, max_megapixels)
    raise TypeError(f"a picture is {KINDS}, not {type(source).__name__}")


def name_of(source: object) -> str:
    """What messages and records call it."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the picture"


def several(source: object) -> list[object] | None:
    """The pictures of a list, a tuple or a batch (B, H, W, C), (B, C, H, W); None for one picture."""
    if isinstance(source, list | tuple):
        return list(source)
    batch = getattr(source, "ndim", 0) == 4 and (is_tensor(source) or hasattr(source, "__array__"))
    return list(source) if batch else None  # type: ignore[call-overload]


def is_tensor(source: object) -> bool:
    """Whether it is one of torch's, without importing torch."""
    return any(each.__module__ == "torch" and each.__name__ == "Tensor" for each in type(source).__mro__)


def _of_tensor(tensor: Any) -> NDArray[Any]:
    """(H, W, C): the channels are where 1, 3 or 4 stands, and first where both could be."""
    import torch

    tensor = tensor.detach().cpu()
    tensor = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if tensor.ndim == 3 and tensor.shape[0] in (1, 3, 4):
        tensor = tensor.movedim(0, -1)
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()


def _from_array(array: NDArray[Any]) -> Picture:
    import numpy as np

    array = _sixteen_bits(array) if array.dtype.kind == "f" else array
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise TypeError(f"an array picture is uint8, uint16 or float in [0, 1], not {array.dtype}: convert it first")
    samples = array[..., None] if array.ndim == 2 else array
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= 4 or samples.size == 0:
        raise PictureError("the array", f"shape {array.shape} is no picture", "pass (H, W) or (H, W, C) with C 1 to 4")
    samples = samples.astype(samples.dtype.newbyteorder("="))
    channels = samples.shape[2]
    pixels = samples[..., :3] if channels > 2 else np.repeat(samples[..., :1], 3, axis=2)
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    names = ("L", "LA", "RGB", "RGBA") if samples.dtype.itemsize == 1 else ("I;16", "LA;16", "RGB;16", "RGBA;16")
    return Picture(np.ascontiguousarray(pixels), alpha, mode=names[channels - 1])


def _sixteen_bits(array: NDArray[Any]) -> NDArray[np.uint16]:
    """Floats in [0, 1] on the grid of 16 bits. Raises PictureError with the count of values that cannot be."""
    import numpy as np

    values = array.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        count = f"{bad} value{'s' * (bad > 1)} of {values.size}"
        raise PictureError("the array", f"{count} are NaN or infinite", "replace them, with numpy.nan_to_num for one")
    beyond = int(np.count_nonzero((values < -_SLACK) | (values > 1 + _SLACK)))
    if beyond:
        problem = f"{beyond} values of {values.size} lie outside 0..1 ({values.min():g}..{values.max():g})"
        raise PictureError("the array", problem, "scale it to 0..1, or pass uint8")
    return np.rint(values.clip(0, 1) * 65535).astype(np.uint16)
