"""Rows of a run's CSV files, in which no step stands twice however often the run was killed, and
the means that stand in them.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slimcodec.whole_file import write_whole

Cell = float | int | str | None  # None or NaN is an empty cell: not known


class StepLog:
    """A CSV file whose first column is `step`.

    Args:
        path: of the file; None writes nothing.
        resumed: rows after this step are of a future that was lost, and go.
    """

    def __init__(self, path: Path | None, resumed: int) -> None:
        self._path = path
        self._last = -1
        if path is not None:
            self._keep_until(path, resumed)

    def write(self, step: int, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Append rows of one step, in place of those that it has."""
        path = self._path
        if path is None or not rows:
            return
        if step <= self._last:
            self._keep_until(path, step - 1)
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", *rows[0]])
            writer.writerows([step, *map(_text, row.values())] for row in rows)
        self._last = step

    def _keep_until(self, path: Path, step: int) -> None:
        self._last = -1
        if not path.exists():
            return
        with path.open(newline="") as file:
            names, *rows = csv.reader(file)
        kept = [row for row in rows if row[0].isdecimal() and int(row[0]) <= step]
        if len(kept) < len(rows):
            text = io.StringIO(newline="")
            csv.writer(text).writerows([names, *kept])
            write_whole(path, text.getvalue())
        self._last = int(kept[-1][0]) if kept else -1


@dataclass
class Means:
    """Means of the figures since the last row of the log, kept over a stop in the checkpoint."""

    names: Sequence[str] = ()
    sums: Tensor | None = None
    counts: Tensor | None = None
    left_out: int = 0

    @torch.no_grad()
    def add(self, figures: Mapping[str, Tensor], is_finite: bool) -> None:
        """One step's; where a figure is not finite it does not count."""
        values = torch.stack([value.detach().double() for value in figures.values()])
        known = torch.isfinite(values)
        if self.sums is None or self.counts is None:
            self.names = list(figures)
            self.sums, self.counts = torch.zeros_like(values), torch.zeros_like(values)
        self.sums += torch.where(known, values, 0.0)
        self.counts += known
        self.left_out += not is_finite

    def take(self) -> dict[str, Cell]:
        """The means (NaN: nothing known), and how many steps were left out; begin anew."""
        row: dict[str, Cell] = dict.fromkeys(self.names)
        if self.sums is not None and self.counts is not None:
            row = dict(zip(self.names, (self.sums / self.counts).tolist(), strict=True))
        row["left_out"] = self.left_out
        self.sums = self.counts = None
        self.left_out = 0
        return row


def _text(value: Cell) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
