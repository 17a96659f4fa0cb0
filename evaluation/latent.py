"""The latent restorer measured: `rnr bench latent`.

Round trip of clean pictures, by the autoencoder alone and through its codebooks; the quality dial on mixtures; what the
parts are worth at the best quality. Intervals are bootstraps over photographs (95%): damages of one photograph go
together. A quality adapter of the experts is measured along its own dial: `rnr bench quality-adapter`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnr.degradation.intent import Intent
from rnr.degradation.measure import psnr, ssim, technical_quality
from rnr.degradation.photographs import centre_of, rounded
from rnr.degradation.synthesize import truths
from rnr.evaluation.cases import Case, Report, by_diagnosis, even, interval, numbers, predicted
from rnr.evaluation.tables import Cell, Row, Table
from rnr.restorer.latent.codes import restored

if TYPE_CHECKING:
    from rnr.quality.model import QualityModel
    from rnr.restorer.latent import LatentRestorer
    from rnr.restorer.pipeline import RestorePipeline

DIAL = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
TARGETS = (30.0, 60.0, 90.0)  # of an adapter; a choice
Shown = Callable[[Case, float | None], torch.Tensor]  # a case, a quality -> (1, 3, H, W) in [0, 1]


@torch.no_grad()
def round_trip(restorer: LatentRestorer, photographs: dict[str, np.ndarray], size: int) -> Table:
    """Clean pictures through the autoencoder, and through one codebook and both."""
    autoencoder, book = restorer.autoencoder, restorer.predictor.book
    score = {"autoencoder": None, "common codes": torch.zeros(1), "both codebooks": torch.full((1,), 100.0)}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in score}
    for picture in photographs.values():
        clean = even(centre_of(picture, size), autoencoder.factor)
        for name, asked in score.items():
            began = time.perf_counter()
            latent, _ = autoencoder.encode(clean)
            latent = latent if asked is None else book.lookup(book.nearest(latent, asked))
            made = rounded(autoencoder.decode(latent))
            seconds = (time.perf_counter() - began) / clean[0, 0].numel() * 1e6
            found[name].append((float(psnr(made, clean)), float(ssim(made, clean)), seconds))
    rows = [row_of(name, values, restorer) for name, values in found.items()]
    note = f"Clean photographs, n = {len(photographs)}; bits are those of the codes a pixel, without entropy coding."
    return Table.of("Round trip", rows, note, {"SSIM": 3, "M parameters": 2})


def row_of(name: str, values: list[tuple[float, float, float]], restorer: LatentRestorer) -> Row:
    """Means of a way through the latent."""
    means = np.array(values).mean(0)
    book, places = restorer.predictor.book.common, restorer.autoencoder.factor**2
    bits = {"common codes": 1, "both codebooks": 2}.get(name, 0) * book.groups * np.log2(book.size) / places
    size = sum(p.numel() for p in restorer.autoencoder.parameters()) / 1e6
    cells: Row = {"way": name, "PSNR": float(means[0]), "SSIM": float(means[1]), "s/MP": float(means[2])}
    return cells | {"bits/px": float(bits) or None, "M parameters": size}


def dial(
    restorer: LatentRestorer, scorer: QualityModel, held: Sequence[Case], report: Report = lambda done: None
) -> list[Row]:
    """Each case at each quality: full reference and predicted; a first row of the input, quality None."""

    def shown(case: Case, quality: float | None) -> torch.Tensor:
        return case.damaged if quality is None else rounded(restorer.shown(case.damaged, quality=quality))

    return measured(shown, DIAL, scorer, held, report)


def adapter_dial(
    pipe: RestorePipeline, scorer: QualityModel, held: Sequence[Case], report: Report = lambda done: None
) -> list[Row]:
    """The same by experts with an adapter and the true diagnosis; the first row is without a quality, None."""

    def shown(case: Case, quality: float | None) -> torch.Tensor:
        (true,) = truths(case.clean, case.damaged, case.mixture, pipe.kinds)
        return by_diagnosis(pipe, case, true, None if quality is None else Intent(quality=quality))

    return measured(shown, TARGETS, scorer, held, report)


def measured(
    shown: Shown, qualities: Sequence[float], scorer: QualityModel, held: Sequence[Case], report: Report
) -> list[Row]:
    """Rows of each case, first without a quality (None)."""
    rows: list[Row] = []
    for number, case in enumerate(held):
        for quality in (None, *qualities):
            began = time.perf_counter()
            made = shown(case, quality)
            seconds = (time.perf_counter() - began) / case.clean[0, 0].numel() * 1e6
            rows.append({
                "photograph": case.photograph, "case": number, "quality": quality,
                "PSNR": float(psnr(made, case.clean).clamp(max=60)), "SSIM": float(ssim(made, case.clean)),
                "true score": float(technical_quality(made, case.clean)), "predicted score": predicted(scorer, made),
                "s/MP": seconds,
            })  # fmt: skip
        report(number + 1)
    return rows


def dial_table(rows: Sequence[Row], first: str = "input") -> Table:
    """Means by quality, with intervals of both scores; `first`: what the rows without a quality are called."""
    table = []
    for quality in dict.fromkeys(row["quality"] for row in rows):
        chosen = [row for row in rows if row["quality"] == quality]
        groups = [str(row["photograph"]) for row in chosen]
        cells: Row = {"quality": first if quality is None else f"{quality:g}"}
        for name in ("PSNR", "SSIM", "true score", "predicted score"):
            values = numbers(chosen, name)
            cells[name] = float(np.mean(values))
            if name.endswith("score"):
                cells[f"{name.split()[0]} 95%"] = "{:.1f}..{:.1f}".format(*interval(values, groups))
        table.append(cells)
    return Table.of("The quality dial", table, f"n = {len(groups)} damages. {turn(rows)}", {"SSIM": 3})


def turn(rows: Sequence[Row]) -> str:
    """Rank correlation of the dial with both scores within a case, and where the true one is highest."""
    from scipy.stats import spearmanr

    asked = [float(q) for q in dict.fromkeys(row["quality"] for row in rows) if q is not None]
    ranks: dict[str, list[float]] = {"true score": [], "predicted score": []}
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case and row["quality"] is not None]
        for name, found in ranks.items():
            values = numbers(own, name)
            found.append(float(spearmanr(asked, values).statistic) if len(set(values)) > 1 else 0.0)
    best = {q: float(np.mean(numbers([row for row in rows if row["quality"] == q], "true score"))) for q in asked}
    text = ", ".join(f"{name} {np.mean(found):.2f}" for name, found in ranks.items())
    return f"Spearman with the dial, mean over cases: {text}. The true score is highest at {max(best, key=best.get):g}."  # type: ignore[arg-type]


Way = Callable[[torch.Tensor], torch.Tensor]


def ways(restorer: LatentRestorer, rival: LatentRestorer | None = None) -> dict[str, Way]:
    """The restorer at 100, and with a part taken away."""
    model, autoencoder = restorer.predictor, restorer.autoencoder

    def latent_of(image: torch.Tensor, way: str) -> torch.Tensor:
        score = torch.full((1,), 100.0)
        own, seen = model.seen(autoencoder, image)
        found = model(own, seen, score, likeliest=way == "likeliest")
        if way == "continuous":
            return found.moved_BDHW
        if way == "single":
            return model.fused(found, torch.zeros(1, dtype=torch.bool))
        return model.book.lookup(model.codes(found, score))

    def by(way: str) -> Way:
        return lambda image: autoencoder.decode(latent_of(image, way)).clamp(0, 1)

    found: dict[str, Way] = {
        "as it is": lambda image: restored(model, autoencoder, image, 100.0),
        "HQ+ off (single codebook)": by("single"),
        "codes alone (fidelity 0)": lambda image: restored(model, autoencoder, image, 100.0, fidelity=0.0),
        "score 50 instead of 100": lambda image: restored(model, autoencoder, image, 50.0),
        "the likeliest codes instead of the expected latent": by("likeliest"),
        "predicted latent without codes": by("continuous"),
        "autoencoder alone, of the damaged picture": lambda image: autoencoder.decode(autoencoder.encode(image)[0]),
    }
    if rival is not None:
        found["the other weights (--rival)"] = lambda image: restored(rival.predictor, rival.autoencoder, image, 100.0)
    return found


@torch.no_grad()
def ablations(
    restorer: LatentRestorer, scorer: QualityModel, held: Sequence[Case], rival: LatentRestorer | None = None
) -> Table:
    """What each part is worth at the best quality."""
    multiple, rows = restorer.multiple, []
    for name, way in ways(restorer, rival).items():
        values: dict[str, list[float]] = {"PSNR": [], "true score": [], "predicted score": []}
        for case in held:
            clean, made = even(case.clean, multiple), rounded(way(even(case.damaged, multiple)))
            values["PSNR"].append(float(psnr(made, clean)))
            values["true score"].append(float(technical_quality(made, clean)))
            values["predicted score"].append(predicted(scorer, made))
        groups = [case.photograph for case in held]
        cells: dict[str, Cell] = {"way": name, **{key: float(np.mean(each)) for key, each in values.items()}}
        cells["PSNR 95%"] = "{:.2f}..{:.2f}".format(*interval(values["PSNR"], groups))
        rows.append(cells)
    return Table.of("What the parts are worth", rows, f"Damaged pictures at quality 100, n = {len(held)}.")


def about(restorer: LatentRestorer) -> dict[str, Any]:
    """Parameters of both halves, in millions."""
    parts = {"autoencoder": restorer.autoencoder, "predictor": restorer.predictor}
    return {f"{name} M": round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for name, part in parts.items()}
