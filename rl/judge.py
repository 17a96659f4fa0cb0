"""The judge: a frozen reasoner that looks at a picture in several deterministic ways.

A reward that one view gives and another denies is no reward: what is paid is the mean over the views minus their
spread (`rewards.SeverityReward`), so that it does not pay to please one view.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.loading import object_at
from rnr.degradation.photographs import to_uint8
from rnr.judge.reading import severities

if TYPE_CHECKING:
    import torch

    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.reasoner import Reasoner
else:
    torch = LazyModule("torch")

SHIFT = 8  # px: the grid of a compressed file stays where it was
REMEMBERED = 256  # pictures: a group of rollouts shares its input
Severities = dict[str, float]  # kind: expected severity, 0-100


def judge_of(path: str, reasoner: Reasoner, view_count: int) -> Judge:
    """A judge by its import path. Raises ValueError for what is none."""
    found = object_at(path)
    if not (isinstance(found, type) and issubclass(found, Judge)):
        raise ValueError(f"{path}: not a judge; it must be a class that derives from rnr.rl.judge.Judge")
    return found(reasoner, view_count)


def device() -> str:
    """Where models of this process run: its GPU, or the CPU."""
    from accelerate import PartialState

    return str(PartialState(cpu=not torch.cuda.is_available()).device)


def views(picture_CHW: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The picture, mirrored, and without its first rows and columns: 1 to 3 views."""
    shifted = picture_CHW[:, SHIFT:, SHIFT:]
    return [picture_CHW, picture_CHW.flip(-1), shifted][:count]


class Judge:
    """Expected severities of pictures (3, H, W) in [0, 1] by a frozen reasoner; deterministic.

    Args:
        reasoner: Of `rnr.reasoner.load_local`; its gradients are switched off.
        view_count: 1 to 3 looks at each picture: as it is, mirrored, without its first rows and columns.

    Raises:
        ValueError: For another number of views.

    Example:
        >>> judge = Judge(rnr.reasoner.load_local())  # doctest: +SKIP
        >>> noise = judge.mean(picture_CHW)["noise"]  # 0-100  # doctest: +SKIP
    """

    def __init__(self, reasoner: Reasoner, view_count: int = 2) -> None:
        if not 1 <= view_count <= 3:
            raise ValueError(f"a judge has 1 to 3 views, not {view_count}")
        self.reasoner, self.view_count = reasoner, view_count
        reasoner.model.eval().requires_grad_(False)
        self._known: dict[bytes, list[Severities] | None] = {}

    def severities(self, picture_CHW: torch.Tensor) -> list[Severities] | None:
        """Expected severity of each kind, per view; None where the picture could not be diagnosed, and where it is held
        to be no photograph: a grid drawn over one would else pass for an undamaged chart."""
        pixels = to_uint8(picture_CHW)
        key = str(pixels.shape).encode() + pixels.tobytes()
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = self._look(picture_CHW)
        return self._known[key]

    def mean(self, picture_CHW: torch.Tensor) -> Severities | None:
        """Mean over the views."""
        seen = self.severities(picture_CHW)
        return None if seen is None else {kind: sum(s[kind] for s in seen) / len(seen) for kind in seen[0]}

    def _look(self, picture_CHW: torch.Tensor) -> list[Severities] | None:
        records = self.reasoner.diagnose([to_uint8(view) for view in views(picture_CHW, self.view_count)])
        if any(record.error or not record.beliefs or _graphic(record) for record in records):
            return None
        return [severities(record) for record in records]

    def refuse_policy(self, parameters: Iterable[torch.Tensor]) -> None:
        """ValueError if any of these (the policy's) weights are the judge's own: it would grade its own exam."""
        own = {p.data_ptr() for p in self.reasoner.model.parameters()}
        if any(p.data_ptr() in own for p in parameters):
            raise ValueError("the judge is the policy: load a second, frozen reasoner to judge")


def _graphic(record: DiagnosisRecord) -> bool:
    return record.diagnosis is not None and record.diagnosis.scene.is_graphic
