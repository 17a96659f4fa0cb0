"""PP-OCRv4's recogniser (Apache-2.0): the text of a line, and its probabilities with gradients.

Its ONNX files lie in the package `rapidocr-onnxruntime`, which is not imported: it pulls an OpenCV that overwrites the
headless one, and runs on Python < 3.13 alone. Lines are cut out where they are known to lie, so that what is measured
is how well they can be read, not how well they are found.

Shapes: image_1CHW in [0, 1]; corners_42 in px as (x, y), from the upper left, clockwise; probabilities (T, K): T steps
along the line, K characters with the blank of CTC (Graves et al., ICML 2006) as number 0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rnr.degradation._lazy import need
from rnr.degradation.errors import MissingExtra
from rnr.restorer.latent.graphs import EXTRA, OnnxGraph

PACKAGE, FILE = "rapidocr_onnxruntime", "ch_PP-OCRv4_rec_infer.onnx"
REMEDY = (
    "pip install --no-deps rapidocr-onnxruntime==1.4.4 (Python < 3.13; without --no-deps it overwrites the headless "
    "OpenCV), or name a folder that holds the file: --reader FOLDER"
)
HEIGHT, WIDEST = 48, 960  # px of a line as the recogniser sees it; the width is a choice


def recogniser_file(folder: str | Path | None = None) -> Path:
    """Where the recogniser's file lies: in this folder, or in the package. MissingExtra where it is not."""
    found = [Path(folder)] if folder else []
    if not folder and (spec := importlib.util.find_spec(PACKAGE)):
        found = [Path(place) / "models" for place in spec.submodule_search_locations or ()]
    for place in found:
        if (place / FILE).is_file():
            return place / FILE
    raise MissingExtra(f"reading needs {FILE}, which is not {'in ' + str(folder) if folder else 'installed'}: {REMEDY}")


def cut(image_1CHW: torch.Tensor, corners_42: np.ndarray) -> torch.Tensor:
    """A line, upright and HEIGHT px high (1, 3, HEIGHT, W), by bilinear interpolation; gradients go through."""
    corners = torch.as_tensor(corners_42, dtype=torch.float32, device=image_1CHW.device)
    top, right, bottom, left = (corners.roll(-1, 0) - corners).norm(dim=1).tolist()
    width = min(WIDEST, max(8, round(HEIGHT * (top + bottom) / max(left + right, 1e-3))))
    down = ((torch.arange(HEIGHT, device=corners.device) + 0.5) / HEIGHT)[:, None, None]
    along = ((torch.arange(width, device=corners.device) + 0.5) / width)[None, :, None]
    upper = torch.lerp(corners[0].expand(1, 1, 2), corners[1], along)
    lower = torch.lerp(corners[3].expand(1, 1, 2), corners[2], along)
    size = torch.tensor(image_1CHW.shape[-1:-3:-1], device=corners.device)
    grid = 2 * torch.lerp(upper, lower, down) / size - 1
    return functional.grid_sample(image_1CHW, grid[None], padding_mode="border", align_corners=False)


def prepared(line_1CHW: torch.Tensor) -> torch.Tensor:
    """As the recogniser was trained: blue first, [-1, 1]."""
    return 2 * line_1CHW.flip(1) - 1


class Reader:
    """What a line says.

    Args:
        folder: Where the ONNX file lies; None: in the package.
        threads: Of onnxruntime.

    Raises:
        MissingExtra: Without onnxruntime or the file; it names the command that installs it.
    """

    def __init__(self, folder: str | Path | None = None, threads: int = 1) -> None:
        runtime, self.path = need("onnxruntime", EXTRA), recogniser_file(folder)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self.characters = ["", *self.session.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]

    def read(self, image_1CHW: torch.Tensor, corners_42: np.ndarray) -> str:
        """The text of one line."""
        given = {self.session.get_inputs()[0].name: prepared(cut(image_1CHW, corners_42)).cpu().numpy()}
        (probability_1TK,) = self.session.run(None, given)
        return self.text(probability_1TK[0])

    def text(self, probability_TK: np.ndarray) -> str:
        """The likeliest characters; repeats without a blank between are one (best path of CTC)."""
        codes = probability_TK.argmax(-1).tolist()
        return "".join(self.characters[code] for code, before in zip(codes, [0, *codes]) if code != before)


class TorchReader:
    """The same network with gradients, frozen: for a loss.

    Args:
        folder: As of `Reader`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.graph = OnnxGraph(recogniser_file(folder))

    def probabilities(self, image_1CHW: torch.Tensor, corners_42: np.ndarray) -> torch.Tensor:
        """Of a line (T, K)."""
        return self.graph(prepared(cut(image_1CHW.float(), corners_42)))[0]

    def divergence(self, image_1CHW: torch.Tensor, clean_1CHW: torch.Tensor, corners: Sequence[Any]) -> torch.Tensor:
        """Kullback-Leibler divergence from the clean lines' probabilities, mean over the lines' steps; 0 for none."""
        found = [image_1CHW.new_zeros(())]
        for each in corners:
            with torch.no_grad():
                wanted = self.probabilities(clean_1CHW, each)
            said = self.probabilities(image_1CHW, each).clamp(min=1e-8).log()
            found.append(functional.kl_div(said, wanted, reduction="batchmean"))
        return torch.stack(found).sum() / max(1, len(corners))
