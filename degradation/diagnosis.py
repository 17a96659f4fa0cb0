"""The Diagnosis: what happened to a picture, how much, by which cause, in what scene. Label, output, condition, report.

States: a kind that is missing from `findings` was not asked; `present: null` means it could not be said. Neither is 0.
JSON is compact and canonical: `Diagnosis.to_json()`; `Diagnosis.from_json()` reads it and says what is wrong with it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from rnr.degradation.display import Displayed
from rnr.degradation.kind import Kind, canonical, kinds

SCHEMA_VERSION: Literal["1"] = "1"
State = Literal["present", "absent", "unknown", "not_asked"]
QUALITY_WORDS = ((85, "excellent"), (65, "good"), (45, "fair"), (25, "poor"), (0, "bad"))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scene(_Strict):
    """What the picture shows.

    The built-in reasoner chooses from closed lists (`degradation.scene`) and leaves the summary null. A field that
    could not be said, or was not asked, is None.

    Attributes:
        medium: photograph or graphic; asked since physics 2. One that was not asked does not stand in the JSON.
        summary: Free text, of a reasoner that writes it.
        lighting: How bright it is on the whole: dark, dim, medium, bright.
        colours: The two colours that cover most of it.
        texture: How much fine structure it has.
        layout: Where it is brighter, such as brighter_top.
        objects: Up to four words of a closed list; asked since physics 2.

    Example:
        >>> Scene(medium="graphic").is_graphic, Scene().is_graphic
        (True, False)
    """

    medium: Literal["photograph", "graphic"] | None = None
    summary: str | None = None
    lighting: str | None = None
    colours: list[str] | None = None
    texture: str | None = None
    layout: str | None = None
    objects: list[str] | None = None

    @property
    def is_graphic(self) -> bool:
        """Whether the picture is held to be no photograph; False where the medium was not asked."""
        return self.medium == "graphic"

    @model_serializer(mode="wrap")
    def _asked(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name != "medium" or value is not None}


class Finding(_Strict):
    """One kind: evidence first, then whether, how much, and by which physical factors.

    Attributes:
        evidence: A measurement of the image in words, such as "fine residual 12-17 levels".
        present: None where it could not be said.
        severity: 0-100; 0 for absent, None where it could not be said.
        factors: By name, in the units of the kind, such as {"sigma": 13} in 8-bit levels.

    Example:
        >>> Finding(present=True, severity=40, factors={"sigma": 13}).evidence is None
        True
    """

    evidence: str | None = None
    present: bool | None
    severity: int | None = Field(ge=0, le=100)
    factors: dict[str, int | float | str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Finding:
        if self.present is None and self.severity is not None:
            raise ValueError("severity must be null where `present` is null (could not say)")
        if self.present is not None and self.present != bool(self.severity):
            raise ValueError(
                f"severity is 0 if and only if not present; got present={self.present}, severity={self.severity}"
            )
        if not self.present and self.factors:
            raise ValueError("factors belong to a finding that is present")
        return self


class Quality(_Strict):
    """Technical and aesthetic quality, and who says so.

    Attributes:
        technical: 0-100, 100 = nothing lost, as a full-reference measure (MS-SSIM) would say; None where not known.
        aesthetic: 0-100; None where nobody can tell, as in the built-in models.
        words: The same in words, such as "poor".
        source: model (the reasoner's own number), or quality model.

    Example:
        >>> Quality(technical=72).aesthetic is None
        True
    """

    technical: int | None = Field(default=None, ge=0, le=100)
    aesthetic: int | None = Field(default=None, ge=0, le=100)
    words: str | None = None
    source: str = "model"


class Diagnosis(Displayed, _Strict):
    """What happened to an image: label, output, condition, reward and report.

    A kind that `findings` lacks was not asked. An instance is checked when it is made: unknown kinds, factors beyond
    their range and a plan that names what is not present raise ValueError.

    Attributes:
        schema_version: Of the format.
        scene: What the image shows.
        findings: By kind, in the order of reasoning.
        quality: Technical and aesthetic quality, 0-100.
        plan: Kinds in the order in which they are removed.

    Example:
        >>> noisy = Diagnosis(findings={"noise": Finding(present=True, severity=25)}, plan=["noise"])
        >>> noisy.present, noisy.state("haze")
        (['noise'], 'not_asked')
    """

    schema_version: Literal["1"] = SCHEMA_VERSION
    scene: Scene = Scene()
    findings: dict[str, Finding]
    quality: Quality = Quality()
    plan: list[str] = []

    @model_validator(mode="after")
    def _known(self) -> Diagnosis:
        known = kinds()
        for name, finding in self.findings.items():
            if name not in known:
                raise ValueError(f"unknown kind {name!r}; known: {', '.join(known)}")
            for factor, value in finding.factors.items():
                try:
                    spec = known[name].factor(factor)
                    number = spec.value(value)
                except ValueError as error:
                    raise ValueError(f"findings.{name}.factors: {error}") from None
                finding.factors[factor] = value if spec.choices else canonical(number)
        astray = [name for name in self.plan if not self.findings.get(name, _ABSENT).present]
        if astray:
            raise ValueError(f"the plan names {', '.join(astray)}, which the findings do not hold present")
        return self

    def state(self, kind: str) -> State:
        """ "present", "absent", "unknown" (it could not be said) or "not_asked"."""
        if kind not in self.findings:
            return "not_asked"
        present = self.findings[kind].present
        return "unknown" if present is None else "present" if present else "absent"

    @property
    def present(self) -> list[str]:
        """Kinds held present, in the order of the findings."""
        return [name for name, finding in self.findings.items() if finding.present]

    def edit(self, kind: str, *, severity: int) -> Diagnosis:
        """A copy in which one kind has this severity; presence, factors and plan follow.

        The main factor is solved for the severity beside the other factors, and left out where they do not give it.
        Evidence stays, as it was measured on the image.

        Args:
            kind: Name of a kind, also of one that was not asked.
            severity: 0 for absent, else up to the kind's top.

        Raises:
            DiagnosisError: For an unknown kind, and for a severity above the top, which it names.

        Example:
            >>> foggy = Diagnosis(findings={"haze": Finding(present=True, severity=60)}, plan=["haze"])
            >>> foggy.edit("haze", severity=0).present
            []
        """
        from rnr.degradation.editing import edited

        return edited(self, {kind: severity})

    def without(self, *names: str) -> Diagnosis:
        """A copy in which these kinds are absent. Raises DiagnosisError for an unknown one.

        Example:
            >>> Diagnosis(findings={"rain": Finding(present=True, severity=9)}, plan=["rain"]).without("rain").plan
            []
        """
        from rnr.degradation.editing import edited

        return edited(self, dict.fromkeys(names, 0))

    def only(self, *names: str) -> Diagnosis:
        """A copy in which every finding but these is absent. Raises DiagnosisError for an unknown one."""
        from rnr.degradation.editing import edited, others

        return edited(self, others(self, names))

    def to_json(self) -> str:
        """Compact JSON, which `from_json` reads."""
        return json.dumps(self.model_dump(), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, origin: str = "diagnosis") -> Diagnosis:
        """Read a Diagnosis, or the `diagnosis` inside a record. ValueError names `origin` and each mistake."""
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{origin}: not JSON ({error})") from None
        if isinstance(data, dict) and isinstance(data.get("before"), dict):  # what `rnr restore` writes
            data = data["before"]
        if isinstance(data, dict) and "diagnosis" in data:  # a DiagnosisRecord
            data = data["diagnosis"]
        if not isinstance(data, dict):
            raise ValueError(f"{origin}: holds no diagnosis")
        version = data.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{origin}: schema version {version!r}; this release reads {SCHEMA_VERSION!r}: diagnose again"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            mistakes = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'diagnosis'}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{origin}: {mistakes}") from None

    @classmethod
    def read(cls, path: str | Path) -> Diagnosis:
        """Read a file, with or without a byte order mark. Raises ValueError that names it, or OSError."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text") from None
        return cls.from_json(text, str(path))


_ABSENT = Finding(present=False, severity=0)


class Belief(_Strict):
    """What a reasoner believes of one kind, beyond its greedy words.

    Attributes:
        probability: P(present), 0..1.
        severity_if_present: E[severity | present], 0..100.
        spread: Standard deviation of severity | present, in points of severity.
        interval: The central 80% of severity | present, (low, high).
        distribution: P(severity = 1..100 | present), 100 numbers to 4 decimals; None where it is not known.

    Example:
        >>> Belief(probability=0.5, severity_if_present=40, spread=6).expected_severity
        20.0
    """

    probability: float  # P(present)
    severity_if_present: float  # E[severity | present]
    spread: float  # standard deviation of severity | present
    interval: tuple[float, float] | None = None  # central 80% of severity | present
    distribution: list[float] | None = None  # P(severity = 1..100 | present), to 4 decimals; None where it is not known

    @property
    def expected_severity(self) -> float:
        """P(present) x E[severity | present]: what rewards and the agent read."""
        return self.probability * self.severity_if_present

    @classmethod
    def certain(cls, severity: int) -> Belief:
        """Of a severity that is known, such as one that a person set; 0: surely absent."""
        here = float(severity)
        return cls(probability=float(severity > 0), severity_if_present=here, spread=0, interval=(here, here))


class TokenTrace(_Strict):
    """The chosen tokens: id, log-probability among the legal ones, and where in the text the field stands."""

    field: str  # path in the Diagnosis, such as findings.noise.severity
    start: int  # span in `text`, characters
    end: int
    token_ids: list[int]
    logprobs: list[float]
    alternatives: list[list[tuple[str, float]]] = []  # for each token the likeliest others: text, log-probability

    @property
    def confidence(self) -> float:
        """Probability of the field's value, given all before it."""
        from math import exp

        return exp(sum(self.logprobs))


class DiagnosisRecord(Displayed, _Strict):
    """Everything about one diagnosis: what was said, how surely, by which model, from which text.

    `diagnosis` is None and `error` says why where none could be made.

    Example:
        >>> found = Diagnosis(findings={"haze": Finding(present=True, severity=40)})
        >>> record = DiagnosisRecord(diagnosis=found, beliefs={
        ...     "haze": Belief(probability=0.5, severity_if_present=60, spread=5, interval=(50, 70))})
        >>> record.expected_severity("haze"), record.expected_severity("rain")
        (30.0, None)
    """

    diagnosis: Diagnosis | None
    beliefs: dict[str, Belief] = {}
    text: str = ""
    trace: list[TokenTrace] = []
    picture_size: tuple[int, int] | None = None  # width, height
    model: str = ""
    model_hash: str = ""
    prompt: str = ""
    prompt_version: str = ""
    prompt_text: str = ""
    views: list[tuple[int, int, int, int]] = []  # where they lie in the picture, px: top, left, height, width
    picture_sha256: str = ""  # of the 8-bit RGB pixels, row by row
    versions: dict[str, str] = {}  # of the packages that made it
    physics: int = 1  # in which its severities and factors are meant (`kind.PHYSICS`); older records do not say
    settings: dict[str, Any] = {}
    forward_passes: int = 0
    seconds: float = 0.0
    error: str | None = None

    def expected_severity(self, kind: str) -> float | None:
        """P(present) x E[severity | present], 0-100; None where it was not asked or not scored, never 0 for that."""
        belief = self.belief(kind)
        return belief.expected_severity if belief else None

    def belief(self, kind: str) -> Belief | None:
        """What is believed of a kind; certainty where the diagnosis is not what the model wrote: an edit overrules.

        Returns:
            None where the kind was not asked or could not be scored.
        """
        finding = self.diagnosis.findings.get(kind) if self.diagnosis else None
        written = _written(self.text)
        if finding is None or kind not in written or written[kind] == finding.severity:
            return self.beliefs.get(kind)
        return None if finding.severity is None else Belief.certain(finding.severity)

    def edit(self, kind: str, *, severity: int) -> Self:
        """As `Diagnosis.edit`; the belief in this kind becomes certain, and `settings["edited"]` says so."""
        from rnr.degradation.editing import edited_record

        return edited_record(self, {kind: severity})  # type: ignore[return-value]

    def without(self, *names: str) -> Self:
        """As `Diagnosis.without`, with certain beliefs."""
        from rnr.degradation.editing import edited_record

        return edited_record(self, dict.fromkeys(names, 0))  # type: ignore[return-value]

    def only(self, *names: str) -> Self:
        """As `Diagnosis.only`, with certain beliefs: what was only suspected is absent, too."""
        from rnr.degradation.editing import edited_record, others

        return edited_record(self, others(self.diagnosis, names))  # type: ignore[return-value]


@lru_cache(256)
def _written(text: str) -> dict[str, int | None]:
    """The severity of each finding in a model's text; empty where that is no diagnosis."""
    try:
        findings = json.loads(text)["findings"] if text else {}
        return {name: finding["severity"] for name, finding in findings.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def reasoning_order(known: dict[str, Kind] | None = None) -> list[str]:
    """Last formed, first seen: the order of the findings and of the default plan."""
    return list(reversed(known or kinds()))


def quality_words(technical: int) -> str:
    return next(words for edge, words in QUALITY_WORDS if technical >= edge)
