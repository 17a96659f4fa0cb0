"""The accept test: the damage that was diagnosed must fall by a margin, no more other damage may come up than the judge
is wrong by, and the picture must still show the same thing.

Severity falls when a picture is painted over, too. So its structure is held against the input's, after the changes that
a right restoration makes to light: per channel, input^gamma times a gain plus an offset (haze: J = (I - A(1 - t)) / t;
low light: I = (a J)^gamma). What cannot be explained by light and was not noise counts against the restoration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.graph.state import Look

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

# Measured on 144 mixtures of 2-3 kinds, one pass each: with these two 2% of the pictures lose a step that truly helped.
# A margin of 3 and no allowance lost 19% and 0.2 dB: what one damage hid comes to light when it goes.
MARGIN = 1.0  # severity points by which the damage that was diagnosed must fall
ERROR = 10.0  # points by which all kinds together may seem to rise: the judge's own error
FIDELITY = 0.3  # least structure in common with the input: damaged and clean pictures had 0.36-1, others under 0.07
SIDE = 96  # px, of the copies that are compared: rain and noise are averaged away
GAMMAS = (0.3, 0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2)


def severities(record: DiagnosisRecord) -> dict[str, float]:
    """Expected severity of each kind that could be scored; the written one where a judge gives no beliefs."""
    findings = record.diagnosis.findings if record.diagnosis else {}
    read = {kind: record.expected_severity(kind) for kind in findings}
    read = {kind: findings[kind].severity if value is None else value for kind, value in read.items()}
    return {kind: float(value) for kind, value in read.items() if value is not None}


def total(look: Look, kinds: list[str] | None = None) -> float:
    """Sum of the expected severities, of these kinds or of all."""
    return sum(value for kind, value in look["severity"].items() if kinds is None or kind in kinds)


def verdict(first: Look, before: Look, after: Look, likeness: float) -> tuple[bool, str]:
    """Whether `after` may replace `before`, and why. Where a person gave the diagnosis, not being worse is enough."""
    if after["picture"]["sha256"] == before["picture"]["sha256"]:
        return False, "the restorer changed nothing"
    if likeness < FIDELITY:
        return False, f"it no longer shows the same: likeness {likeness:.2f}, at least {FIDELITY:.2f} is asked"
    kinds = list(dict.fromkeys([*first["present"], *before["present"]]))
    fall, net = (total(before, scope) - total(after, scope) for scope in (kinds, None))
    wanted = 0.0 if before["given"] else MARGIN
    if fall < wanted:
        much = f"fell by {fall:.1f} only" if fall >= 0 else f"rose by {-fall:.1f}"
        return False, f"damage {much}, a fall of at least {wanted:.0f} is asked"
    if net < -ERROR:
        rises = {kind: value - before["severity"].get(kind, 0.0) for kind, value in after["severity"].items()}
        worst = max(rises, key=lambda kind: rises[kind])
        return False, f"{worst.replace('_', ' ')} got worse by {rises[worst]:.0f}, more than the rest fell by"
    return True, f"damage fell by {fall:.0f}, from {total(before, kinds):.0f} to {total(after, kinds):.0f}"


def fidelity(input_HWC3: np.ndarray, restored_HWC3: np.ndarray) -> float:
    """Structure in common, 0 (nothing) to 1, between two pictures (H, W, 3) of any depth.

    Both are averaged down to SIDE px and each is fitted to the other by the light model of this module (what was
    painted in shows in one direction, what was painted over in the other). A direction is the agreement of luma in
    windows of 11 px, weighted by the structure that a window holds; the result is their geometric mean.
    """
    a, b = (_small(picture) for picture in (input_HWC3, restored_HWC3))
    return float(np.sqrt(_likeness(_fitted(a, b), _luma(b)) * _likeness(_fitted(b, a), _luma(a))))


def _luma(picture_HWC3: np.ndarray) -> np.ndarray:
    return picture_HWC3 @ np.array([0.299, 0.587, 0.114], np.float32)


def _fitted(source_HWC3: np.ndarray, target_HWC3: np.ndarray) -> np.ndarray:
    return _luma(np.stack([_fit(source_HWC3[..., c], target_HWC3[..., c]) for c in range(3)], -1))


def _small(picture_HWC3: np.ndarray) -> np.ndarray:
    import cv2

    top = 1.0 if picture_HWC3.dtype.kind == "f" else float(np.iinfo(picture_HWC3.dtype).max)
    height, width = picture_HWC3.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture_HWC3.astype(np.float32) / np.float32(top), size, interpolation=cv2.INTER_AREA)


def _fit(source_HW: np.ndarray, target_HW: np.ndarray) -> np.ndarray:
    """gain * source^gamma + offset, by least squares, at the best gamma of the grid; the gain is not negative."""
    best, least = np.full_like(source_HW, target_HW.mean()), float(target_HW.var())
    for gamma in GAMMAS:
        x = np.maximum(source_HW, 1e-4) ** gamma
        gain = float(((x - x.mean()) * (target_HW - target_HW.mean())).mean() / (x.var() + 1e-8))
        guess = max(gain, 0.0) * (x - x.mean()) + target_HW.mean()
        error = float(((guess - target_HW) ** 2).mean())
        if error < least:
            best, least = guess, error
    return best


def _likeness(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    import cv2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    mean_a, mean_b = mean(a_HW), mean(b_HW)
    var_a, var_b = mean(a_HW * a_HW) - mean_a**2, mean(b_HW * b_HW) - mean_b**2
    covariance = mean(a_HW * b_HW) - mean_a * mean_b
    weight = np.sqrt(np.maximum(var_a, 0) * np.maximum(var_b, 0)) + np.maximum(var_a, var_b) + 1e-6
    agreement = (2 * covariance + 1e-5) / (var_a + var_b + 1e-5)
    return float(np.clip((agreement * weight).sum() / weight.sum(), 0, 1))
