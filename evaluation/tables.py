"""One table, four ways out: CSV (all digits), markdown (for a README), rich (for the terminal), and back from CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as RichTable

Cell = str | int | float | bool | None
Row = dict[str, Cell]
DIGITS = 2


@dataclass
class Table:
    """Rows of named cells. None is a cell that could not be measured or does not apply: empty in CSV, a dash elsewhere.

    Attributes:
        title: Its heading.
        columns: Names, in order.
        rows: A dict each.
        note: What the columns mean.
        digits: Decimals of a column, where they are not two.

    Example:
        >>> table = Table.of("Noise", [{"task": "noise 25", "psnr": 29.94}], digits={"psnr": 1})
        >>> table.text(table.rows[0], "psnr"), table.text({"task": "x"}, "psnr")
        ('29.9', '-')
    """

    title: str
    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    note: str = ""
    digits: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, title: str, rows: Iterable[Row], note: str = "", digits: dict[str, int] | None = None) -> Table:
        """A table whose columns are the rows' keys in the order in which they first appear."""
        held = list(rows)
        columns = list(dict.fromkeys(name for row in held for name in row))
        return cls(title, columns, held, note, digits or {})

    def add(self, **cells: Cell) -> None:
        unknown = set(cells) - set(self.columns)
        if unknown:
            raise ValueError(f"table {self.title!r} has no column {', '.join(sorted(unknown))}")
        self.rows.append(dict(cells))

    def column(self, name: str) -> list[Cell]:
        return [row.get(name) for row in self.rows]

    def text(self, row: Row, column: str) -> str:
        """A cell as people read it."""
        cell = row.get(column)
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return "-"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, float):
            return f"{cell:.{self.digits.get(column, DIGITS)}f}"
        return str(cell)

    def markdown(self) -> str:
        lines = [f"**{self.title}**", "", _bar(self.columns), _bar("---" for _ in self.columns)]
        lines += [_bar(self.text(row, column) for column in self.columns) for row in self.rows]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])

    def rich(self, width: int | None = None) -> RichTable | Group:
        """For the terminal. Where it is wider than `width` characters, in several parts beneath each other, each
        beginning with the first column."""
        from rich.console import Group

        parts = self._parts(width) if width else [self.columns]
        ends = (self.title, self.note)
        if len(parts) == 1:
            return self._rich(parts[0], *ends)
        inner = [self._rich(part, "", "") for part in parts[1:-1]]
        return Group(self._rich(parts[0], ends[0], ""), *inner, self._rich(parts[-1], "", ends[1]))

    def _parts(self, width: int) -> list[list[str]]:
        """The columns, so many together as fit."""
        parts, room = [self.columns[:1]], 0
        for column in self.columns:
            needed = max(self._least(column), len(column)) + 3  # with its border and padding
            if column != self.columns[0] and room + needed >= width:
                parts.append(self.columns[:1])
                room = max(self._least(self.columns[0]), len(self.columns[0])) + 3
            if column not in parts[-1]:
                parts[-1].append(column)
            room += needed
        return parts

    def _least(self, column: str) -> int:
        return max((len(self.text(row, column)) for row in self.rows), default=1)

    def _rich(self, columns: Sequence[str], title: str, note: str) -> RichTable:
        from rich.table import Table as RichTable

        table = RichTable(title=title or None, caption=note or None, title_justify="left", caption_justify="left")
        for column in columns:
            numeric = any(isinstance(cell, (int, float)) for cell in self.column(column))
            # Where the terminal is narrow words and heads fold, and numbers stay whole.
            least = self._least(column) if numeric else None
            table.add_column(column, justify="right" if numeric else "left", min_width=least, overflow="fold")
        for row in self.rows:
            table.add_row(*(self.text(row, column) for column in columns))
        return table

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows([_csv_cell(row.get(column)) for column in self.columns] for row in self.rows)

    def save(self, out: Path, name: str) -> None:
        """`name.csv` and `name.md` in the folder `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self.write_csv(out / f"{name}.csv")
        (out / f"{name}.md").write_text(self.markdown() + "\n", encoding="utf-8")


def read_csv(path: Path, words: Sequence[str] = ()) -> Table:
    """The inverse of `write_csv`: numbers and truth values come back as such, empty cells as None.

    The columns in `words` stay text, whatever they look like (a picture may be called 0007).
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        columns = next(reader)
        rows = [
            {name: cell if name in words else _parse(cell) for name, cell in zip(columns, cells)} for cells in reader
        ]
    return Table(path.stem, columns, rows)


def group_mean(rows: Sequence[Row], by: Sequence[str], values: Sequence[str]) -> list[Row]:
    """Rows that agree in `by` as one, with the mean of each of `values` (missing cells left out) and `n`."""
    groups: dict[tuple[Cell, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in by), []).append(row)
    return [
        dict(zip(by, key)) | {name: mean(row.get(name) for row in group) for name in values} | {"n": len(group)}
        for key, group in groups.items()
    ]


def mean(cells: Iterable[Cell]) -> float | None:
    """Mean of the numbers among the cells; None if there is none."""
    numbers = [float(cell) for cell in cells if isinstance(cell, (int, float)) and not math.isnan(cell)]
    return sum(numbers) / len(numbers) if numbers else None


def as_number(row: Row, name: str) -> float:
    """A cell that is a number, also as a CSV file has it."""
    return float(str(row[name]))


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv_cell(cell: Cell) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


def _parse(text: str) -> Cell:
    if text in ("", "True", "False"):
        return None if not text else text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
