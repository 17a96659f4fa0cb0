"""`rnr agent --ask`: each step before a person in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.text import Text

from rnr.console import err

if TYPE_CHECKING:
    from graph import Answer, Question

KEYS = {"a": "approve", "p": "plan", "d": "diagnosis", "r": "reject", "s": "stop"}
CHOICES = "[a]pprove  edit [p]lan  edit [d]iagnosis  [r]eject this step  [s]top"


def ask(question: Question) -> Answer:
    """Show the step, read an answer. Raises click.Abort at the end of the input: the run then waits where it is."""
    from graph import Answer

    proposal = question["proposal"]
    kinds = " → ".join(kind.replace("_", " ") for kind in proposal["kinds"])
    err.print(Text.assemble((f"step {proposal['number']}, {proposal['strategy']}: ", "bold"), f"remove {kinds}"))
    err.print(Text(_found(question), "dim"))
    if question["problem"]:
        err.print(Text(question["problem"], "yellow"))
    key = click.prompt(CHOICES, type=click.Choice(list(KEYS)), default="a", show_choices=False, err=True)
    if key == "p":
        text = click.prompt("kinds to remove, in order", default=",".join(proposal["kinds"]), err=True)
        return Answer(action="edit", plan=[kind.strip() for kind in text.split(",") if kind.strip()])
    if key == "d":
        return _edited(question)
    return Answer.model_validate({"action": KEYS[key]})


def _edited(question: Question) -> Answer:
    from graph import Answer

    text = click.edit(json.dumps(question["diagnosis"], indent=1, ensure_ascii=False), extension=".json")
    if text is None:  # closed without saving
        return ask(question)
    try:
        return Answer(action="edit", diagnosis=json.loads(text))
    except ValueError as error:
        return ask({**question, "problem": f"the edited diagnosis is not a JSON object ({error})"})


def _found(question: Question) -> str:
    findings = question["diagnosis"].get("findings", {})
    parts = [f"{kind.replace('_', ' ')} {f['severity']}" for kind, f in findings.items() if f.get("present")]
    return f"found: {', '.join(parts) or 'nothing'}"
