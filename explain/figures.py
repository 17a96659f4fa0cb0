"""One figure of a test of faithfulness: what was measured, on how many, how surely, beside its negative control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnr.evaluation.tables import Cell, Row, Table
from rnr.explain.statistics import Estimate

TOLERANCE = 5.0  # points of severity within which two answers count as the same


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        test: Name of the test.
        measure: What the figure is.
        found: With its interval.
        control: The same where nothing is to be found; None where there is none.
        goal: Such as ">= 0.95"; "" where none is set.
        unit: Such as "dB".
    """

    test: str
    measure: str
    found: Estimate
    control: Estimate | None = None
    goal: str = ""
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the figure itself (not its interval) reaches the goal; None without one or without a figure."""
        sign, _, number = self.goal.partition(" ")
        if not self.goal or self.found.value != self.found.value:
            return None
        return self.found.value >= float(number) if sign == ">=" else self.found.value <= float(number)

    def row(self) -> Row:
        control: dict[str, Cell] = {"control": None, "control low": None, "control high": None}
        if self.control:
            control = dict(zip(control, (self.control.value, self.control.low, self.control.high)))
        found = self.found
        row: Row = {"test": self.test, "measure": self.measure, "n": found.n, "value": found.value, "low": found.low}
        return row | {"high": found.high} | control | {"unit": self.unit, "goal": self.goal, "met": self.met}


def table(title: str, figures: Sequence[Figure], note: str = "") -> Table:
    """The figures as a table; low and high are the ends of 95% bootstrap intervals."""
    return Table.of(title, [figure.row() for figure in figures], note)
