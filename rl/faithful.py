"""The test of intervention at every checkpoint of loop A: does the answer still follow from its evidence?

Rewards can be earned by answers that no longer follow from the reasoning before them; test 2 of `rnr bench
faithfulness` (docs/explain.md) on a few minimal pairs shows it while the training runs, and costs three diagnoses a
pair. Its figures are measured and never trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from rnr.degradation.photographs import read_folder
from rnr.explain.cases import Rule, draw_cases
from rnr.explain.subject import subject_of
from rnr.explain.textual import Read, consistency
from rnr.reasoner import Reasoner
from rnr.rl.config import ReasonerConfig

NAMES = {
    "F_ID, evidence -> severity": "f_id",
    "F_OOD, evidence -> severity": "f_ood",
    "F_strong, evidence -> severity": "f_strong",
    "answer moves the way of the edit by": "moves",
}


class Faithful(TrainerCallback):
    """Measures at each checkpoint, and by itself where it is called.

    Args:
        config: `faithfulness` is the number of minimal pairs, drawn from the held-out photographs.
        policy: Gives the reasoner as it is now, with its adapter.
        tell: Gets the step and the figures: shares 0..1, and by how many points an answer moves the way of the edit.
    """

    def __init__(
        self, config: ReasonerConfig, policy: Callable[[], Reasoner], tell: Callable[[int, dict[str, float]], None]
    ) -> None:
        photographs, kinds = list(read_folder(config.val).values()), policy().kinds
        self.cases = draw_cases(photographs, config.faithfulness, kinds, config.seed + 2)
        self.rule = Rule(photographs, kinds, config.seed)
        self.policy, self.tell = policy, tell

    def __call__(self, step: int) -> None:
        """Measure now."""
        reasoner = self.policy()
        training = reasoner.model.training
        reasoner.model.eval()
        found, _ = consistency(Read(subject_of(reasoner), self.cases, self.rule))
        reasoner.model.train(training)
        self.tell(step, {NAMES[each.measure]: each.found.value for each in found if each.measure in NAMES})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self(state.global_step)
