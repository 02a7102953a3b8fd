"""Columns of block characters: a series over time in a few lines of text.

▂▅█▇▃      bars, eight steps to a line
━━▔▔▁      a second series over them: a mark for each column, three steps to a line
┄┄┄┄┄      a limit, where nothing else is drawn
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

_BLOCKS = " ▁▂▃▄▅▆▇█"
_MARKS = "▁━▔"
_LIMIT = "┄"
_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

Series = Sequence[float | None]  # a value for each column; None: nothing is known


def draw_chart(
    bars: Series,
    rows: int,
    top: float,
    *,
    bar_styles: Sequence[str],
    marks: Series = (),
    mark_style: str = "",
    limit: float | None = None,
    limit_style: str = "dim",
) -> list[Text]:
    """Give the lines, the highest first; values above `top` are drawn at it.

    Args:
        bars: From 0 up.
        rows: Lines.
        top: What the upper edge stands for, above 0.
        bar_styles: One for each column.
        marks: None, or as many as there are bars.
        limit: Where a line is drawn across.
    """
    lines = []
    for row in reversed(range(rows)):
        line = Text(no_wrap=True)
        for column, value in enumerate(bars):
            mark = marks[column] if column < len(marks) else None
            fill = _fill(value, row, rows, top)
            if mark is not None and _row_of(mark, rows, top) == row:
                line.append(_mark_in(mark, rows, top), mark_style)
            elif fill:
                line.append(_BLOCKS[fill], bar_styles[column])
            elif limit is not None and _row_of(limit, rows, top) == row:
                line.append(_LIMIT, limit_style)
            else:
                line.append(" ")
        lines.append(line)
    return lines


def round_up(value: float) -> float:
    """The next number with one or two digits that is not below: the upper edge of a chart."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))


def _fill(value: float | None, row: int, rows: int, top: float) -> int:
    """Eighths of this line's cell that a bar covers; a value above 0 shows at least one."""
    if value is None or value <= 0:
        return 0
    eighths = max(1, round(8 * rows * min(1.0, value / top)))
    return max(0, min(8, eighths - 8 * row))


def _row_of(value: float, rows: int, top: float) -> int:
    return min(rows - 1, int(rows * max(0.0, value) / top))


def _mark_in(value: float, rows: int, top: float) -> str:
    within = rows * min(1.0, max(0.0, value) / top) - _row_of(value, rows, top)
    return _MARKS[min(2, int(3 * within))]
