"""`rnr agent --ask`: each step before a person in the terminal."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from rnr.work.console import err

if TYPE_CHECKING:
    from rnr.graph import Answer, Question

KEYS = {"a": "approve", "r": "reject", "s": "stop"}
CHOICES = "[a]pprove  edit [p]lan  edit [d]iagnosis  [r]eject this step  [s]top"


def ask(question: Question) -> Answer | None:
    """Show the step, read an answer. None where the input ends: the run then waits. Ctrl-C is KeyboardInterrupt."""
    try:
        return _answer(question)
    except typer.Abort:
        if sys.stdin.isatty():
            raise KeyboardInterrupt from None
        return None


def _answer(question: Question) -> Answer:
    from rnr.graph import Answer

    proposal = question["proposal"]
    kinds = " → ".join(kind.replace("_", " ") for kind in proposal["kinds"])
    step = f"step {proposal['number']}, {proposal['strategy']}: "
    err.print(Text.assemble((step, "bold"), f"remove {kinds} ({proposal['why']})"))
    err.print(Text(_found(question), "dim"))
    if question["problem"]:
        err.print(Text(question["problem"], "yellow"))
    key = typer.prompt(CHOICES, default="a", err=True).strip().lower()[:1]
    if key == "p":
        text = typer.prompt("kinds to remove, in order", default=",".join(proposal["kinds"]), err=True)
        return Answer(action="edit", plan=[kind.strip() for kind in text.split(",") if kind.strip()])
    if key == "d":
        return _edited(question)
    if key not in KEYS:
        return _answer({**question, "problem": "answer with one of the letters in brackets"})
    return Answer.model_validate({"action": KEYS[key]})


def _edited(question: Question) -> Answer:
    from rnr.graph import Answer

    try:
        text = _in_editor(json.dumps(question["diagnosis"], indent=1, ensure_ascii=False))
        return Answer(action="edit", diagnosis=json.loads(text))
    except (OSError, subprocess.CalledProcessError) as error:
        return _answer({**question, "problem": f"no editor ({error}); set EDITOR"})
    except ValueError as error:
        return _answer({**question, "problem": f"the edited diagnosis is not a JSON object ({error})"})


def _in_editor(text: str) -> str:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "diagnosis.json"
        file.write_text(text, encoding="utf-8")
        subprocess.run([*command, str(file)], check=True)
        return file.read_text(encoding="utf-8")


def _found(question: Question) -> str:
    findings = question["diagnosis"].get("findings", {})
    parts = [f"{kind.replace('_', ' ')} {f['severity']}" for kind, f in findings.items() if f.get("present")]
    return f"written in the diagnosis: {', '.join(parts) or 'nothing'}"
