"""What a kind of degradation is: factors, one severity, a forward model, a measurement, words.

Shapes: image_BCHW is float in [0, 1], sRGB; factors is a dict of (B,) tensors, a categorical factor holding the index
of its choice. A kind is one file of this package that ends in `KIND = ...`; `kinds()` finds it.
"""

from __future__ import annotations

import copy
import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

PHYSICS = 2  # raised by whoever changes a forward model or a curve; cards, records and benchmarks name it
Factors = Mapping[str, "torch.Tensor"]
FactorValue = int | float | str
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Factor:
    """One physical quantity of a kind.

    Attributes:
        name: Such as sigma.
        unit: Such as 8-bit levels; empty for a word.
        low: The least value, in the unit.
        high: The greatest.
        step: Grid on which a Diagnosis writes the value.
        meaning: In words, for people and prompts.
        choices: Words that make up the values; then the number behind a value is the index of its word.
        since: The physics from which on a Diagnosis holds the factor: older weights neither write nor read it, and its
            lowest value means what the kind was without it.

    Example:
        >>> sigma = Factor("sigma", "8-bit levels", 1, 60, 1, "standard deviation of the noise")
        >>> sigma.text(12.7), sigma.written(99), sigma.value(13)
        ('13', 60, 13.0)
    """

    name: str
    unit: str
    low: float
    high: float
    step: float
    meaning: str
    choices: tuple[str, ...] = ()
    since: int = 1

    @property
    def decimals(self) -> int:
        return max(0, -math.floor(math.log10(self.step) + 1e-9))

    def text(self, value: float) -> str:
        """The value as a Diagnosis writes it: clipped to the range, on the grid; a choice by its index."""
        if self.choices:
            return self.choices[round(value)]
        steps = round((min(max(value, self.low), self.high) - self.low) / self.step)
        return f"{self.low + steps * self.step:.{self.decimals}f}"

    def written(self, value: float) -> FactorValue:
        """The value as a Diagnosis holds it: on the grid, whole numbers as int (1, not 1.0), a choice as its word."""
        text = self.text(value)
        return text if self.choices else canonical(float(text))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All legal values as the canonical JSON writes them (a choice without its quotes), in order."""
        if self.choices:
            return self.choices
        count = round((self.high - self.low) / self.step) + 1
        return tuple(str(self.written(self.low + i * self.step)) for i in range(count))

    def value(self, text_or_number: FactorValue) -> float:
        """The number behind a written value (the index of a choice). Raises ValueError outside the range."""
        if self.choices:
            if text_or_number not in self.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, not {text_or_number!r}")
            return float(self.choices.index(str(text_or_number)))
        try:
            number = float(text_or_number)
        except ValueError:
            raise ValueError(f"{self.name} must be a number, not {text_or_number!r}") from None
        if not self.low - 1e-9 <= number <= self.high + 1e-9:
            raise ValueError(f"{self.name} must lie in {self.low:g}..{self.high:g} {self.unit}, not {number:g}")
        return number


def canonical(value: FactorValue) -> FactorValue:
    """Whole numbers as int: JSON readers and grammars do not tell 1.0 from 1, so the canonical text has only 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def choice(name: str, choices: tuple[str, ...], meaning: str) -> Factor:
    return Factor(name, "", 0, len(choices) - 1, 1, meaning, choices)


@dataclass(frozen=True)
class Measurement:
    """What can be measured on the damaged picture itself, in bins, as evidence; most rise with severity.

    Attributes:
        name: What is measured, such as "fine residual".
        unit: Of the value.
        edges: Of the bins, rising, in the unit; `len(edges) + 1` bins.
        source: Where the measure comes from.
        falls: Whether it falls with severity.

    Example:
        >>> Measurement("fine residual", "levels", (2.0, 5.0), "").text(3.1)
        'fine residual 2-5 levels'
    """

    name: str
    unit: str
    edges: tuple[float, ...]
    source: str
    falls: bool = False

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """One phrase a bin: `name lo-hi unit`."""
        bounds = [f"{edge:g}" for edge in self.edges]
        ranges = [f"below {bounds[0]}", *(f"{a}-{b}" for a, b in zip(bounds, bounds[1:])), f"above {bounds[-1]}"]
        return tuple(f"{self.name} {r} {self.unit}".rstrip() for r in ranges)

    def text(self, value: float) -> str:
        return self.texts[sum(value >= edge for edge in self.edges)]


@dataclass(frozen=True)
class Words:
    """How a kind is spoken of: for people (report, help) and in prompts.

    Attributes:
        title: Its name.
        cause: What caused it.
        look: How it looks.
        remedy: What undoing it does.

    Example:
        >>> kinds()["haze"].words.title.lower()
        'haze'
    """

    title: str
    cause: str
    look: str
    remedy: str


class Kind(ABC):
    """A kind of degradation. Subclasses are stateless; every random draw comes from a generator that is handed in.

    A subclass in a file of `degradation/` is all that a new kind needs (docs/add-a-kind.md). Severity is 0-100 for all
    kinds: 1 - MS-SSIM of the median photograph on a logarithmic scale, frozen in `curve`.

    Attributes:
        name: As in a Diagnosis.
        factors: Physical quantities with units and ranges.
        main: The factor that is solved for, given severity and the others.
        measurement: The evidence that a Diagnosis names.
        curve: Knots (magnitude, severity), both rising.
        top: The highest severity within the factors' ranges.

    Example:
        >>> haze = kinds()["haze"]
        >>> haze.main in {factor.name for factor in haze.factors}, 0 < haze.top <= 100
        (True, True)
    """

    name: ClassVar[str]
    formation: ClassVar[int]  # place in the usual order of formation; the default plan undoes the last first
    factors: ClassVar[tuple[Factor, ...]]
    main: ClassVar[str]  # the factor that is solved for, given severity and the others
    harmless: ClassVar[Mapping[str, float]]  # factors that leave a picture as it is, whatever the others
    measurement: ClassVar[Measurement]
    words: ClassVar[Words]
    validation_severity: ClassVar[int]  # of the kind's own row among the tasks that trainings are validated on
    alike: ClassVar[tuple[str, ...]] = ()  # kinds that a reasoner takes for this one: its expert undoes them, too
    said_alone: ClassVar[bool] = False  # a picture does not show how much: an expert must not correct what is diagnosed
    second_pass_helps: ClassVar[bool] = True  # whether the agent gains by it after a first pass
    curve: ClassVar[tuple[tuple[float, float], ...]] = ()  # frozen (magnitude, severity) knots: `degradation.calibrate`

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Draw all factors but the main one: (count,) tensors."""

    @abstractmethod
    def magnitude(self, factors: Factors) -> torch.Tensor:
        """Physical strength (B,), 0 = none, strictly monotone in the main factor; `curve` turns it into severity."""

    @abstractmethod
    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        """The main factor that gives this magnitude (may fall outside its range; the caller clips)."""

    @abstractmethod
    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """Damage the pictures: the forward model, whose equation and source each kind cites.

        Args:
            image_BCHW: float in [0, 1].
            factors: a tensor (B,) each, those that are newer than physics 1 may be missing.
            seed: the same seed and batch shape give the same random layers, whatever the pictures.

        Returns:
            float in [0, 1], of the same shape and type.
        """

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """Approximate inverse of `apply` under these factors, whatever the random layers; here: none, the same."""
        return image_BCHW

    @abstractmethod
    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """The evidence: one number per picture (B,), in the unit of `measurement`."""

    def as_of(self, physics: int) -> Kind:
        """The kind with the factors that a Diagnosis of this physics holds; what else it does is as today."""
        older = copy.copy(self)
        older.factors = tuple(factor for factor in self.factors if factor.since <= physics)  # type: ignore[misc]
        return older

    def factor(self, name: str) -> Factor:
        for factor in self.factors:
            if factor.name == name:
                return factor
        raise ValueError(f"{self.name} has no factor {name!r}; it has {', '.join(f.name for f in self.factors)}")

    def values(self, written: Mapping[str, FactorValue]) -> dict[str, torch.Tensor]:
        """Factors as a Diagnosis writes them to (1,) tensors, float32 whatever the host's default type."""
        return {name: torch.tensor([self.factor(name).value(v)], dtype=torch.float32) for name, v in written.items()}

    @property
    def top(self) -> float:
        """The highest severity within the factors' ranges."""
        return self.curve[-1][1]

    @property
    def highest(self) -> int:
        """The highest severity as a Diagnosis writes it."""
        return round(self.top)

    def severity(self, factors: Factors) -> torch.Tensor:
        """Severity 0..100 (B,) of these factors, on the scale shared by all kinds (`measure.severity_of_loss`)."""
        return interpolate(self.magnitude(factors), self.curve)

    def ends(self, factors: Factors) -> tuple[torch.Tensor, torch.Tensor]:
        """Smallest and largest magnitude (B,) that the main factor can give beside these factors."""
        main = self.factor(self.main)
        like = next(iter(factors.values()))
        corners = [torch.full_like(like, end, dtype=torch.float32) for end in (main.low, main.high)]
        first, second = (self.magnitude({**factors, self.main: corner}) for corner in corners)
        return torch.minimum(first, second), torch.maximum(first, second)

    def draw_between(self, low: float, high: float, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Factors whose severity is uniform from `low` to `high`, as far as it is in reach of the other factors."""
        factors = self.sample(count, generator)
        most = interpolate(self.ends(factors)[1], self.curve).clamp(max=high)
        wanted = low + (most - low).clamp(min=0) * uniform(count, 0, 1, generator)
        return self.with_severity(wanted, factors)

    def draw(self, severity_B: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Factors of about this severity, as a Diagnosis could write them; `severity()` of them is the exact label."""
        factors = self.sample(len(severity_B), generator)
        return self.with_severity(severity_B, factors)

    def with_severity(
        self, severity_B: torch.Tensor, factors: Factors, curve: Curve | None = None
    ) -> dict[str, torch.Tensor]:
        """The same nuisance factors with the main one solved for this severity, clipped to its range.

        `curve`: the knots on which the severities were read, where they are not today's (of older weights).
        """
        main = self.factor(self.main)
        target = interpolate(severity_B, tuple((s, m) for m, s in curve or self.curve))
        return {**factors, self.main: self.solve(target, factors).clamp(main.low, main.high)}

    def generator(self, seed: int, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(seed)


def interpolate(x: torch.Tensor, knots: Curve) -> torch.Tensor:
    """Piecewise linear through increasing knots, constant outside."""
    x = x if x.is_floating_point() else x.float()
    xs, ys = (torch.tensor(column, dtype=x.dtype, device=x.device) for column in zip(*knots))
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0, 1)


def column(value: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, 1, 1)."""
    return value.view(-1, 1, 1, 1)


def optional(factors: Factors, factor: Factor) -> torch.Tensor:
    """(B,) of a factor that may be missing (see `Factor.since`): its lowest value then."""
    return (
        factors[factor.name]
        if factor.name in factors
        else torch.full_like(next(iter(factors.values())).float(), factor.low)
    )


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


def luma(image_BCHW: torch.Tensor) -> torch.Tensor:
    """Rec. 601 luma, (B, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image_BCHW.dtype, device=image_BCHW.device)
    return (image_BCHW * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def fft_filter(image_BCHW: torch.Tensor, kernel_BKK: torch.Tensor) -> torch.Tensor:
    """Convolve every channel of picture b with kernel b (odd, at most twice the picture's side), mirrored borders."""
    half = kernel_BKK.shape[-1] // 2
    pad = [min(half, image_BCHW.shape[-1] - 1)] * 2 + [min(half, image_BCHW.shape[-2] - 1)] * 2
    padded = torch.nn.functional.pad(image_BCHW, pad, mode="reflect")
    size = (padded.shape[-2] + 2 * half, padded.shape[-1] + 2 * half)
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel_BKK, s=size)[:, None]
    top, left = half + pad[2], half + pad[0]
    full = torch.fft.irfft2(spectrum, s=size)
    return full[..., top : top + image_BCHW.shape[-2], left : left + image_BCHW.shape[-1]]


def kinds() -> dict[str, Kind]:
    """All kinds of this package by name, in formation order: every module here that defines `KIND`.

    Example:
        >>> list(kinds())[:3]
        ['blur', 'rain', 'snow']
    """
    package = importlib.import_module("rnr.degradation")
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    modules = [importlib.import_module(f"rnr.degradation.{name}") for name in names]
    found = [module.KIND for module in modules if hasattr(module, "KIND")]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: (kind.formation, kind.name))}


def kind_named(name: str) -> Kind:
    """A kind by its name. Raises ValueError that lists the known kinds.

    Example:
        >>> kind_named("noise").main
        'sigma'
    """
    known = kinds()
    if name not in known:
        raise ValueError(f"unknown kind of degradation {name!r}; known: {', '.join(known)}")
    return known[name]
