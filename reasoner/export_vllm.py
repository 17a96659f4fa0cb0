"""A weights folder in the form that vLLM loads: merged weights, and a processor under its original name.

    python -m rnr.reasoner.export_vllm WEIGHTS -o SERVED [--adapter LORA]

It prints the command that serves the folder; its limit of images per prompt is the number of views by the card.
vLLM asks for `Qwen3VLProcessor` with a video processor, which our folders leave out because it needs torchvision. The
card goes along: a client on the same machine finds it there, another one needs `card = "SERVED"` in its recipe.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from rnr.reasoner.card import BUILT_IN, CARD, read_card
from rnr.reasoner.drawn import view_count

VIDEO = {"video_processor_type": "Qwen3VLVideoProcessor", "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
IMAGE_MEAN = ("image_mean", "image_std")


def export_for_vllm(weights: str | Path, folder: Path, adapter: str | Path | None = None) -> Path:
    """Write the folder and return it. `weights`: a folder, "built-in" or a hub name. Raises ValueError."""
    from rnr.reasoner.checkpoint import load_model
    from rnr.reasoner.processor import load_processor

    source = str(BUILT_IN) if str(weights) == "built-in" else str(weights)
    model = load_model(source, dtype="auto")
    if adapter is not None:
        model = merged(model, Path(adapter))
    model.save_pretrained(folder)
    load_processor(source).save_pretrained(folder)
    for home in (source, adapter):
        if home is not None and (Path(home) / CARD).is_file():
            shutil.copy(Path(home) / CARD, folder / CARD)
    rename_processor(folder)
    return folder


def merged(model: Any, adapter: Path) -> Any:
    """The same class with the adapter added into its weights. Raises ValueError as `load_adapter`."""
    from peft import PeftModel

    from rnr.reasoner.checkpoint import check_adapter

    check_adapter(model, adapter)
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def rename_processor(folder: Path) -> None:
    """`processor_class` as vLLM expects it, and a video processor beside the image processor."""
    for name in ("processor_config.json", "tokenizer_config.json"):
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8")) | {"processor_class": "Qwen3VLProcessor"}
        if "image_processor" in data:
            like = {key: data["image_processor"][key] for key in IMAGE_MEAN}
            data.setdefault("video_processor", VIDEO | like)
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def image_limit(folder: Path) -> str:
    """The value of vLLM's `--limit-mm-per-prompt` for a folder with a card: as many images as the weights see views."""
    return json.dumps({"image": view_count(read_card(folder))})


def serve_command(folder: Path) -> list[str]:
    """The words of the command that serves an exported folder."""
    options = ["--served-model-name", "reasoner", "--limit-mm-per-prompt", image_limit(folder)]
    return ["vllm", "serve", str(folder), *options]


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(prog="rnr.reasoner.export_vllm", description=__doc__.split("\n")[0])
    parser.add_argument("weights", help="weights folder, built-in, or a hub name")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="LoRA folder to merge into the weights")
    arguments = parser.parse_args()
    print(shlex.join(serve_command(export_for_vllm(arguments.weights, arguments.output, arguments.adapter))))
