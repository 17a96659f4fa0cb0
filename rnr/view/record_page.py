"""Everything that the page of one record shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import kinds
from rnr.judge.reading import Reading
from rnr.judge.reading import severity as reading
from rnr.report.thoughts import spoken
from rnr.view.again import agains
from rnr.view.chain import TRACE, Part, chain
from rnr.view.explained import about
from rnr.view.facts import records, severity
from rnr.view.files import legs_of
from rnr.view.library import Library, suffix_of, truth_in
from rnr.view.pictures import Pictures, names_of_views

MAPS = {"gradient": "gradient × input", "occlusion": "occlusion", "leg": "the restorer's leg"}
ROLE_WORDS = {"before": "before", "after": "after", "clean": "undamaged original"}


@dataclass(frozen=True)
class Severity:
    """One kind: predicted before and after, its interval if present, ground truth, and what can be edited."""

    kind: str
    title: str
    before: Reading
    after: Reading | None
    truth: float | None
    interval: tuple[float, float] | None
    probability: float | None
    top: int
    edited: int | None


class RecordPage:
    """An item with everything that its page shows. Raises KeyError for an unknown id."""

    def __init__(self, library: Library, pictures: Pictures, identity: str) -> None:
        self.library, self.pictures, self.identity = library, pictures, identity
        self.run, self.key, self.item = library.item(identity)
        self.facts = self.item.facts
        self.problem = ""

    @cached_property
    def data(self) -> dict[str, Any]:
        """The raw record; empty where it cannot be read."""
        return {} if self.item.error else self.item.read()

    @cached_property
    def raw(self) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        return records(self.data) if self.data and "evaluations" not in self.data else ({}, None)

    @cached_property
    def record(self) -> DiagnosisRecord | None:
        """Validated; None where this release cannot read it, which `problem` says."""
        try:
            return DiagnosisRecord.model_validate(self._known(self.raw[0])) if self.raw[0] else None
        except ValueError as error:
            self.problem = f"this release cannot read the record ({error.__class__.__name__}); the raw record follows"
            return None

    @staticmethod
    def _known(raw: Mapping[str, Any]) -> dict[str, Any]:
        """Without what a table or a later release added to a record."""
        known = {name: raw[name] for name in DiagnosisRecord.model_fields if name in raw}
        trace = [{name: each[name] for name in TRACE if name in each} for each in known.get("trace") or ()]
        return known | {"trace": trace, "beliefs": known.get("beliefs") or {}}

    @cached_property
    def after(self) -> DiagnosisRecord | None:
        raw = self.raw[1]
        return DiagnosisRecord.model_validate(self._known(raw)) if raw and self.record else None

    @cached_property
    def truth(self) -> Mapping[str, Any] | None:
        return truth_in(self.item.truth()) if self.item.truth else None

    @cached_property
    def roles(self) -> list[str]:
        """Of all its pictures, in order."""
        return list(dict.fromkeys([*self.item.pictures, *self.pictures.roles(self.identity)]))

    @property
    def stages(self) -> list[tuple[str, str, str]]:
        """(role, words, address) of the pictures that may be compared."""
        words = {role: text for role, text in ROLE_WORDS.items() if role in self.roles}
        words |= {role: f"after leg {int(role[3:]) + 1}" for role in self.roles if role.startswith("leg")}
        words |= {role: _candidate(role) for role in self.roles if role.startswith("step")}
        shown = [(role, text, f"../img/{self.identity}-{role}.{self.suffix(role)}") for role, text in words.items()]
        again = [(f"again-{a.name}", f"run again: {a.words}", f"../again/{a.file}") for a in self.agains if a.file]
        return [stage for stage in shown if not (stage[0] == "after" and self.facts.status == "untouched")] + again

    def suffix(self, role: str) -> str:
        return suffix_of(self.item, role) or "png"

    @property
    def maps(self) -> list[tuple[str, str, str]]:
        """(kind, method, address) of the attribution maps; of one beside the record no method is known."""
        found = [role.split("-", 2) for role in self.roles if role.startswith("map-")]
        shown = sorted((kind, "".join(method), "-".join(("map", kind, *method))) for _, kind, *method in found)
        return [(kind, MAPS.get(method, ""), f"../img/{self.identity}-{role}.png") for kind, method, role in shown]

    @cached_property
    def mapped(self) -> dict[str, Any]:
        """By which models the maps were made, where a page asked for them."""
        return about(self.run.source.again, self.key)

    @cached_property
    def agains(self) -> list[Any]:
        return agains(self.run.source.again, self.key)

    @property
    def has_views(self) -> bool:
        """The views of other models are not known here."""
        return bool(self.record and self.record.model == "built-in" and "before" in self.roles)

    @property
    def views(self) -> Sequence[str]:
        return names_of_views()

    @property
    def severities(self) -> list[Severity]:
        return [self._severity(kind) for kind in self.library.names] if self.record else []

    def _severity(self, kind: str) -> Severity:
        assert self.record
        belief, known = self.record.belief(kind), self.record.diagnosis
        finding = known.findings.get(kind) if known else None
        before = reading(self.record, kind)
        edited = before.severity if finding and finding.present else 0 if finding else None
        return Severity(
            kind, kinds()[kind].words.title, before, reading(self.after, kind) if self.after else None,
            self._true(kind), belief.interval if belief else None, belief.probability if belief else None,
            kinds()[kind].highest, None if edited is None else min(round(edited), kinds()[kind].highest),
        )  # fmt: skip

    def _true(self, kind: str) -> float | None:
        return severity({"diagnosis": self.truth}, kind) if self.truth else None

    @property
    def chain(self) -> list[Part]:
        return chain(self.raw[0], _titles()) if self.raw[0].get("diagnosis") else []

    @property
    def chain_after(self) -> list[Part]:
        return chain(self.raw[1], _titles()) if self.raw[1] and self.raw[1].get("diagnosis") else []

    @property
    def traced(self) -> bool:
        return bool(self.raw[0].get("trace"))

    @property
    def legs(self) -> list[dict[str, str]]:
        """What each finding did: every value that the restorer recorded, as words."""
        return [{spoken(name): _words(value) for name, value in leg.items()} for leg in legs_of(self.data)]

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The agent's."""
        return (self.data.get("agent") or {}).get("steps") or []

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """Of an rl run's picture."""
        return self.data.get("evaluations") or []

    @property
    def made(self) -> list[tuple[str, str]]:
        """How the record was made, (label, value)."""
        record = self.raw[0]
        parts = {
            "diagnosed by": f"{record.get('model', '')} {record.get('model_hash', '')}",
            "prompt": f"{record.get('prompt', '')} {record.get('prompt_version', '')}",
            "forward passes": record.get("forward_passes"), "seconds to diagnose": record.get("seconds"),
            **{f"asked: {spoken(k)}": v for k, v in (self.data.get("request") or {}).items() if k != "diagnosis"},
            **{f"restorer: {spoken(k)}": v for k, v in (self.data.get("restoration") or {}).items() if k != "legs"},
            **{f"source: {k}": v for k, v in (self.data.get("source") or {}).items()},
            **{f"version of {k}": v for k, v in (self.data.get("versions") or {}).items()},
        }  # fmt: skip
        words = [(label, _words(value)) for label, value in parts.items()]
        return [(label, value) for label, value in words if value.strip()]

    @property
    def raw_text(self) -> str:
        return json.dumps(self.data, indent=1, ensure_ascii=False) if self.data else ""

    @property
    def neighbours(self) -> tuple[str, str]:
        """Ids before and after in the order of the source; empty at the ends."""
        keys, number = list(self.run.items), self.identity.partition("-")[0]
        place = keys.index(self.key)
        return (f"{number}-{keys[place - 1]}" if place else "",
                f"{number}-{keys[place + 1]}" if place + 1 < len(keys) else "")  # fmt: skip


def _candidate(role: str) -> str:
    step, _, candidate = role[4:].partition("c")
    return f"step {int(step) + 1}" + (f", candidate {int(candidate) + 1}" if candidate != "0" else "")


def _words(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{spoken(str(name))} {_words(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _titles() -> dict[str, str]:
    return {kind.name: kind.words.title for kind in kinds().values()}
