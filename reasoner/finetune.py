"""Fine-tune a real Qwen3-VL on a built data set: TRL's SFTTrainer, LoRA on the language layers.

    rnr train reasoner --recipe recipes/qwen3vl_8b_lora.toml --data OUT -o runs/8b
    accelerate launch --config_file CONFIG -m rnr train reasoner ...      # FSDP, DeepSpeed: accelerate's own files

Rows are tokenised piece by piece, as skeleton decoding writes them, so that training and use see the same tokens. The
folder `adapter` holds LoRA and card; `python -m rnr.reasoner.export_vllm MODEL --adapter ... -o ...` merges it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig

from rnr import prompts
from rnr.degradation.diagnosis import SCHEMA_VERSION, reasoning_order
from rnr.degradation.kind import PHYSICS
from rnr.reasoner.callbacks import Metrics
from rnr.reasoner.card import CARD
from rnr.reasoner.checkpoint import load_model
from rnr.reasoner.collate import Collator
from rnr.reasoner.dataset import SETTINGS
from rnr.reasoner.processor import load_processor
from rnr.reasoner.settings import FinetuneRecipe
from rnr.reasoner.train import DiagnosisTrainer
from rnr.reasoner.views import CROPS, views_of
from rnr.training.journal import Journal, Report

LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
OURS: dict[str, Any] = {"max_length": None, "remove_unused_columns": False, "report_to": "none", "disable_tqdm": True,
        "dataset_kwargs": {"skip_prepare_dataset": True}}  # fmt: skip


def finetune(model_name: str, data: Path, out: Path, recipe: FinetuneRecipe, resume: bool, report: Report) -> Path:
    """Train and write OUT/adapter; returns it.

    Raises ValueError for data or a model that is not there, TypeError for a name that SFTConfig or LoraConfig lacks.
    """
    prompt, side = prompts.load(recipe.prompt), recipe.views.side
    defaults = OURS | {"output_dir": str(out), "bf16": False, "use_cpu": not torch.cuda.is_available()}
    settings = SFTConfig(**defaults | recipe.training)
    set_seed(settings.seed)  # the adapter is drawn before the trainer seeds what follows
    # Weights are trained in float32 where bf16 is off; under autocast the frozen base stays as it was loaded.
    model = load_model(model_name, **({"dtype": "float32"} | recipe.load))
    adapter: dict[str, Any] = {"target_modules": LANGUAGE, "r": 16}
    model = get_peft_model(model, LoraConfig(**adapter | recipe.lora))
    processor = load_processor(model_name)
    trainer = DiagnosisTrainer(
        model=model, args=settings, train_dataset=rows(data, prompt, side), processing_class=processor,
        data_collator=Collator(processor),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(out)) if resume else None
    if resume and last is None:
        raise ValueError(f"{out}: no checkpoint here to resume from; start without --resume")
    if trainer.is_world_process_zero():
        batch = settings.train_batch_size * settings.gradient_accumulation_steps * settings.world_size
        done = int(last.rsplit("-", 1)[1]) * batch if last else 0
        trainer.add_callback(Metrics(Journal(out, done, report, resume), batch))
    trainer.train(resume_from_checkpoint=last)
    if trainer.is_world_process_zero():
        write_adapter(trainer, out / "adapter", prompt, side, scene_text=has_scene_text(data))
    return out / "adapter"


def rows(data: Path, prompt: prompts.Prompt, side: int) -> Any:
    """Rows as the collator takes them, made when they are asked for. ValueError where there is no data set."""
    from datasets import load_dataset

    shards = sorted(str(path) for path in (data / "data").glob("*.parquet"))
    if not shards:
        raise ValueError(f"{data}: no shards here; `rnr data build` makes them")
    text = prompt.fill(kinds=_asked())

    def made(batch: dict[str, list]) -> dict[str, list]:
        views = [views_of(_pixels(image), side) for image in batch["image"]]
        return {"images": views, "prompt": [text] * len(views), "completion": batch["diagnosis"]}

    return load_dataset("parquet", data_files=shards, split="train").with_transform(made)


def _asked() -> list:
    from rnr.degradation.kind import kinds

    return [kinds()[name] for name in reasoning_order()]


def _pixels(image: Any) -> Any:
    import numpy as np

    return np.array(image.convert("RGB"))


def has_scene_text(data: Path) -> bool:
    """Whether a teacher described the scenes."""
    about = data / SETTINGS
    return about.is_file() and bool(json.loads(about.read_text(encoding="utf-8")).get("teacher"))


def write_adapter(trainer: Any, folder: Path, prompt: prompts.Prompt, side: int, scene_text: bool = False) -> None:
    """The LoRA in PEFT's format and the card that `Reasoner.from_pretrained(..., adapter=)` reads.

    `scene_text` says that it has learned a scene's free text, which a server's grammar then allows.
    """
    trainer.save_model(str(folder))
    card: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "kinds": reasoning_order(), "physics": PHYSICS}
    card |= {"prompt": prompt.name, "prompt_version": prompt.version}
    card |= {"views": {"side": side, "crops": CROPS}, "scene_text": scene_text}
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
