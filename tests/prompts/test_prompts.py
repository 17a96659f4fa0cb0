"""The words that models read: locked to their versions, and complete for every kind."""

from __future__ import annotations

import jinja2
import pytest

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis, Finding, reasoning_order
from rnr.degradation.kind import kinds
from rnr.prompts import lock


def test_no_text_changed_without_its_version() -> None:
    assert lock.changed() == {}


def test_a_changed_text_is_noticed_and_refused(tmp_path, monkeypatch) -> None:
    for name in prompts.names():
        (tmp_path / f"{name}.txt").write_bytes((prompts.FOLDER / f"{name}.txt").read_bytes())
    (tmp_path / "plan.txt").write_text("other words")
    (tmp_path / "versions.json").write_bytes(prompts.LOCK.read_bytes())
    for module in (prompts, lock):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        monkeypatch.setattr(module, "LOCK", tmp_path / "versions.json")
    assert list(lock.changed()) == ["plan"]
    with pytest.raises(SystemExit, match="raise it"):
        lock.lock([])
    lock.lock(["plan"])
    assert lock.changed() == {}
    assert '"2"' in (tmp_path / "versions.json").read_text()


def test_load_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="diagnose_tuned"):
        prompts.load("no_such_prompt")
    loaded = prompts.load("diagnose_tuned")
    assert (loaded.name, loaded.version, loaded.sha256) == ("diagnose_tuned", "1", lock.digest("diagnose_tuned"))


def test_instruct_prompt_holds_every_kind_factor_and_phrase() -> None:
    known = kinds()
    text = prompts.load("diagnose_instruct").fill(kinds=[known[name] for name in reasoning_order(known)])
    for kind in known.values():
        assert f'"{kind.name}"' in text and kind.words.cause in text
        assert all(f'"{factor.name}"' in text for factor in kind.factors)
        assert all(phrase in text for phrase in kind.measurement.texts)


def test_edit_prompt_names_only_what_is_present() -> None:
    findings = {
        "noise": Finding(present=True, severity=44, factors={"sigma": 25}),
        "haze": Finding(present=False, severity=0),
    }
    diagnosis = Diagnosis(findings=findings, plan=["noise"])
    text = prompts.load("restore_edit").fill(diagnosis=diagnosis, kinds=kinds(), instruction="Warm the colours.")
    assert "Denoise" in text and "44 of 100" in text and "sigma 25" in text and "Warm the colours." in text
    assert "ehaze" not in text
    assert "unchanged" in prompts.load("restore_edit").fill(diagnosis=Diagnosis(findings={}), kinds=kinds())


def test_plan_prompt_lists_present_kinds_and_history() -> None:
    diagnosis = Diagnosis(findings={"noise": Finding(present=True, severity=44)}, plan=["noise"])
    text = prompts.load("plan").fill(diagnosis=diagnosis, history=["noise: 44 to 20, accepted"])
    assert "present: noise." in text and "accepted" in text


def test_missing_values_are_errors() -> None:
    with pytest.raises(jinja2.UndefinedError):
        prompts.load("diagnose_instruct").fill()
