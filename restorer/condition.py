"""What the restorer is conditioned on: tokens, one per finding (belief, severity, factors), scene, quality, task.

The tokens are plain feature rows here (`Condition`); `ConditionEncoder` in network.py embeds them. A kind that is not
asked has no token. A Diagnosis alone is certain: what it holds present is there, what it holds absent is not to be
touched. Beliefs (of a DiagnosisRecord) replace certainty by probability and spread, so that doubt can be hedged.

Shapes: every tensor has a leading batch B; `findings[kind]` is (B, F_kind), `asked[kind]` is (B,) bool.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Scene
from rnr.degradation.intent import Intent
from rnr.degradation.kind import Curve, Factor, Kind, kinds
from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, TEXTURE

TASKS = ("blind", "restore")  # blind: no diagnosis at all; restore: remove what the findings say
SCENE_WIDTH = len(LIGHTING) + 2 * len(COLOURS) + len(TEXTURE) + len(LAYOUT)
QUALITY_WIDTH = 2
# P(present) below which a model's finding is left alone. Built-in reasoner, whole photographs of the three validation
# sets: at 0.5 / 0.6 / 0.7 / 0.8 / 0.9 findings in 11 / 11 / 9 / 7 / 4 of 116 undamaged ones, and 68 / 67 / 65 / 63 /
# 60% of 303 damages of severity 20 and more acted on (docs/lab-log.md, 2026-11-30).
CONFIDENT = 0.7


@dataclass
class Condition:
    """What the restorer is conditioned on, of a batch of B pictures; `encode` makes it of a Diagnosis or a record.

    Attributes:
        findings: By kind, (B, F_kind) float features: probability, severity, spread, factors.
        asked: By kind, (B,) bool; a kind that is not asked has no token.
        scene: (B, SCENE_WIDTH) one-hot labels, zeros where unknown.
        quality: (B, 2): technical quality / 100, and whether it is known.
        task: (B,) index into TASKS.

    Example:
        >>> from rnr.degradation.diagnosis import Diagnosis, Finding
        >>> noisy = Diagnosis(findings={"noise": Finding(present=True, severity=25)}, plan=["noise"])
        >>> condition = encode(Layout.of(kinds()), noisy)
        >>> [name for name, asked in condition.asked.items() if bool(asked)]
        ['noise']
    """

    findings: dict[str, torch.Tensor]
    asked: dict[str, torch.Tensor]
    scene: torch.Tensor  # (B, SCENE_WIDTH) one-hot labels, zeros where unknown
    quality: torch.Tensor  # (B, 2): technical / 100, known
    task: torch.Tensor  # (B,) index into TASKS

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Condition:
        """Elsewhere, its numbers in another type."""

        def move(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: t.to(device, dtype if t.is_floating_point() else t.dtype) for name, t in tensors.items()}

        rest = move({"scene": self.scene, "quality": self.quality, "task": self.task})
        return Condition(move(self.findings), move(self.asked), **rest)

    def repeat(self, count: int) -> Condition:
        """One picture's condition for a batch of `count` tiles."""

        def widen(t: torch.Tensor) -> torch.Tensor:
            return t.expand(count, *t.shape[1:])

        parts = {k: widen(v) for k, v in self.findings.items()}, {k: widen(v) for k, v in self.asked.items()}
        return Condition(*parts, widen(self.scene), widen(self.quality), widen(self.task))


@dataclass
class Layout:
    """Which kinds and factors a network knows, by name, and the curves of their severities: stored in its config, so
    that kinds and curves of later physics change nothing."""

    factors: dict[str, list[dict]] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, known: dict[str, Kind]) -> Layout:
        def row(f: Factor) -> dict:
            return {"name": f.name, "low": f.low, "high": f.high, "choices": list(f.choices)}

        factors = {name: [row(f) for f in kind.factors] for name, kind in known.items()}
        return cls(factors, {name: [list(knot) for knot in kind.curve] for name, kind in known.items()})

    def curve(self, kind: str) -> Curve | None:
        """Knots that the severities of these weights lie on; None: today's."""
        return [(magnitude, severity) for magnitude, severity in self.curves.get(kind, [])] or None

    def width(self, kind: str) -> int:
        return 4 + sum(len(f["choices"]) or 2 for f in self.factors[kind])


def finding_features(
    rows: list[dict],
    probability: torch.Tensor,
    severity: torch.Tensor,
    spread: torch.Tensor,
    factors: dict[str, torch.Tensor],
) -> torch.Tensor:
    """(B, F): probability, severity if present, expected severity, spread, then each factor in 0..1 (or one-hot).

    Factors are weighted by the probability, so that a surely absent finding is all zeros. NaN = unknown factor.
    """
    columns = [probability, severity / 100, probability * severity / 100, spread / 100]
    for row in rows:
        value = factors.get(row["name"], torch.full_like(probability, torch.nan))
        known = torch.isfinite(value)
        value = torch.where(known, value, 0)
        if row["choices"]:
            index = value.long().clamp(0, len(row["choices"]) - 1)
            hot = torch.nn.functional.one_hot(index, len(row["choices"])).float()
            columns += list((hot * (known * probability)[:, None]).unbind(1))
        else:
            scaled = (value - row["low"]) / (row["high"] - row["low"])
            columns += [torch.where(known, scaled, 0) * probability, known * probability]
    return torch.stack(columns, 1)


def scene_features(scene: Scene) -> torch.Tensor:
    """(1, SCENE_WIDTH); words outside the closed vocabulary (a big model's) leave their label unknown."""
    colours = list(scene.colours or [])[:2] + [None, None]
    slots = [(scene.lighting, LIGHTING), (colours[0], COLOURS), (colours[1], COLOURS)]
    slots += [(scene.texture, TEXTURE), (scene.layout, LAYOUT)]
    return torch.tensor([[float(option == word) for word, options in slots for option in options]], dtype=torch.float32)


def diagnosis_of(source: DiagnosisRecord | Diagnosis | None) -> Diagnosis | None:
    """The diagnosis itself, of a record or as it is; None where there is none."""
    return source.diagnosis if isinstance(source, DiagnosisRecord) else source


def wanted(
    source: DiagnosisRecord | Diagnosis, intent: Intent | None = None, known: Collection[str] | None = None
) -> list[str]:
    """Kinds that are present, wanted and (if `known` is given) known. ValueError for a record without a diagnosis."""
    diagnosis = diagnosis_of(source)
    if diagnosis is None:
        raise ValueError(f"there is no diagnosis to restore by ({getattr(source, 'error', None) or 'empty record'})")
    asked = diagnosis.present if intent is None or intent.kinds is None else intent.kinds
    doubtful = left_alone(source, intent)
    return [k for k in diagnosis.present if k in asked and k not in doubtful and (known is None or k in known)]


def beyond(source: DiagnosisRecord | Diagnosis | None, known: Collection[str]) -> list[str]:
    """Kinds that are present and that a restorer of these kinds cannot undo."""
    diagnosis = diagnosis_of(source)
    return [kind for kind in diagnosis.present if kind not in known] if diagnosis else []


def left_alone(source: DiagnosisRecord | Diagnosis | None, intent: Intent | None = None) -> dict[str, float]:
    """Findings of a model that are not restored by, because it is not sure of them.

    Args:
        source: A record of a model; a Diagnosis is certain, and so is what a person has edited in a record.
        intent: Kinds that it names, or `force`, overrule the doubt.

    Returns:
        P(present) of each finding that is held present with less than CONFIDENT; of a picture that is held to be no
        photograph, of every finding.
    """
    if not isinstance(source, DiagnosisRecord) or (intent and (intent.force or intent.kinds is not None)):
        return {}
    graphic = source.diagnosis is not None and source.diagnosis.scene.is_graphic
    believed = {kind: source.belief(kind) for kind in source.diagnosis.present} if source.diagnosis else {}
    estimated = {kind: belief.probability for kind, belief in believed.items() if belief and belief.spread}
    return {kind: p for kind, p in estimated.items() if graphic or p < CONFIDENT}


def encode(layout: Layout, source: Diagnosis | DiagnosisRecord | None, intent: Intent | None = None) -> Condition:
    """The condition (B = 1) of a Diagnosis (certain), of a record (with its beliefs), or of None (blind)."""
    diagnosis = diagnosis_of(source)
    findings, asked = {}, {}
    for name, rows in layout.factors.items():
        belief = _belief(name, source)
        if belief is not None and intent is not None and intent.kinds is not None and name not in intent.kinds:
            belief = Belief(probability=0, severity_if_present=0, spread=0)
        findings[name] = _features(name, rows, belief, diagnosis)
        asked[name] = torch.tensor([belief is not None])
    scene = scene_features(diagnosis.scene if diagnosis else Scene())
    technical = diagnosis.quality.technical if diagnosis else None
    quality = torch.tensor([[(technical or 0) / 100, float(technical is not None)]], dtype=torch.float32)
    return Condition(findings, asked, scene, quality, torch.tensor([0 if diagnosis is None else 1]))


def _belief(name: str, source: Diagnosis | DiagnosisRecord | None) -> Belief | None:
    """None where the kind was not asked or could not be said."""
    if isinstance(source, DiagnosisRecord) and (belief := source.belief(name)) is not None:
        return belief
    diagnosis = diagnosis_of(source)
    finding = diagnosis.findings.get(name) if diagnosis else None
    if finding is None or finding.present is None:
        return None
    return Belief(probability=float(finding.present), severity_if_present=float(finding.severity or 0), spread=0)


def _features(name: str, rows: list[dict], belief: Belief | None, diagnosis: Diagnosis | None) -> torch.Tensor:
    written = diagnosis.findings[name].factors if diagnosis and name in diagnosis.findings else {}
    kind = kinds().get(name)
    values = kind.values(written) if kind else {}
    belief = belief or Belief(probability=0, severity_if_present=0, spread=0)
    severity = belief.severity_if_present if belief.probability > 0 else 0.0
    numbers = torch.tensor([[belief.probability], [severity], [belief.spread]], dtype=torch.float32)
    return finding_features(rows, numbers[0], numbers[1], numbers[2], values)


def stack(rows: list[Condition]) -> Condition:
    """Conditions of single pictures as one batch."""

    def cat(part: str) -> dict[str, torch.Tensor]:
        return {name: torch.cat([getattr(r, part)[name] for r in rows]) for name in getattr(rows[0], part)}

    rest = [torch.cat([getattr(r, part) for r in rows]) for part in ("scene", "quality", "task")]
    return Condition(cat("findings"), cat("asked"), *rest)
