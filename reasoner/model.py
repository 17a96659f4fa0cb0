"""The built-in reasoner: transformers' Qwen3-VL, unmodified, at 3.6 M parameters, and how its weights start.

Vision 8 x 128, patch 16, merge 2: a view of 128 px becomes 16 tokens. Text 4 x 192, heads of 64. Noise and blur live in
second-order statistics, which a random linear patch embedding hides; so the patch embedding starts as a whitened DCT.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

PATCH, MERGE = 16, 2  # px; patches of a token's side, as in Qwen3-VL
WHITENING_FLOOR = 0.08  # added to a coefficient's standard deviation on clean photographs, pixels in [-1, 1]
WHITENED = 40  # photographs that the first layer is whitened by; a choice
LUMA, CHROMA = ((1, 1, 1),), ((1, -1, 0), (1, 1, -2))


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, text: dict | None = None, vision: dict | None = None
) -> Qwen3VLConfig:
    """The built-in sizes; `text` and `vision` override single settings (tests use smaller ones)."""
    from transformers import Qwen3VLConfig

    configuration: Any = Qwen3VLConfig  # its generated signature leaves out the tokens
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [12, 10, 10], "mrope_interleaved": True}
    text_config: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 192, "intermediate_size": 448, "num_hidden_layers": 4,
        "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64, "rope_parameters": rope,
        "max_position_embeddings": 4096, "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": True,
    }  # fmt: skip
    text_config |= text or {}
    vision_config = {
        "depth": 8, "hidden_size": 128, "intermediate_size": 320, "num_heads": 2, "patch_size": PATCH,
        "spatial_merge_size": MERGE, "temporal_patch_size": 2, "num_position_embeddings": 64,
        "deepstack_visual_indexes": [3], "out_hidden_size": text_config["hidden_size"],
    }  # fmt: skip
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{pad}|>") for name, pad in _MARKS.items()}
    return configuration(
        text_config=text_config,
        vision_config=vision_config | (vision or {}),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **ids,
    )


_MARKS = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}


def new_model(
    config: Qwen3VLConfig, seed: int = 0, photographs: Sequence[np.ndarray] | None = None
) -> Qwen3VLForConditionalGeneration:
    """A model with fresh weights. Clean `photographs` (uint8 HWC) whiten the patch embedding; else a 1/f model does."""
    from transformers import Qwen3VLForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config)
        _scale_linears(model)
    whiten_patches(model, photographs)
    return model.eval()


def deepened(model: Qwen3VLForConditionalGeneration, depth: int) -> Qwen3VLForConditionalGeneration:
    """The same model with `depth` vision layers, a multiple of what it has: new ones follow each old one and do nothing
    yet (their outputs are zero; Chen et al., Net2Net, 2016)."""
    config = copy.deepcopy(model.config)
    vision: Any = config.vision_config
    times = depth // vision.depth
    if times * vision.depth != depth:
        raise ValueError(f"{depth} layers are no multiple of the {vision.depth} that the weights have")
    vision.deepstack_visual_indexes = [(i + 1) * times - 1 for i in vision.deepstack_visual_indexes]
    vision.depth = depth
    deeper = new_model(config)
    blocks = "model.visual.blocks."
    state = deeper.state_dict()
    for name in state:
        if name.startswith(blocks) and ("attn.proj" in name or "linear_fc2" in name):
            state[name].zero_()
    for name, values in model.state_dict().items():
        if name.startswith(blocks):
            number, rest = name.removeprefix(blocks).split(".", 1)
            name = f"{blocks}{int(number) * times}.{rest}"
        state[name].copy_(values)
    return deeper


def grown(
    model: Qwen3VLForConditionalGeneration, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast
) -> Qwen3VLForConditionalGeneration:
    """The same model with another vocabulary, such as that of one kind more.

    Every token that both know keeps its embedding, wherever it stands; a new one starts at the mean of the old ones,
    which favours no answer.

    Args:
        model: With tied embeddings, as `tiny_config` makes it.
        old: The tokenizer that it was trained with.
        new: The one that it is to speak.

    Example:
        >>> from rnr.reasoner.tokenizer import build_tokenizer
        >>> known, more = build_tokenizer(["haze"]), build_tokenizer()
        >>> model = grown(new_model(tiny_config(known)), known, more)
        >>> model.config.text_config.vocab_size == len(more)
        True
    """
    config: Any = copy.deepcopy(model.config)
    fresh: Any = tiny_config(new)
    for name in (*(f"{mark}_token_id" for mark in _MARKS), "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(fresh, name))
    config.text_config.vocab_size, config.text_config.pad_token_id = len(new), new.pad_token_id
    larger = new_model(config)
    known, before = old.get_vocab(), model.state_dict()
    places = torch.tensor([known.get(token, -1) for token in new.convert_ids_to_tokens(list(range(len(new))))])
    for name, values in larger.state_dict().items():
        had = before[name]
        if "embed_tokens" in name or name.startswith("lm_head"):
            had = torch.where((places >= 0)[:, None], had[places.clamp(min=0)], had.mean(0))
        values.copy_(had)
    return larger


def _scale_linears(model: Qwen3VLForConditionalGeneration) -> None:
    """Weights of standard deviation 1/sqrt(fan_in); those that write to a residual stream / sqrt(2 depth)."""
    config: Any = model.config
    depth = {"visual": config.vision_config.depth, "language_model": config.text_config.num_hidden_layers}
    outputs = ("o_proj", "down_proj", "attn.proj", "linear_fc2")
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name.endswith("lm_head"):
            continue
        layers = depth["visual" if ".visual." in name else "language_model"]
        residual = name.endswith(outputs) and ("blocks" in name or "layers" in name)
        std = 1 / math.sqrt(module.in_features * (2 * layers if residual else 1))
        torch.nn.init.normal_(module.weight, std=std)
    embeddings: Any = model.get_input_embeddings()
    torch.nn.init.normal_(embeddings.weight, std=1 / math.sqrt(config.text_config.hidden_size))


def dct_filters(count: int, side: int = PATCH) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 3, side, side) orthonormal DCT-II filters, and their frequency (count,) in half cycles per patch.

    By share: 36/128 low luma, 12/128 low chroma, 56/128 mid and high luma, 24/128 high chroma.
    """
    grid = torch.arange(side) + 0.5
    basis = torch.cos(math.pi / side * torch.arange(side)[:, None] * grid) * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    waves = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda w: (w[0] + w[1], w))
    low_luma, low_chroma, high_chroma = count * 36 // 128, count * 12 // 128 // 2, count * 24 // 128 // 2
    high_luma = count - low_luma - 2 * low_chroma - 2 * high_chroma
    picks = [(LUMA[0], wave) for wave in waves[:low_luma] + _spread(waves[low_luma:], high_luma)]
    for colour in CHROMA:
        picks += [(colour, wave) for wave in waves[:low_chroma] + _spread(waves[low_chroma:], high_chroma)]
    filters = [
        torch.tensor(c).float().view(3, 1, 1) / math.hypot(*c) * basis[u][:, None] * basis[v] for c, (u, v) in picks
    ]
    return torch.stack(filters), torch.tensor([math.hypot(u, v) for _, (u, v) in picks])


def _spread(items: list, count: int) -> list:
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]


def whiten_patches(model: Qwen3VLForConditionalGeneration, photographs: Sequence[np.ndarray] | None = None) -> None:
    """Patch embedding = DCT coefficients, centred and divided by (standard deviation on clean pictures + floor)."""
    projection = model.model.visual.patch_embed.proj  # Conv3d (out, 3, temporal, patch, patch)
    filters, frequency = dct_filters(projection.out_channels, projection.kernel_size[-1])
    mean, std = torch.zeros(len(filters)), 2.0 / (1 + frequency) ** 1.2
    if photographs is not None:
        coefficients = _patches(photographs, filters.shape[-1]) @ filters.flatten(1).T
        mean, std = coefficients.mean(0), coefficients.std(0)
    scale = 1 / (std + WHITENING_FLOOR)
    frames = projection.kernel_size[0]
    with torch.no_grad():
        weight = (filters * scale.view(-1, 1, 1, 1) / frames)[:, :, None].expand(-1, -1, frames, -1, -1)
        projection.weight.copy_(weight)
        projection.bias.copy_(-mean * scale)


def use_quick_tower(model: Qwen3VLForConditionalGeneration) -> None:
    """The vision tower as trainings run it, with what `rnr.reasoner.tower` spares.

    The patch embedding is the matrix product that it is: Conv3d took a fifth of a CPU training.
    """
    from rnr.reasoner.tower import attend_together, look_once

    look_once(model)
    attend_together(model)
    embed: Any = model.model.visual.patch_embed

    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        weight = embed.proj.weight
        return torch.nn.functional.linear(hidden_states.to(weight.dtype), weight.flatten(1), embed.proj.bias)

    embed.forward = forward


def _patches(photographs: Sequence[np.ndarray], side: int) -> torch.Tensor:
    """(N, 3 * side * side) patches in [-1, 1] of the first photographs."""
    rows = []
    for photograph in photographs[:WHITENED]:
        pixels = torch.from_numpy(np.array(photograph)).permute(2, 0, 1).float() / 127.5 - 1
        tiles = pixels.unfold(1, side, side).unfold(2, side, side)  # (3, rows, columns, side, side)
        rows.append(tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3 * side * side))
    return torch.cat(rows)
