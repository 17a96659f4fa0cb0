"""Qwen3-VL's processor without torchvision: transformers' own needs it only for videos, which nothing here reads."""

from __future__ import annotations

from transformers import AutoProcessor, ProcessorMixin, Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLProcessor

from rnr.reasoner.model import MERGE, PATCH

MARKS = ("image", "video", "vision_start", "vision_end")
PADS = {"image": "<|image_pad|>", "video": "<|video_pad|>"}


class PictureProcessor(Qwen3VLProcessor):
    """Tokenizer + image processor of one Qwen3-VL, for pictures only. Saves and loads like any processor."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        for mark in MARKS:
            token = PADS.get(mark, f"<|{mark}|>")
            setattr(self, f"{mark}_token", token)
            setattr(self, f"{mark}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


def build_processor(tokenizer) -> PictureProcessor:
    """A processor that leaves views as they are (their sides are multiples of patch x merge), pixels to [-1, 1]."""
    side = PATCH * MERGE
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": side * side, "longest_edge": 4096 * side * side},
    )
    return PictureProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def register() -> bool:
    """Let AutoProcessor build a Qwen3-VL processor where torchvision is missing; where it works, keep the original.

    Returns whether it was missing.
    """
    try:
        import torchvision  # noqa: F401
    except Exception:  # a broken torchvision raises RuntimeError, not ImportError
        AutoProcessor.register(Qwen3VLConfig, PictureProcessor, exist_ok=True)
        return True
    return False


def load_processor(path: str):
    """The processor beside a checkpoint, whichever class it was saved as. Raises OSError where there is none."""
    return PictureProcessor.from_pretrained(path) if register() else AutoProcessor.from_pretrained(path)
