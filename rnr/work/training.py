"""`rnr train`: the two trainings behind one progress line (loss, speed, time left)."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from rnr.degradation.loading import BUILT_IN, device_named, explained, recipe_of
from rnr.work.console import err
from rnr.work.models import quiet

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Training:
    """What both trainings take. None leaves a setting to the training itself."""

    images: Path
    out: Path
    val: Path | None = None
    samples: int | None = None
    seed: int = 0
    resume: bool = False
    init: Path | None = None
    rate: float | None = None
    confusion: Path | None = None
    restored: str | None = None
    threads: int | None = None
    device: str = "auto"
    license: str | None = None
    objects: Path | None = None

    def settings(self) -> dict[str, Any]:
        """Those of `rnr.training.Run`."""
        given = {"samples": self.samples, "rate": self.rate, "threads": self.threads, "license": self.license}
        given = {name: value for name, value in given.items() if value is not None}
        return given | {
            "out": self.out, "seed": self.seed, "resume": self.resume, "device": device_named(self.device)
        }  # fmt: skip


class Lines:
    """Rows of metrics as lines for people on stderr: `12,800 samples  loss 1.234  98.1 samples/s  1:02:03 left`."""

    def __call__(self, row: dict[str, Any]) -> None:
        count = f"{row.get('samples', 0):,} samples"
        if "validation" in row:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in row["validation"].items() if _is_number(value))
            err.print(Text(f"{count}  validation: {figures}", "bold"))
        elif "doing" in row:
            err.print(Text(f"{count}  {row['doing']}"))
        elif "loss" in row:
            speed = row.get("per_second", row.get("samples_per_s", 0.0))
            seconds = row.get("seconds_left", 60 * row.get("minutes_left", 0.0))
            left = datetime.timedelta(seconds=round(seconds))
            err.print(Text(f"{count}  loss {row['loss']:.4f}  {speed:.1f} samples/s  {left} left"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def train_reasoner(training: Training, report: Report) -> Path:
    """Train and export; returns the weights folder. Raises SetupError for photographs or weights that are not there."""
    with explained("training"):
        quiet()
        from rnr.reasoner.card import folder_of
        from rnr.reasoner.settings import ReasonerRun
        from rnr.reasoner.train import train

        given: dict[str, Any] = {"val": training.val, "samples": training.samples, "lr": training.rate}
        given |= {"init": training.init and (folder_of(training.init) or training.init), "threads": training.threads}
        given |= {"license": training.license, "objects": training.objects}
        known = {name: value for name, value in given.items() if value is not None}
        known |= {"data": training.images, "output": training.out, "seed": training.seed, "resume": training.resume}
        damage = _restored(training.restored) if training.restored else None
        return train(ReasonerRun(**known), damage, report)


def _restored(restorer: str) -> Callable[..., Any]:
    from rnr.restorer import load
    from rnr.work.joint import WithRestored

    return WithRestored(load(restorer))


def train_restorer(training: Training, report: Report) -> Path:
    """See `train_reasoner`."""
    with explained("training"):
        quiet()
        from rnr.restorer.train import RestorerRun, train

        run = RestorerRun(**training.settings())
        return train(training.images, run, training.init, training.val, training.confusion, report)


def train_expert(
    kind: str,
    training: Training,
    blocks: str,
    residue: str | None,
    minutes: float | None,
    report: Report,
    **shape: bool,
) -> Path:
    """The expert of one kind, `shape` as `rnr.restorer.expert_train.train_expert` names it; returns its file. Raises
    SetupError for what cannot be used."""
    with explained("training"):
        quiet()
        from rnr.restorer import load_bridge
        from rnr.restorer.expert_train import train_expert
        from rnr.restorer.loading import expert_file
        from rnr.training import Run

        run = Run(**training.settings(), minutes=minutes)
        counts = tuple(int(count) for count in blocks.split(","))
        experts = load_bridge(residue).experts if residue else None
        init = expert_file(training.init, kind) if training.init else None
        return train_expert(kind, training.images, run, counts, training.val, init, experts, report=report, **shape)


def train_quality(training: Training, minutes: float | None, report: Report, **settings: Any) -> Path:
    """The quality model; returns its folder. Raises SetupError for photographs that cannot be used."""
    with explained("training"):
        quiet()
        from rnr.quality.train import QualityRun, train_quality

        known = {name: value for name, value in settings.items() if value is not None}
        known |= {"init": str(training.init)} if training.init else {}
        run = QualityRun.of(training.settings() | {"minutes": minutes} | known, "rnr train quality")
        return train_quality(training.images, run, training.val, report)


def train_head(report: Report, **settings: Any) -> Path:
    """A head of the quality model on people's ratings; returns its folder. Raises SetupError for a bad data set."""
    with explained("training"):
        quiet()
        from rnr.quality.heads import HeadRun, train_head

        known = {name: value for name, value in settings.items() if value is not None}
        known["device"] = device_named(known["device"])
        return train_head(HeadRun.of(known, "rnr train quality --head"), report)


def train_detector(training: Training, minutes: float | None, report: Report) -> Path:
    """The detector whose maps the reasoner sees; returns its file. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.reasoner.detector_train import DetectorRun, train_detector

        run = DetectorRun(**training.settings(), minutes=minutes)
        return train_detector(training.images, run, training.val, training.init, report)


def train_instructions(report: Report, **settings: Any) -> Path:
    """A reader of instructions; returns its folder. Raises SetupError for a setting that cannot be."""
    with explained("training"):
        from rnr.reasoner.instructions.train import ReaderRun, train

        known = {name: value for name, value in settings.items() if value is not None}
        known["device"] = device_named(known["device"])
        return train(ReaderRun.of(known, "rnr train instructions"), report)


def train_autoencoder(training: Training, minutes: float | None, report: Report) -> Path:
    """The autoencoder of the latent restorers; returns its folder. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.restorer.latent.autoencoder_train import AutoencoderRun, train_autoencoder

        run = AutoencoderRun(**training.settings(), minutes=minutes)
        return train_autoencoder(training.images, run, training.val, report)


def train_codes(training: Training, autoencoder: str, quality: bool, minutes: float | None, report: Report) -> Path:
    """Codebooks and code predictor of a latent restorer; returns its folder. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.restorer.latent.codes_train import train_codes
        from rnr.training import Run

        run = Run(**training.settings(), minutes=minutes)
        return train_codes(training.images, run, autoencoder, training.val, quality, report)


def train_quality_adapter(
    training: Training, restorer: str, scorer: str, minutes: float | None, report: Report
) -> Path:
    """An adapter by which a quality conditions experts; returns its file. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.quality import load
        from rnr.restorer.latent.quality_adapter_train import AdapterRun, train_adapter

        run = AdapterRun(**training.settings(), minutes=minutes)
        return train_adapter(training.images, run, load(scorer, training.device), restorer, training.val, report)


def train_tasks(
    training: Training, tasks: list[str], autoencoder: str | None, without: list[str], recipe: Path | None,
    reader: Path | None, minutes: float | None, report: Report,
) -> Path:  # fmt: skip
    """All parts of a restorer of tasks; returns its folder. A recipe names a prior of Stable Diffusion's class, and
    its autoencoder. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.restorer.latent.tasks_train import TasksRun, train_tasks

        name, options = recipe_of(str(recipe)) if recipe else ("", {})
        settings = options.pop("training", {}) | training.settings() | {"minutes": minutes}
        held = options.pop("autoencoder", f"{name}/vae" if name else "built-in")
        options |= {"prior": name} if name else {}
        options |= {part: False for part in without}
        run = TasksRun.of(settings, str(recipe or "training"))
        return train_tasks(training.images, run, tasks, autoencoder or held, training.val, options, reader, report)


def train_task(
    training: Training, name: str, restorer: Path, model: str | None, labels: Path | None, reader: Path | None,
    minutes: float | None, report: Report,
) -> Path:  # fmt: skip
    """The prompt of one task; returns the folder of the weights. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.restorer.latent.downstream import task_named
        from rnr.restorer.latent.tasks_train import PromptRun, train_prompt

        run = PromptRun(**training.settings(), minutes=minutes)
        task = task_named(name, model, labels, reader)
        return train_prompt(name, restorer, training.images, run, task, training.val, report)


def train_unified(
    training: Training, recipe: Path | None, minutes: float | None, report: Report, **settings: Any
) -> Path:
    """One stage of the unified pair; returns its folder. Raises SetupError as `train_quality`."""
    with explained("training"):
        quiet()
        from rnr.unified import load
        from rnr.unified.settings import UnifiedRun
        from rnr.unified.train import train

        given = training.settings() | {"minutes": minutes} | settings
        run = UnifiedRun.read(recipe, **given) if recipe else UnifiedRun.of(given, "rnr train unified")
        bases = {"reasoner": run.reasoner, "restorer": run.restorer}
        bases = {} if training.init else {name: base for name, base in bases.items() if base != BUILT_IN}
        model = load(str(training.init or BUILT_IN), run.device, **bases)
        return train(model, training.images, run, training.val, report)


def average_restorers(folders: list[Path], out: Path, val: Path | None) -> Path:
    """See `rnr.restorer.average`. Raises SetupError."""
    with explained("averaging"):
        quiet()
        from rnr.restorer.average import average

        return average(folders, out, val)


def finetune_reasoner(
    recipe: Path | None, model: str | None, data: Path, out: Path, resume: bool, report: Report
) -> Path:
    """LoRA on a real Qwen3-VL; returns the adapter's folder. Raises SetupError."""
    with explained("training"):
        name, options = recipe_of(str(recipe)) if recipe else ("", {})
        quiet()
        from rnr.reasoner.finetune import finetune
        from rnr.reasoner.settings import FinetuneRecipe

        wanted = FinetuneRecipe.of(options, str(recipe))
        return finetune(model or name, data, out, wanted, resume, report)


def finetune_restorer(
    recipe: Path | None, model: str | None, images: Path, out: Path, resume: bool, report: Report, device: str
) -> Path:
    """LoRA on Qwen-Image-Edit; returns the adapter's folder. Raises SetupError."""
    with explained("training"):
        name, options = recipe_of(str(recipe)) if recipe else ("", {})
        settings = options.pop("training", {})
        quiet()
        from rnr.restorer.edit_train import EditRun, train
        from rnr.restorer.qwen_edit import QwenEditRestorer

        restorer = QwenEditRestorer.from_pretrained(model or name, device=device_named(device), **options)
        return train(restorer, images, out, EditRun.of(settings, f"{recipe}: training"), resume, report)


def build_data(
    images: Path, out: Path, samples: int, size: int, seed: int, shard: int, workers: int,
    teacher: str | None = None, teacher_model: str | None = None,
) -> None:  # fmt: skip
    """See `rnr.reasoner.dataset` and, for the URL of a teacher, `rnr.reasoner.teacher`. Raises SetupError."""
    with explained("rnr data"):
        from rnr.reasoner.dataset import Build, build
        from rnr.reasoner.teacher import Teacher

        def report(row: dict[str, Any]) -> None:
            err.print(f"{row['done']} of {row['of']} shards: {row['shard']}")

        wanted = Build(str(images), samples, size, seed, shard)
        build(wanted, out, workers, report, Teacher(teacher, teacher_model) if teacher else None)
