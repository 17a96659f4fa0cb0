"""Calibrate what the judge sees in pixels: the weights of `content.same`, and the constants of over-correction.

    python -m rnr.judge.calibrate --images DIR [--cases 1000] [--out judge/content.json]

DIR holds clean photographs that nothing is measured on afterwards. Prints the constants of `change.py` and what the
fitted weights pass and refuse; 1000 cases take four minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr.degradation.files import whole
from rnr.degradation.kind import kind_named
from rnr.degradation.measure import ms_ssim, psnr
from rnr.degradation.photographs import centre_crop, read_folder, to_tensor, to_uint8
from rnr.judge.change import lost_tones
from rnr.judge.content import WEIGHTS, features
from rnr.judge.doses import sweep
from rnr.judge.impostors import SIDE, Case, cases

PASSING = 0.99  # share of the clean images that are to pass
FOLDS = 4
HIDDEN = 8  # units; with none 2-3% more of the shifted images pass
DECAY = 1e-3
LIMIT = 20.0  # beyond which a number of `features` is cut off
CLEAN, ERASED = 6.0, 3.0  # weights of these cases, the others have 1; a choice
UNDAMAGED = ("object erased", "shifted down", "shifted right")  # also compared with the clean image: the easiest case
SWEPT = 40  # photographs on which over-correction is calibrated
FREE_SHARE = 95  # percentile of the clean images' lost structure that is free


def compared(case: Case) -> dict[str, np.ndarray]:
    """`features` of the clean image and of every impostor against the damaged one."""
    pairs = {"clean": (case.degraded, case.clean)}
    pairs |= {name: (case.degraded, image) for name, image in case.impostors.items()}
    pairs |= {f"{name}, undamaged": (case.clean, case.impostors[name]) for name in UNDAMAGED}
    return {name: features(*pair) for name, pair in pairs.items()}


def fit(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """The weights file: a network with HIDDEN units that tells `clean` from all else, its threshold moved to 0.5.

    The threshold is where PASSING of the clean images pass when the network was fitted without them (FOLDS folds).
    """
    names = list(rows[0])
    raw = np.clip(np.nan_to_num(np.array([[row[name] for name in names] for row in rows])), -LIMIT, LIMIT)
    mean, spread = raw.mean((0, 1)), raw.std((0, 1)) + 1e-3
    z = torch.from_numpy((raw - mean) / spread).float()  # (case, pair, number)
    folds = [torch.arange(len(z)) % FOLDS == fold for fold in range(FOLDS)]
    with torch.no_grad():
        left_out = [_trained(z[~fold], names)(z[fold, names.index("clean")]) for fold in folds]
    network = _trained(z, names)
    state = network.state_dict()
    bias = float(state["2.bias"]) - float(np.quantile(torch.cat(left_out).numpy(), 1 - PASSING))
    tables = {"first": state["0.weight"].T, "first_bias": state["0.bias"], "last": state["2.weight"][0]}
    held = {name: np.round(table.detach().double().numpy(), 5).tolist() for name, table in tables.items()}
    about = {"limit": LIMIT, "mean": np.round(mean, 5).tolist(), "spread": np.round(spread, 5).tolist()}
    return about | held | {"last_bias": round(bias, 5)}


@torch.enable_grad()
def _trained(z: torch.Tensor, names: Sequence[str]) -> torch.nn.Sequential:
    torch.manual_seed(0)
    weight = torch.tensor([CLEAN if n == "clean" else ERASED if n.startswith("object") else 1.0 for n in names])
    weight = (weight / weight.mean()).expand(z.shape[:2])
    truth = torch.tensor([float(name == "clean") for name in names]).expand(z.shape[:2])
    network = torch.nn.Sequential(torch.nn.Linear(z.shape[-1], HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1))
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(z)[..., 0], truth, weight)
        loss = loss + DECAY * sum(p.square().sum() for p in network.parameters())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return network


def loss_by_share(photographs: dict[str, np.ndarray], free: float) -> float:
    """`change.LOSS`: least squares of the loss of MS-SSIM beyond the best dose by the share of structure lost."""
    points = [point for name, image in photographs.items() for point in _beyond(name, image)]
    share, loss = np.array(points).T
    beyond = np.maximum(share - free, 0)
    return float((beyond * loss).sum() / (beyond**2).sum())


def _beyond(name: str, image: np.ndarray) -> list[tuple[float, float]]:
    """(share lost, loss of MS-SSIM above that of the best dose) at each dose beyond the best, haze and low light."""
    points = []
    for kind in ("haze", "low_light"):
        made = sweep(kind_named(kind), to_tensor(centre_crop(image, SIDE))[0], name, seed=1)
        clean, undone = made.clean_CHW[None], torch.stack(made.undone)
        losses = (1 - ms_ssim(undone, clean.expand_as(undone))).tolist()
        best = int(psnr(undone, clean).argmax())
        shares = [lost_tones(to_uint8(made.degraded_CHW), to_uint8(image)) for image in made.undone[best + 1 :]]
        points += [(share, loss - losses[best]) for share, loss in zip(shares, losses[best + 1 :])]
    return points


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rnr.judge.calibrate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", required=True, help="folder of clean photographs")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights file to write")
    arguments = parser.parse_args()
    photographs = read_folder(arguments.images, 400, spread=True)
    rows, shares = [], []
    for case in cases(list(photographs.values()), arguments.cases, seed=1):
        rows.append(compared(case))
        shares.append(lost_tones(case.degraded, case.clean))
    with whole(arguments.out) as part:
        part.write_text(json.dumps(fit(rows)) + "\n", encoding="utf-8")
    free = float(np.percentile(shares, FREE_SHARE))
    some = dict(list(photographs.items())[:: max(1, len(photographs) // SWEPT)][:SWEPT])
    print(f"{arguments.out}; in judge/change.py: FREE = {free:.3f}, LOSS = {loss_by_share(some, free):.2f}")


if __name__ == "__main__":
    main()
