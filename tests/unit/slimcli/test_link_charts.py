"""The last minute of a link, drawn: what stands where, at every width."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from slimcli.demo.chart import draw_chart, round_up
from slimcli.demo.history import History
from slimcli.demo.link_charts import LinkCharts
from slimcli.demo.links import open_trace
from slimcli.demo.screen import PlainScreen, Scene, draw
from slimcli.demo.tally import Tally
from slimcli.exits import BadUsageError
from slimedge.event import (
    Captured,
    Detected,
    EdgeEvent,
    Encoded,
    Replaced,
    Sent,
    Skipped,
    SkipReason,
)
from slimlinks.trace import Trace

MBIT = 125_000.0  # bytes per second
HALF = Trace("half", "test", (0.0, 30.0), (2 * MBIT, 1 * MBIT), 60.0)


class World:
    """An edge whose clock is in the test's hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.history = History(lambda: self.now)
        self.tally = Tally(1.0, {(1, 2): 0.8})
        self.frames = 0

    def tell(self, event: EdgeEvent) -> None:
        self.history.notify(event)
        self.tally.notify(event)

    def send(self, at: float, latency: float | None, *, level: int = 1, rate: float = MBIT) -> None:
        """A frame that is captured at a time, and detected so much later."""
        self.frames += 1
        n, self.now = self.frames, at
        self.tell(Captured(n, (40, 50)))
        image = np.zeros((40, 50, 3), np.uint8)
        self.now = at + 0.03
        self.tell(Encoded(n, n, level, 2, 1000, image, 0.01, 0.02, False, rate))
        self.tell(Sent(n, 1000, 0.0, False))
        if latency is not None:
            self.now = at + latency
            self.tell(Detected(n, (), latency, 0.05, 0.1))

    def skip(self, at: float) -> None:
        self.frames += 1
        self.now = at
        self.tell(Captured(self.frames, (40, 50)))
        self.tell(Skipped(self.frames, SkipReason.INFEASIBLE))

    def charts(self, trace: Trace = HALF) -> LinkCharts:
        return LinkCharts(self.history, trace, lambda: self.now, 1.0)

    def lines(self, columns: int = 60, rows: int = 2) -> list[str]:
        return [line.plain for line in self.charts().lines(columns, rows)]


def test_a_column_of_blocks_is_as_high_as_its_value() -> None:
    styles = [""] * 5

    lines = draw_chart([0.0, 1.0, 2.0, 4.0, None], 2, 4.0, bar_styles=styles)

    assert [line.plain for line in lines] == ["   █ ", " ▄██ "]


def test_marks_stand_at_their_value_and_the_limit_where_nothing_else_is() -> None:
    chart = draw_chart(
        [4.0, 0.1, None], 2, 4.0, bar_styles=[""] * 3, marks=[0.1, 3.9, None], limit=3.0
    )

    assert [line.plain for line in chart] == ["█▔┄", "▁▁ "]


@pytest.mark.parametrize(
    ("value", "edge"),
    [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (2.1, 2.5), (77.0, 80.0), (0.013, 0.015)],
)
def test_the_edge_of_a_chart_is_a_number_that_is_easy_to_read(value: float, edge: float) -> None:
    assert round_up(value) == pytest.approx(edge)


def test_the_bandwidth_is_the_trace_s_and_the_mark_what_was_planned_with() -> None:
    world = World()
    world.send(59.5, 0.2, rate=1.5 * MBIT)

    title, upper, lower, *_ = world.lines(rows=2)

    assert title == "bandwidth, Mbit/s: █ link 1.00, ━ planned with 1.50"
    assert upper == "    2 " + 30 * "█" + 29 * " " + "━"
    assert lower == "    0 " + 60 * "█"


def test_choices_are_digits_and_skipped_frames_points() -> None:
    world = World()
    world.send(10.5, 0.2, level=3)
    world.skip(20.5)
    world.skip(30.5)
    world.send(30.7, 0.2, level=1)
    world.now = 59.99

    level, quality = world.lines()[3:5]

    assert level == f"{'level':<6}" + 10 * " " + "3" + 9 * " " + "·" + 9 * " " + "1" + 29 * " "
    assert quality == level.replace("level", "qual.").replace("3", "2").replace("1", "2")


def test_a_late_frame_reaches_over_the_deadline_and_one_without_a_result_too() -> None:
    world = World()
    world.send(10.5, 0.75)
    world.send(20.5, 1.4)
    world.send(30.5, None)
    world.now = 59.99

    upper, lower = world.lines()[6:8]

    assert upper[6:].replace("┄", " ").rstrip() == 20 * " " + "▇" + 9 * " " + "█"
    assert lower[6:].rstrip() == 10 * " " + "█" + 9 * " " + "█" + 9 * " " + "█"
    assert upper[6:] != upper[6:].replace("┄", " ")  # the deadline is drawn


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    world = World()
    for second in range(0, 300):
        world.send(second, 0.2)
        world.skip(second + 0.5)
        world.frames += 1
        world.tell(Captured(world.frames, (40, 50)))
        world.tell(Replaced(world.frames))

    assert len(world.history.sent) < 70
    assert len(world.history.skipped) < 140
    assert len(world.history.believed) < 70


@pytest.mark.parametrize("width", [24, 40, 80, 200])
def test_the_screen_fits_its_terminal(width: int) -> None:
    world = World()
    for second in range(60):
        world.send(second, 0.4)
    out = io.StringIO()
    console = Console(file=out, width=width, height=30, force_terminal=False)
    scene = Scene("street.mp4", "toy/1", "http://127.0.0.1:1", "half", 20, world.charts())

    console.print(draw(world.tally, scene, 3))

    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.count("█") > 10 for line in lines)


def test_plain_lines_tell_the_link_too() -> None:
    world = World()
    world.send(1.0, 0.4, rate=0.5 * MBIT)
    out = io.StringIO()
    scene = Scene("street.mp4", "toy/1", "http://127.0.0.1:1", "half", 20, world.charts())

    with PlainScreen(Console(file=out, width=200), scene) as screen:
        screen.update(world.tally)

    assert "link 2.00 Mbit/s, planned with 0.50; frame 1: level 1, quality 2" in out.getvalue()


def test_what_was_worth_it_in_time_is_counted_over_all_that_was_captured() -> None:
    world = World()
    world.send(1.0, 0.9)
    world.send(2.0, 1.1)
    world.send(3.0, None)
    world.skip(4.0)
    world.send(5.0, 0.2, level=0)
    totals = world.tally.totals

    assert totals.in_deadline_accuracy == pytest.approx(0.8 / 5)
    assert totals.late == 2
    assert totals.switches == 1


def test_a_link_is_a_file_or_a_built_in_name(tmp_path: Path) -> None:
    rates = tmp_path / "night.txt"
    rates.write_text("0 1.5\n1 0\n2 0.5\n")
    mahimahi = tmp_path / "bus.up"
    mahimahi.write_text("1\n1\n500\n")

    assert open_trace("hole").name == "hole"
    assert open_trace(str(rates)).rate_at(0.5) == pytest.approx(1.5 * MBIT)
    assert open_trace(str(mahimahi)).bytes_between(0, 0.5) == pytest.approx(4500)
    with pytest.raises(BadUsageError, match="built in are steps, hole, drive"):
        open_trace("nowhere")
    rates.write_text("a b\n")
    with pytest.raises(BadUsageError, match="line 1"):
        open_trace(str(rates))
