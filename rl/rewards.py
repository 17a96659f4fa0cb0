"""Rewards: plain picklable callables in TRL's convention, `f(prompts, completions, **columns) -> list[float | None]`.

None where a thing could not be scored, never 0. Scores are combined by weights (`combine`) that records keep apart.
Pictures are float (3, H, W) in [0, 1]. What is measured but must not train stands in `metrics.py`.

A recipe names ours, or one of your own by its import path (`reward = "my_module:my_reward"`):

    def my_reward(prompts, completions, degraded, **columns):  # restored and degraded images of loop B
        return [float(after.std() - before.std()) for before, after in zip(degraded, completions)]

A class is made with the judge first: `MyReward(judge)(prompts, completions, **columns)`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.kind import kinds
from rnr.degradation.loading import object_at
from rnr.degradation.photographs import to_uint8
from rnr.judge.change import Change, Seen, change, reread
from rnr.judge.content import PASS

if TYPE_CHECKING:
    import torch

    from rnr.rl.judge import Judge

Scores = list[float | None]
Reward = Callable[..., Scores]

LEAST = 10.0  # sum of expected severities below which the judge saw no damage that could be removed
FOUND = 10.0  # mean severity from which a kind counts as present where nobody says which are; a choice
TOLERANCE = 30.0  # points of severity at which a severity earns nothing


class SeverityReward:
    """What the agent accepts by, as a reward: r = g max(d, 0) + min(d, 0) - n - (1 - g); doing nothing scores 0.

    Of `judge.Change`: d = removed / before, n = (new + over) / before, g = content / PASS, at most 1. Per view of the
    judge; paid is the mean minus the spread. None where the judge saw no damage or could not diagnose.

    Args:
        judge: A frozen reasoner.
        gate: False leaves out content and over-correction, which pixels show: only to see how that is hacked.

    Example:
        >>> reward = SeverityReward(Judge(rnr.reasoner.load_local()))  # doctest: +SKIP
        >>> scores = reward([""], [restored_CHW], degraded=[degraded_CHW])  # doctest: +SKIP
    """

    __name__ = "severity"

    def __init__(self, judge: Judge, gate: bool = True) -> None:
        """`gate=False` leaves out content and over-correction, which pixels show: only to see how that is hacked."""
        self.judge, self.gate = judge, gate

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], degraded: Any = None, present: Any = None,
        environments: Any = None, **columns: Any,
    ) -> Scores:  # fmt: skip
        """`completions` are restored images, `degraded` and `present` (kinds to remove; may be missing) their columns;
        an agent's `environments` hold all of these themselves."""
        if environments is not None:
            completions = [e.picture for e in environments]
            degraded, present = ([getattr(e, n) for e in environments] for n in ("degraded", "present"))
        if degraded is None:
            raise ValueError("the severity reward needs the column `degraded`: what the pictures were restored from")
        return [self.score(*row) for row in zip(completions, degraded, present or [None] * len(completions))]

    def score(self, restored: torch.Tensor, degraded: torch.Tensor, present: list[str] | None) -> float | None:
        """One image."""
        changes = self.changes(restored, degraded, present)
        known = [score for score in map(paid, changes or []) if score is not None]
        if not known or len(known) < len(changes or []):
            return None
        mean = sum(known) / len(known)
        return mean - math.sqrt(sum((score - mean) ** 2 for score in known) / len(known))

    def changes(self, restored: torch.Tensor, degraded: torch.Tensor, present: list[str] | None) -> list[Change] | None:
        """`judge.Change` by each view; None where one of the images could not be diagnosed."""
        before, after = self.judge.severities(degraded), self.judge.severities(restored)
        if before is None or after is None:
            return None
        held = present
        if held is None:
            held = [kind for kind in before[0] if sum(view[kind] for view in before) >= FOUND * len(before)]
        pixels = [to_uint8(picture) for picture in (degraded, restored)]
        pairs = [(Seen(pixels[0], a, held), Seen(pixels[1], b, held)) for a, b in zip(before, after)]
        pixel_change = change(*pairs[0]) if self.gate else Change(0.0, 0.0, 0.0, 1.0, 0.0)
        return [reread(pixel_change, *pair) for pair in pairs]


def paid(found: Change) -> float | None:
    """The formula of `SeverityReward` for one view."""
    if found.before < LEAST:
        return None
    removed, cost, gate = found.removed / found.before, found.new + found.over, min(1.0, found.content / PASS)
    return gate * max(removed, 0.0) + min(removed, 0.0) - cost / found.before - (1 - gate)


# ---- the reasoner: completions are texts or TRL's messages, the column `truth` holds the true Diagnosis: as JSON, as
# an object, or as a dictionary (in which `datasets` puts None for what a row does not have)


def words(completion: Any) -> str:
    """The text of a completion: a string, or messages, whose content may be a list of parts; may be empty."""
    if isinstance(completion, str):
        return completion
    content = (completion[-1].get("content") if completion else None) or ""
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in content)


def true(truth: str | Mapping[str, Any] | Diagnosis) -> Diagnosis:
    """The true Diagnosis of a row. Raises ValueError for what is none."""
    if isinstance(truth, Diagnosis):
        return truth
    return Diagnosis.from_json(truth if isinstance(truth, str) else json.dumps(_filled(truth)))


def _filled(data: Any) -> Any:
    """Without findings and factors that are None; a finding's own None ("could not be said") stays."""
    found = {name: one for name, one in (data.get("findings") or {}).items() if one is not None}
    for name, one in found.items():
        factors = {key: value for key, value in (one.get("factors") or {}).items() if value is not None}
        found[name] = {**one, "factors": factors}
    return {key: value for key, value in data.items() if value is not None} | {"findings": found}


def read(completion: Any) -> Diagnosis | None:
    """The Diagnosis in a completion, also with words around it; None where there is none."""
    text = words(completion)
    try:
        return Diagnosis.from_json(text[text.find("{") : text.rfind("}") + 1])
    except ValueError:
        return None


def format_reward(prompts: Any, completions: Sequence[Any], **columns: Any) -> Scores:
    """1 for a Diagnosis and nothing else, 0.5 with words around it, 0 otherwise."""
    texts = [words(completion) for completion in completions]
    bare = [text.startswith("{") and text.rstrip().endswith("}") for text in texts]
    return [0.0 if read(text) is None else 1.0 if clean else 0.5 for text, clean in zip(texts, bare)]


def type_reward(prompts: Any, completions: Sequence[Any], truth: Sequence[Any], **columns: Any) -> Scores:
    """F1 of the kinds held present; 1 where rightly nothing was found."""

    def score(said: Diagnosis, true: Diagnosis) -> float:
        a, b = set(said.present), set(true.present)
        return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0

    return _scored(completions, truth, score)


def severity_reward(prompts: Any, completions: Sequence[Any], truth: Sequence[Any], **columns: Any) -> Scores:
    """1 minus the error of the sampled severity in units of 30 points, mean over the kinds said or there."""

    def score(said: Diagnosis, true: Diagnosis) -> float:
        named = set(said.present) | set(true.present)
        errors = [abs(_severity(said, kind) - _severity(true, kind)) for kind in named]
        return sum(max(0.0, 1 - e / TOLERANCE) for e in errors) / len(errors) if errors else 1.0

    return _scored(completions, truth, score)


def factor_reward(prompts: Any, completions: Sequence[Any], truth: Sequence[Any], **columns: Any) -> Scores:
    """1 minus the error of each factor by its range (words: right or wrong), over the kinds rightly found."""

    def score(said: Diagnosis, true: Diagnosis) -> float | None:
        both = [kind for kind in said.present if kind in true.present]
        hits = [hit for kind in both for hit in _factors(kind, said.findings[kind], true.findings[kind])]
        return sum(hits) / len(hits) if hits else None

    return _scored(completions, truth, score)


def calibration_reward(prompts: Any, completions: Sequence[Any], truth: Sequence[Any], **columns: Any) -> Scores:
    """Energy score of a group's sampled severities, -|x - y| + |x - x'| / 2 by 100 (Gneiting & Raftery 2007, eq. 21).

    A strictly proper score: best for a policy that samples severities as often as they are true. x' are the group's
    other answers to the same picture; None where there is none.
    """
    said = [read(completion) for completion in completions]

    def score(i: int) -> float | None:
        one, there = said[i], true(truth[i])
        others = [s for j, s in enumerate(said) if s is not None and j != i and truth[j] == truth[i]]
        if one is None or not others:
            return None
        return sum(_energy(one, others, there, kind) for kind in there.findings) / len(there.findings)

    return [score(i) for i in range(len(said))]


def _energy(one: Diagnosis, others: Sequence[Diagnosis], true: Diagnosis, kind: str) -> float:
    x = _severity(one, kind)
    apart = sum(abs(x - _severity(other, kind)) for other in others) / len(others)
    return (apart / 2 - abs(x - _severity(true, kind))) / 100


def _scored(completions: Sequence[Any], truth: Sequence[Any], score: Callable[..., float | None]) -> Scores:
    said = [read(completion) for completion in completions]
    return [None if one is None else score(one, true(each)) for one, each in zip(said, truth)]


def _severity(diagnosis: Diagnosis, kind: str) -> float:
    finding = diagnosis.findings.get(kind)
    return float(finding.severity or 0) if finding else 0.0


def _factors(kind: str, said: Finding, true: Finding) -> list[float]:
    hits = []
    for name, value in true.factors.items():
        spec = kinds()[kind].factor(name)
        if name not in said.factors:
            hits.append(0.0)
        elif spec.choices:
            hits.append(float(said.factors[name] == value))
        else:
            hits.append(1 - abs(spec.value(said.factors[name]) - spec.value(value)) / (spec.high - spec.low))
    return hits


REASONER: dict[str, Reward] = {
    "format": format_reward,
    "type": type_reward,
    "severity": severity_reward,
    "factor": factor_reward,
    "calibration": calibration_reward,
}


# ---- any reward


def resolve(names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """What these names stand for: rewards of ours, or what an import path such as "my_module:my_reward" leads to.

    Raises:
        ValueError: For a name that nothing has, a path that leads nowhere, or to what cannot be called.
    """
    strange = [name for name in names if name not in known and ":" not in name]
    if strange or not names:
        own = "or the import path of one of your own, my_module:my_reward"
        there = f"there are: {', '.join(known)}, {own}"
        raise ValueError(f"unknown reward {', '.join(strange) or '(none named)'}; {there}")
    found = {name: known[name] if name in known else object_at(name) for name in names}
    for name, reward in found.items():
        if not callable(reward):
            raise ValueError(f"{name}: not a reward; it must be f(prompts, completions, **columns) -> list of scores")
    return found


def named(names: Sequence[str], known: Mapping[str, Any], *given: Any) -> dict[str, Reward]:
    """The rewards of these names (`resolve`); a class is made with what is `given`, such as the judge."""
    rewards = {}
    for name, found in resolve(names, known).items():
        rewards[name] = reward = found(*given) if isinstance(found, type | partial) else found
        if not hasattr(reward, "__name__"):  # TRL calls its metrics by it
            reward.__name__ = name
    return rewards


def ask(name: str, reward: Reward, **columns: Any) -> Scores:
    """Call a reward and check its answer. ValueError for a wrong length or a NaN (None is "could not be scored")."""
    scores = reward(**columns)
    wanted = len(columns["completions"])
    if not isinstance(scores, list) or len(scores) != wanted:
        got = len(scores) if hasattr(scores, "__len__") else type(scores).__name__
        raise ValueError(f"reward {name}: expected a list of {wanted} scores, got {got}")
    if any(score is not None and not math.isfinite(score) for score in scores):
        raise ValueError(f"reward {name}: returned {scores}; a score is a finite number, or None if it cannot be said")
    return scores


def combine(scores: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """The weighted sum per sample, of what could be scored; None where nothing could (as in TRL).

    Args:
        scores: By reward, a score or None for each sample.
        weights: By reward.

    Returns:
        A number or None for each sample.

    Example:
        >>> combine({"severity": [0.5, None], "format": [1.0, None]}, {"severity": 1.0, "format": 0.5})
        [1.0, None]
    """
    rows = zip(*(scores[name] for name in scores))
    totals = ([weights[name] * s for name, s in zip(scores, row) if s is not None] for row in rows)
    return [sum(parts) if parts else None for parts in totals]
