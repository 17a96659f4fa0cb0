"""The counterfactual beside the original: the same photograph, another diagnosis.

Two ways to intervene, in the notation of Pearl (2009). *do(text)*: a field of the answer is forced, and the reasoner
writes the rest conditioned on it. *do(diagnosis)*: the finished answer is edited, and nothing is asked again. The
restorer goes by the result in both cases; what an intervention does to the pixels is the difference of two images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.errors import Error
from rnr.degradation.kind import kind_named
from rnr.evaluation.robustness import diagnosed
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


@dataclass(frozen=True)
class Intervention:
    """What is changed, in this order: forced fields, severities, factors, `without`, `only`.

    Attributes:
        forced: Fields that the reasoner is made to write (`rnr.reasoner.forcing`).
        severities: By kind, 0 for absent, up to the kind's top.
        factors: By "KIND.FACTOR".
        without: Kinds to be absent.
        only: Kinds beside which everything is absent; empty: no such wish.

    Example:
        >>> Intervention(severities={"noise": 80}, without=["haze"]).words()
        'noise.severity = 80; without haze'
    """

    forced: Mapping[str, object] = field(default_factory=dict)
    severities: Mapping[str, int] = field(default_factory=dict)
    factors: Mapping[str, float | str] = field(default_factory=dict)
    without: Sequence[str] = ()
    only: Sequence[str] = ()

    def words(self) -> str:
        """The intervention in one line."""
        parts = [f"forced {name} = {value}" for name, value in self.forced.items()]
        parts += [f"{name}.severity = {value}" for name, value in self.severities.items()]
        parts += [f"{name} = {value}" for name, value in self.factors.items()]
        parts += [f"without {name}" for name in self.without]
        return "; ".join([*parts, f"only {', '.join(self.only)}"] if self.only else parts) or "nothing"

    def applied(self, record: DiagnosisRecord) -> DiagnosisRecord:
        """A record with the edits; what was forced stands in it already.

        Raises:
            Error: For an unknown kind or factor, and for a value that it cannot have.
        """
        for kind, severity in self.severities.items():
            record = record.edit(kind, severity=severity)
        record = with_factors(record, self.factors)
        record = record.without(*self.without) if self.without else record
        return record.only(*self.only) if self.only else record


def intervention(
    settings: Sequence[str], evidence: Sequence[str], without: Sequence[str], only: Sequence[str]
) -> Intervention:
    """An intervention from the command line's words.

    Args:
        settings: "KIND.severity=N", "KIND=N" or "KIND.FACTOR=VALUE": edits; any other field is forced.
        evidence: "KIND=WORDS": forced.
        without: Kinds.
        only: Kinds.

    Raises:
        Error: For words of another form or an unknown kind.
    """
    severities: dict[str, int] = {}
    factors: dict[str, float | str] = {}
    forced: dict[str, object] = {}
    for setting in settings:
        name, value = _split("--set", setting)
        kind, _, rest = name.removeprefix("findings.").partition(".")
        if rest in ("", "severity") and kind not in ("scene", "quality"):
            severities[kind] = _whole(setting, value)
        elif kind in ("scene", "quality") or rest in ("present", "evidence"):
            forced[name] = value
        else:
            factors[f"{kind}.{rest.removeprefix('factors.')}"] = value
    forced |= {f"{kind}.evidence": words for kind, words in (_split("--evidence", text) for text in evidence)}
    for kind in [*severities, *without, *only, *(name.partition(".")[0] for name in factors)]:
        _check(kind)
    return Intervention(forced, severities, factors, tuple(without), tuple(only))


def _split(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        example = "noise.severity=80" if option == "--set" else "noise=fine residual 24-34 levels"
        raise Error(f"{option} {text}: write NAME=VALUE, such as {option} '{example}'")
    return name.strip(), value.strip()


def _whole(setting: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Error(f"--set {setting}: a severity is a whole number") from None


def _check(kind: str) -> None:
    try:
        kind_named(kind)
    except ValueError as error:
        raise Error(str(error)) from None


def with_factors(record: DiagnosisRecord, factors: Mapping[str, float | str]) -> DiagnosisRecord:
    """A record whose findings have these factors. Raises Error for a kind that is not present and a wrong value."""
    if not factors or record.diagnosis is None:
        return record
    data = record.diagnosis.model_dump()
    for name, value in factors.items():
        kind, _, factor = name.partition(".")
        if not (data["findings"].get(kind) or {}).get("present"):
            raise Error(f"{name}: {kind} is not present, so it has no factors; set its severity, too")
        number = value if kind_named(kind).factor(factor).choices else float(value)
        data["findings"][kind]["factors"][factor] = number
    return record.model_copy(deep=True, update={"diagnosis": Diagnosis.from_json(json.dumps(data), "the edit")})


@dataclass
class Side:
    """A diagnosis and what was restored by it; `again` is the diagnosis of the result."""

    record: DiagnosisRecord
    pixels_HWC3: np.ndarray
    legs: list[Any]
    again: DiagnosisRecord | None = None


@dataclass
class Counterfactual:
    """What an intervention changed.

    Attributes:
        intervention: What was changed.
        original: The reasoner's own diagnosis, and what was restored by it.
        changed: The changed diagnosis, and what was restored by that.

    `intervene` has an example.
    """

    intervention: Intervention
    original: Side
    changed: Side

    @property
    def difference(self) -> float:
        """Mean absolute difference of the two results in 8-bit levels."""
        return 255 * float(np.abs(self.original.pixels_HWC3 - self.changed.pixels_HWC3).mean())

    def table(self, kinds: Sequence[str]) -> Table:
        """A row per kind: expected severity, pixel change by its leg, severity left, original and counterfactual."""
        rows: list[Row] = []
        for kind in kinds:
            row: Row = {"kind": kind}
            for name, side in (("", self.original), ("'", self.changed)):
                leg = next((leg for leg in side.legs if kind in leg.kinds), None)
                row[f"severity{name}"] = side.record.expected_severity(kind)
                row[f"pixels{name}"] = leg.change if leg else 0.0
                row[f"left{name}"] = side.again.expected_severity(kind) if side.again else None
            rows.append(row)
        note = (
            "severity: expected, 0-100; pixels: mean absolute change by the leg of the kind, 8-bit levels (kinds of "
            "one leg share it); left: expected severity of the result. ' marks the counterfactual: "
            f"{self.intervention.words()}. The two results differ by {self.difference:.2f} levels."
        )
        order = ["kind", *(f"{name}{mark}" for name in ("severity", "pixels", "left") for mark in ("", "'"))]
        return Table("Counterfactual", order, rows, note, dict.fromkeys(order, 1))


def intervene(
    reasoner: Any,
    restorer: Any,
    pixels_HWC3: np.ndarray,
    change: Intervention,
    num_inference_steps: int | None = None,
    seed: int = 0,
    again: bool = True,
    tell: Callable[[str], None] = lambda stage: None,
) -> Counterfactual:
    """Restore a photograph by its diagnosis and by a changed one.

    Args:
        reasoner: Diagnoses; for forced fields, one that runs in this process.
        restorer: Anything with `RestorePipeline.restore`.
        pixels_HWC3: Float in [0, 1].
        change: The intervention.
        num_inference_steps: Of each leg.
        seed: Of the restorer.
        again: Diagnose both results.
        tell: Hears of each stage.

    Raises:
        Error: For an intervention that cannot be, and where no diagnosis could be made.

    Example:
        >>> import rnr.reasoner, rnr.restorer
        >>> from PIL import Image
        >>> pixels_HWC3 = np.asarray(Image.open("photo.jpg"), np.float32) / 255
        >>> pair = rnr.reasoner.load(), rnr.restorer.load()
        >>> found = intervene(*pair, pixels_HWC3, Intervention(without=["noise"]), again=False)
        >>> found.changed.legs, found.difference > 0.1  # 8-bit levels
        ([], True)
    """
    if change.forced and not hasattr(reasoner, "lexicon"):
        raise Error("fields can be forced only where the weights run in this process, not behind a server")
    tell("diagnosing")
    before = diagnosed(reasoner, pixels_HWC3)
    after = change.applied(diagnosed(reasoner, pixels_HWC3, change.forced) if change.forced else before)
    sides = []
    for way, record in (("its own diagnosis", before), ("the changed diagnosis", after)):
        tell(f"restoring by {way}")
        result = restorer.restore(pixels_HWC3, record, num_inference_steps=num_inference_steps, seed=seed)
        tell(f"diagnosing the result of {way}")
        second = diagnosed(reasoner, result.pixels_HWC3) if again else None
        sides.append(Side(record, result.pixels_HWC3, result.legs, second))
    return Counterfactual(change, *sides)
