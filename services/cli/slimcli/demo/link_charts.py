"""What the controller makes of a link, drawn as it happens: the last minute, newest at the right.

bandwidth    bars: what the link carries; marks: what the controller plans with
level        of the newest frame in each column, as a digit; · where frames were skipped
quality      the same
latency      capture to detection, the worst in each column, against the deadline; late ones red
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from slimcli.demo.chart import draw_chart, round_up
from slimcli.demo.history import WINDOW_SECONDS, History, SentFrame
from slimlinks.trace import Trace

_LABEL = 6  # columns before a chart
_MBIT = 125_000.0  # bytes per second
_LINK, _BELIEF, _ON_TIME, _LATE = "blue", "bold yellow", "green", "bold red"
_LEAST_ROWS, _MOST_ROWS = 2, 5
_OTHER_LINES = 20  # of the screen around the two charts, about


@dataclass(frozen=True)
class LinkCharts:
    """A renderable: as wide as there is room, as high as the terminal allows.

    Args:
        history: Of the edge.
        trace: Of the link; it repeats.
        trace_seconds: Reads where the trace is now.
        deadline_seconds: Capture to detection.
    """

    history: History
    trace: Trace
    trace_seconds: Callable[[], float]
    deadline_seconds: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = max(10, options.max_width - _LABEL)
        rows = min(_MOST_ROWS, max(_LEAST_ROWS, (console.size.height - _OTHER_LINES) // 2))
        for line in self.lines(columns, rows):
            line.truncate(options.max_width)
            yield line

    def now_line(self) -> str:
        """The newest in words, for where nothing is drawn."""
        believed = self.history.believed
        plans = f"{believed[-1][1] / _MBIT:.2f}" if believed else "nothing"
        carries = self.trace.rate_at(self.trace_seconds()) / _MBIT
        return f"link {carries:.2f} Mbit/s, planned with {plans}"

    def lines(self, columns: int, rows: int) -> list[Text]:
        """The charts, so many columns wide and each so many lines high."""
        window = _Window(self.history, columns)
        return [
            *self._bandwidth(window, rows),
            *_choices(window),
            *self._latency(window, rows),
            _axis(columns),
        ]

    def _bandwidth(self, window: _Window, rows: int) -> list[Text]:
        ahead = self.trace_seconds() - self.history.now  # from the history's clock to the trace's
        rates: list[float | None] = []
        for start, end in window.spans:
            start, end = max(0.0, start + ahead), max(0.0, end + ahead)
            carried = self.trace.bytes_between(start, end) if end > start else 0.0
            rates.append(carried / (end - start) / _MBIT if end > start else None)
        believed = [None if rate is None else rate / _MBIT for rate in window.believed()]
        top = round_up(max((rate for rate in rates if rate is not None), default=0.0))
        title = Text.assemble(
            "bandwidth, Mbit/s: ",
            ("█ link", _LINK),
            f" {self.trace.rate_at(self.trace_seconds()) / _MBIT:.2f}, ",
            ("━ planned with", _BELIEF),
            "" if believed[-1] is None else f" {believed[-1]:.2f}",
        )
        chart = draw_chart(
            rates,
            rows,
            top,
            bar_styles=[_LINK] * len(rates),
            marks=believed,
            mark_style=_BELIEF,
        )
        return [title, *_labelled(chart, f"{top:g}", "0")]

    def _latency(self, window: _Window, rows: int) -> list[Text]:
        deadline, newest = self.deadline_seconds, None
        values: list[float | None] = []
        styles = []
        for frames in window.frames:
            known = [f.latency_seconds for f in frames if f.latency_seconds is not None]
            overdue = any(
                f.latency_seconds is None and window.now - f.captured_at > deadline for f in frames
            )
            worst = math.inf if overdue else max(known, default=None)
            newest = known[-1] if known else newest
            values.append(worst)
            styles.append(_LATE if worst is not None and worst > deadline else _ON_TIME)
        title = Text.assemble(
            "latency, s: ",
            ("█ in time", _ON_TIME),
            ", ",
            ("█ late", _LATE),
            f", ┄ deadline {deadline:g}",
            "" if newest is None else f", now {newest:.2f}",
        )
        top = 1.5 * deadline
        chart = draw_chart(values, rows, top, bar_styles=styles, limit=deadline)
        return [title, *_labelled(chart, f"{top:g}", "0")]


class _Window:
    """The last minute in columns whose edges stand still, so that a column does not flicker."""

    def __init__(self, history: History, columns: int) -> None:
        self._history = history
        self.now = history.now
        self.step = WINDOW_SECONDS / columns
        first = math.floor(self.now / self.step) - columns + 1
        self.spans = [
            (self.step * n, min(self.now, self.step * (n + 1)))
            for n in range(first, first + columns)
        ]
        self.frames: list[list[SentFrame]] = [[] for _ in range(columns)]
        for frame in history.sent:
            column = math.floor(frame.captured_at / self.step) - first
            if 0 <= column < columns:
                self.frames[column].append(frame)
        self.skipped = [False] * columns
        for captured_at in history.skipped:
            column = math.floor(captured_at / self.step) - first
            if 0 <= column < columns:
                self.skipped[column] = True

    def believed(self) -> list[float | None]:
        """Bytes per second at the end of each column: a belief holds until the next."""
        beliefs, at = list(self._history.believed), 0
        values: list[float | None] = []
        for _, end in self.spans:
            while at < len(beliefs) and beliefs[at][0] <= end:
                at += 1
            values.append(beliefs[at - 1][1] if at else None)
        return values


def _choices(window: _Window) -> list[Text]:
    """Level and quality, a digit for each column."""
    lines = []
    for name, value_of in (("level", _level), ("qual.", _quality)):
        line = Text.assemble((f"{name:<{_LABEL}}", "dim"), no_wrap=True)
        for frames, skipped in zip(window.frames, window.skipped, strict=True):
            if frames:
                line.append(_digit(value_of(frames[-1])), "bold")
            else:
                line.append("·" if skipped else " ", "dim")
        lines.append(line)
    return lines


def _level(frame: SentFrame) -> float:
    return frame.level


def _quality(frame: SentFrame) -> float:
    return frame.quality


def _digit(value: float) -> str:
    """0 to 9, then a, b, c."""
    return "0123456789abcdefghijklmnopqrstuvwxyz"[min(35, round(value))]


def _labelled(chart: Sequence[Text], top: str, bottom: str) -> list[Text]:
    labels = [top, *[""] * (len(chart) - 2), bottom]
    return [
        Text.assemble((f"{label:>{_LABEL - 1}} ", "dim"), line, no_wrap=True)
        for label, line in zip(labels, chart, strict=True)
    ]


def _axis(columns: int) -> Text:
    ends = (f"{WINDOW_SECONDS:.0f} s ago", "now")
    gap = " " * max(1, columns - sum(map(len, ends)))
    return Text(" " * _LABEL + ends[0] + gap + ends[1], style="dim", no_wrap=True)
