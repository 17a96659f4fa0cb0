"""Clean picture + seed -> degraded picture + its true Diagnosis.

A `Mixture` is the recipe of a batch: steps in order of formation, each a kind with a mask of the pictures it hits,
its factors and the seed of its random layers. The same recipe can be applied again with some kinds left out
(`keep`), which gives the partial targets that a restorer learns from. Curriculum: single, several, high_order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, Finding, Quality, Scene, quality_words, reasoning_order
from rnr.degradation.kind import PHYSICS, Factors, Kind, kinds
from rnr.degradation.measure import loss_of_severity, severity_of_loss, technical_quality
from rnr.degradation.photographs import rounded
from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, MEDIUM, TEXTURE, scene_labels

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

Stage = Literal["single", "several", "high_order"]
HOW_MANY = {"single": (0.1, 0.9), "several": (0.1, 0.2, 0.3, 0.4), "high_order": (0.05, 0.2, 0.3, 0.3, 0.15)}
CLOSE = 2  # a prescribed severity is met within this much (JPEG quality is a whole number)
VISIBLE = 2.5  # severities below this count as absent: nobody could tell


@dataclass
class Step:
    kind: Kind
    mask_B: torch.Tensor  # which pictures of the batch
    factors: dict[str, torch.Tensor]  # (B,), of all pictures; only those under the mask are used
    seed: int


@dataclass
class Mixture:
    """How a batch was damaged, in order of formation.

    Attributes:
        steps: A kind, its factors (B,) and the pictures (B,) that it hits, each.
        batch: B, the number of pictures.

    Example:
        >>> recipe = prescribe({"noise": 40}, seed=0, batch=2)
        >>> recipe.severity("noise").round().tolist(), recipe.severity("haze").tolist()
        ([40.0, 40.0], [0.0, 0.0])
    """

    steps: list[Step]
    batch: int

    def severity(self, kind: str) -> torch.Tensor:
        """Severity (B,) of a kind, 0 where absent; repeats add up as losses do: 1 - (1 - a)(1 - b)."""
        kept = torch.ones(self.batch, device=self.device)
        for step in self.of(kind):
            severity = step.kind.severity(step.factors) * step.mask_B
            kept = kept * (1 - loss_of_severity(severity))
        severity = severity_of_loss(1 - kept)
        return torch.where(severity < VISIBLE, 0, severity)

    def factors(self, kind: str) -> dict[str, torch.Tensor]:
        """Factors (B,) of the strongest occurrence; {} if the kind never occurs."""
        steps = self.of(kind)
        if not steps:
            return {}
        strength = torch.stack([step.kind.severity(step.factors) * step.mask_B for step in steps])
        strongest = strength.argmax(0)[None]
        stacked = {name: torch.stack([step.factors[name] for step in steps]) for name in steps[0].factors}
        return {name: values.gather(0, strongest)[0] for name, values in stacked.items()}

    def of(self, kind: str) -> list[Step]:
        return [step for step in self.steps if step.kind.name == kind]

    @property
    def device(self) -> torch.device | None:
        return self.steps[0].mask_B.device if self.steps else None


def draw_mixture(
    batch: int,
    generator: torch.Generator,
    stage: Stage = "several",
    names: Sequence[str] | None = None,
    severity: tuple[float, float] = (5, 100),
) -> Mixture:
    """A recipe for a batch: how many kinds, which, and how severe.

    Args:
        batch: Number of pictures.
        generator: Everything random comes from it; the recipe lies on its device.
        stage: single (none or one kind a picture), several, or high_order (kinds in any order, two of them twice).
        names: The kinds to choose from, in any order; whoever measures weights gives the kinds of their card, so that a
            kind that is added later changes no draw.
        severity: Lowest and highest, 0-100; uniform between, within what each kind can reach.

    Returns:
        The recipe; `degrade` applies it.

    Example:
        >>> import torch
        >>> recipe = draw_mixture(3, torch.Generator().manual_seed(0), "single", ["noise"])
        >>> recipe.batch, {step.kind.name for step in recipe.steps}
        (3, {'noise'})
    """
    chosen = [kind for kind in kinds().values() if names is None or kind.name in names]
    device = generator.device
    weights = torch.tensor(HOW_MANY[stage][: len(chosen) + 1], device=device)
    count = torch.multinomial(weights, batch, replacement=True, generator=generator)
    rank = torch.rand(batch, len(chosen), generator=generator, device=device).argsort(1).argsort(1)
    masks = dict(zip([kind.name for kind in chosen], (rank < count[:, None]).unbind(1)))
    order = _formation_order(chosen, stage, generator)
    steps = []
    for position, kind in enumerate(order):
        mask = masks[kind.name]
        if any(earlier.name == kind.name for earlier in order[:position]):  # a second time, for a third of those hit
            mask = mask & (torch.rand(batch, generator=generator, device=device) < 0.33)
        factors = kind.draw_between(*severity, batch, generator)
        steps.append(Step(kind, mask, factors, draw_seed(generator)))
    return Mixture(steps, batch)


def _formation_order(chosen: list[Kind], stage: Stage, generator: torch.Generator) -> list[Kind]:
    """Usually as things happen; sometimes (always at high order) any order; at high order two kinds come twice."""
    usual = sorted(chosen, key=lambda kind: kind.formation)
    if stage == "single" or (stage == "several" and draw_seed(generator) % 4):
        return usual
    twice = [usual[draw_seed(generator) % len(usual)] for _ in range(2)] if stage == "high_order" else []
    pool = usual + [kind for position, kind in enumerate(twice) if kind not in twice[:position]]
    return [pool[i] for i in torch.randperm(len(pool), generator=generator, device=generator.device).tolist()]


def draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(0, 2**31, (1,), generator=generator, device=generator.device))


def degrade(clean_BCHW: torch.Tensor, mixture: Mixture, keep: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Apply the recipe and round to 8 bits, as a file would.

    Args:
        clean_BCHW: RGB, float in [0, 1].
        mixture: Of `prescribe` or `draw_mixture`, for as many images.
        keep: By kind, (B,): False leaves the kind out of that image.

    Returns:
        float in [0, 1], of the same shape.

    Example:
        >>> import torch
        >>> clean = torch.full((1, 3, 32, 32), 0.5)
        >>> damaged = degrade(clean, prescribe({"noise": 40}, seed=0))
        >>> damaged.shape, bool((damaged != clean).any())
        (torch.Size([1, 3, 32, 32]), True)
    """
    image = clean_BCHW
    for _, changed in stages(clean_BCHW, mixture, keep):
        image = changed
    return rounded(image)


def stages(
    clean_BCHW: torch.Tensor, mixture: Mixture, keep: dict[str, torch.Tensor] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each kind that does something, and the pictures after it, in the order of formation; arguments of `degrade`."""
    image = clean_BCHW
    for step in mixture.steps:
        rows = step.mask_B.nonzero()[:, 0]
        if len(rows) == 0 or (keep is not None and not keep[step.kind.name][rows].any()):
            continue
        factors = {name: values[rows] for name, values in step.factors.items()}
        damaged = step.kind.apply(image[rows], factors, step.seed)
        if keep is not None:
            damaged = torch.where(keep[step.kind.name][rows].view(-1, 1, 1, 1), damaged, image[rows])
        image = image.index_copy(0, rows, damaged)
        yield step.kind.name, image


def traces(clean_BCHW: torch.Tensor, mixture: Mixture, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The degraded pictures, and where each of these kinds changed them: (B, K, H, W), mean over colours, 0..1."""
    traced = torch.zeros(len(clean_BCHW), len(names), *clean_BCHW.shape[-2:])
    before = clean_BCHW
    for name, image in stages(clean_BCHW, mixture):
        if name in names:
            traced[:, names.index(name)] += (image - before).abs().mean(1)
        before = image
    return rounded(before), traced


def truths(
    clean_BCHW: torch.Tensor,
    degraded_BCHW: torch.Tensor,
    mixture: Mixture,
    names: Sequence[str] | None = None,
    graphic_B: Sequence[bool] | None = None,
    physics: int = PHYSICS,
    objects: Sequence[list[str] | None] | None = None,
) -> list[Diagnosis]:
    """The true Diagnosis of each picture of a batch: findings from the recipe, evidence and scene from the pixels.

    Args:
        clean_BCHW: RGB, float in [0, 1].
        degraded_BCHW: The same after `degrade`.
        mixture: The recipe.
        names: The kinds that are asked for; all by default.
        graphic_B: Which pictures are no photographs.
        physics: What older weights do not write, factors and the scene's medium and objects, is left out.
        objects: What each picture shows, words of `scene.THINGS`, where it is known.

    Returns:
        A Diagnosis for each of the B pictures.

    Example:
        >>> import torch
        >>> clean = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> recipe = prescribe({"noise": 40}, seed=0)
        >>> truths(clean, degrade(clean, recipe), recipe, ["noise", "haze"])[0].present
        ['noise']
    """
    known = {name: kind.as_of(physics) for name, kind in kinds().items()}
    order = [name for name in reasoning_order(known) if names is None or name in names]
    columns = {name: _findings(known[name], degraded_BCHW, mixture) for name in order}
    scenes = _scenes(clean_BCHW, graphic_B, objects, physics)
    found = []
    for i, technical in enumerate(technical_quality(degraded_BCHW, clean_BCHW).round().int().tolist()):
        findings = {name: column[i] for name, column in columns.items()}
        quality = Quality(technical=technical, words=quality_words(technical), source="model")
        plan = [name for name in order if findings[name].present]
        found.append(Diagnosis.model_construct(scene=scenes[i], findings=findings, quality=quality, plan=plan))
    return found


def _findings(kind: Kind, degraded_BCHW: torch.Tensor, mixture: Mixture) -> list[Finding]:
    """Of one kind, in each picture."""
    factors = {name: values.tolist() for name, values in mixture.factors(kind.name).items()}
    evidence = [kind.measurement.text(value) for value in kind.measure(degraded_BCHW).tolist()]
    found = []
    for i, severity in enumerate(map(round, mixture.severity(kind.name).tolist())):
        values = {f.name: f.written(factors[f.name][i]) for f in kind.factors} if severity else {}
        found.append(Finding(evidence=evidence[i], present=severity > 0, severity=severity, factors=values))
    return found


def _scenes(
    clean_BCHW: torch.Tensor, graphic_B: Sequence[bool] | None, objects: Sequence[list[str] | None] | None,
    physics: int,
) -> list[Scene]:  # fmt: skip
    """Of each picture."""
    labels = {name: values.tolist() for name, values in scene_labels(clean_BCHW).items()}
    found = []
    for i in range(len(clean_BCHW)):
        medium: Any = MEDIUM[bool(graphic_B and graphic_B[i])] if physics > 1 else None
        lighting, texture = LIGHTING[labels["lighting"][i]], TEXTURE[labels["texture"][i]]
        colours, layout = [COLOURS[c] for c in labels["colours"][i]], LAYOUT[labels["layout"][i]]
        shown = (objects[i] or None) if objects and physics > 1 else None
        found.append(
            Scene(medium=medium, lighting=lighting, colours=colours, texture=texture, layout=layout, objects=shown)
        )
    return found


def synthesize(
    clean_BCHW: torch.Tensor, seed: int, stage: Stage = "several", names: Sequence[str] | None = None
) -> tuple[torch.Tensor, list[Diagnosis], Mixture]:
    """Damage clean pictures (B, 3, H, W) in [0, 1]; the same seed and batch give the same result on the same device."""
    generator = torch.Generator(clean_BCHW.device).manual_seed(seed)
    mixture = draw_mixture(len(clean_BCHW), generator, stage, names)
    degraded = degrade(clean_BCHW, mixture)
    return degraded, truths(clean_BCHW, degraded, mixture, names), mixture


def reaching(kind: Kind, severity_B: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Factors of this severity; nuisance factors that put it out of reach (such as a strong gamma) are redrawn."""

    def miss(factors: Factors) -> torch.Tensor:
        return (kind.severity(factors) - severity_B).abs()

    factors = kind.draw(severity_B, generator)
    for _ in range(64):
        if not (miss(factors) > CLOSE).any():
            break
        again = kind.draw(severity_B, generator)
        better = (miss(factors) > CLOSE) & (miss(again) < miss(factors))
        factors = {name: torch.where(better, again[name], value) for name, value in factors.items()}
    return factors


def prescribe(requests: dict[str, float], seed: int, batch: int = 1) -> Mixture:
    """A recipe with exactly these kinds at these severities, in the usual order. ValueError beyond a kind's range."""
    known = kinds()
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for name, kind in known.items():
        if name not in requests:
            continue
        if not 0 < requests[name] <= kind.top:
            raise ValueError(f"{name}: severity must lie in 1..{kind.top:g}, not {requests[name]:g}")
        factors = reaching(kind, torch.full((batch,), float(requests[name])), generator)
        steps.append(Step(kind, torch.ones(batch, dtype=torch.bool), factors, draw_seed(generator)))
    unknown = set(requests) - set(known)
    if unknown:
        raise ValueError(f"unknown kind of degradation {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return Mixture(steps, batch)
