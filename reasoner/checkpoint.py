"""A Qwen3-VL checkpoint from a folder or a hub: the settings that large ones need, and errors that name the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from rnr.degradation.arithmetic import dtype_named
from rnr.reasoner.card import check_card, read_card

ARCHITECTURE = "qwen3_vl"
ATTENTION = ("sdpa", "eager")  # looking ahead needs a mask of its own, which flash attention does not take
OUT_OF_MEMORY = 'set quantisation = "4bit", device_map = "auto" (several GPUs), fewer pixels, or take a smaller model'


def load_model(
    source: str,
    device: str = "cpu",
    dtype: str | torch.dtype | None = None,
    device_map: str | dict | None = None,
    attention: str | None = None,
    adapter: str | Path | None = None,
    quantisation: str | None = None,
) -> Any:
    """`Qwen3VLForConditionalGeneration`. `dtype`: float32 on a CPU, bfloat16 on a GPU unless given.

    `device_map` is accelerate's ("auto" spreads over all GPUs); `attention` sdpa or eager; `adapter` a LoRA folder;
    `quantisation` "4bit" or "8bit" (bitsandbytes). Raises ValueError that says what is wrong and what to do.
    """
    from transformers import Qwen3VLForConditionalGeneration

    if attention not in (None, *ATTENTION):
        raise ValueError(f"attention is {' or '.join(ATTENTION)}, not {attention!r}")
    check_architecture(source)
    options: dict[str, Any] = {"dtype": _dtype(dtype, device)}
    options |= {"attn_implementation": attention} if attention else {}
    options |= {"quantization_config": _quantised(quantisation)} if quantisation else {}
    if device_map or quantisation:
        options["device_map"] = device_map or device
    try:
        model: Any = Qwen3VLForConditionalGeneration.from_pretrained(source, **options)
        model = model if "device_map" in options else model.to(torch.device(device))
    except torch.OutOfMemoryError as error:
        raise ValueError(f"reasoner {source}: out of memory on {device}; {OUT_OF_MEMORY}") from error
    if adapter:
        load_adapter(model, Path(adapter))
    return model


def check_architecture(source: str) -> None:
    """ValueError where there is no model or another one: transformers would fill its weights with random numbers."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(source).model_type
    except OSError as error:
        problem = str(error).strip().splitlines()[0]
        raise ValueError(f"reasoner {source}: neither a weights folder nor a model on the hub ({problem})") from error
    if found != ARCHITECTURE:
        raise ValueError(f"reasoner {source}: a {found} model; it must be a Qwen3-VL ({ARCHITECTURE}, dense)")


def _dtype(dtype: str | torch.dtype | None, device: str) -> torch.dtype | str:
    if isinstance(dtype, torch.dtype) or dtype == "auto":  # auto: as stored
        return dtype
    return dtype_named(dtype, device)


def _quantised(quantisation: str) -> Any:
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if quantisation not in ("4bit", "8bit"):
        raise ValueError(f'quantisation is "4bit" or "8bit", not {quantisation!r}')
    if find_spec("bitsandbytes") is None:
        raise ValueError("quantisation needs bitsandbytes: pip install bitsandbytes")
    return BitsAndBytesConfig(**{f"load_in_{quantisation}": True})


def bare(model: Any) -> Any:
    """The Qwen3-VL inside a `PeftModel`, with the adapter's layers in place; any other model as it is.

    Raises:
        ValueError: For an adapter that is not in the layers (prompt tuning): the decoder would not see it.
    """
    if not hasattr(model, "get_base_model"):
        return model
    if getattr(model.active_peft_config, "is_prompt_learning", False):
        raise ValueError("an adapter that adds tokens to the prompt cannot be used here; take one in the layers (LoRA)")
    return model.get_base_model()


def load_adapter(model: Any, folder: Path) -> None:
    """Put a LoRA on a model, which keeps its class. Raises ValueError as `check_adapter`."""
    check_adapter(model, folder)
    model.load_adapter(str(folder))
    model.eval()


def check_adapter(model: Any, folder: Path) -> None:
    """ValueError where there is no adapter, or where it was made for another base or another release."""
    from safetensors import safe_open

    check_card(read_card(folder), f"adapter {folder}")
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file() or not (folder / "adapter_config.json").is_file():
        raise ValueError(f"adapter {folder}: holds no adapter_config.json and adapter_model.safetensors")
    modules = dict(model.named_modules())
    with safe_open(str(weights), "pt") as file:
        for name in file.keys():  # noqa: SIM118
            place = name.removeprefix("base_model.model.").split(".lora_")[0]
            width = getattr(modules.get(place), "in_features", None)
            if ".lora_A." in name and file.get_slice(name).get_shape()[1] != width:
                base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
                raise ValueError(f"adapter {folder}: made for another base ({base}); {place} does not fit this model")
