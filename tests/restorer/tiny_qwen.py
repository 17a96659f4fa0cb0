"""Qwen-Image-Edit assembled from tiny random components of its own classes."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, Qwen2VLImageProcessorPil

from rnr.restorer.qwen_edit import EditProcessor

MARKS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def tiny_pipeline(seed: int = 0, heads: int = 2) -> Any:
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    transformer: Any = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=heads,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1] * 4, latents_std=[1.5] * 4,
    )  # fmt: skip
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2)
    processor = EditProcessor(images, tokenizer)
    parts = {"vae": vae, "text_encoder": _text_encoder(tokenizer), "tokenizer": tokenizer, "processor": processor}
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return QwenImageEditPlusPipeline(transformer=transformer.eval(), scheduler=scheduler, **parts)


def _tokenizer() -> Qwen2Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*letters, "<|endoftext|>", *MARKS])}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], extra_special_tokens=MARKS)


def _text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "rope_parameters": rope, "vocab_size": len(tokenizer),
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        "fullatt_block_indexes": [0],
    }  # fmt: skip
    marks = zip(("image", "video", "vision_start", "vision_end"), (MARKS[4], MARKS[5], MARKS[2], MARKS[3]))
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in marks}
    config: Any = Qwen2_5_VLConfig
    return Qwen2_5_VLForConditionalGeneration(config(text_config=text, vision_config=vision, **ids)).eval()
