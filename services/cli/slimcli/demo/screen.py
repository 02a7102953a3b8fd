"""The tally on the terminal: drawn again four times a second, or a plain line a second.

Both begin with the page's address. Plain lines are for what is no terminal: a log, a pipe, CI. The
live screen fits 80 columns of 24 lines.
"""

import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slimcli.demo.plan import Plan
from slimcli.demo.summary import delay_line, labels_line, percentile, pictures_line, sent_line
from slimcli.demo.tally import FrameRow, Tally
from slimedge.event import CameraState, LinkState

WIDTH = 79  # columns of the screen
_LONG = ("boxes", "JPEG")  # facts that may take two lines; the others are cut to one
_NAME_COLUMNS = 40  # of a source's name; the end of it tells most

# What the latency of a frame is made of, in order; the last is the whole.
_STAGES: tuple[tuple[str, Callable[[FrameRow], float | None]], ...] = (
    ("camera: wait, encode", lambda row: row.wait_seconds + row.encode_seconds),
    ("link: wait, both ways, store", lambda row: row.way_seconds),
    ("cloud: wait, decode, detect", lambda row: row.cloud_seconds),
    ("from the camera to the boxes", lambda row: row.latency_seconds),
)


class PlainScreen:
    """A line for each second."""

    interval_seconds = 1.0  # between two updates

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self._last = ""

    def __enter__(self) -> Self:
        plan = self._plan
        self.say(f"{plan.page}  the page, while this runs")
        self.say(f"camera {plan.source_name}, model {plan.model}, link {plan.link_name}")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(
        self, tally: Tally, note: str = "", rate: float = 0.0, link_now: float | None = None
    ) -> None:
        """Show where things are.

        Args:
            note: what is going on.
            rate: pictures a second, if known.
            link_now: of a link that changes, bytes per second.
        """
        if note:
            self.say(note)
        elif tally.recent:
            row = tally.recent[-1]
            self.say(
                f"frame {row.sequence}: level {row.level}, quality {row.quality:g}, "
                f"{row.bitstream_bytes:,} bytes, {row.latency_seconds:.2f} s, "
                f"{labels_line(row.labels)}"
            )

    def say(self, sentence: str) -> None:
        """Say something that stays."""
        if sentence != self._last:
            self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        self._last = sentence


class LiveScreen(PlainScreen):
    """One picture, drawn over itself, below the page's address."""

    interval_seconds = 0.25

    def __init__(self, console: Console, plan: Plan) -> None:
        super().__init__(console, plan)
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        end = "Ctrl-C" if self._plan.seconds is None else "the end"
        line = Text.assemble((self._plan.page, "bold cyan"), f"  the page, until {end}")
        self._console.print(line, soft_wrap=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(
        self, tally: Tally, note: str = "", rate: float = 0.0, link_now: float | None = None
    ) -> None:
        note = note or f"{time.monotonic() - self._started:.0f} s"
        drawn = draw(tally, self._plan, note, rate, link_now, self._last)
        self._live.update(drawn, refresh=True)

    def say(self, sentence: str) -> None:
        self._last = sentence


def draw(
    tally: Tally,
    plan: Plan,
    note: str,
    rate: float = 0.0,
    link_now: float | None = None,
    sentence: str = "",
) -> RenderableType:
    """The whole screen."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(width=WIDTH - 11)
    for name, value in _facts(tally, plan, rate, link_now).items():
        is_long = name in _LONG
        facts.add_row(
            name, Text(value, no_wrap=not is_long, overflow="fold" if is_long else "ellipsis")
        )
    last = [Text(sentence, style="yellow")] if sentence else []
    return Group(
        Text(), facts, Text(), _stage_table(list(tally.recent)), Text(), *last, Text(note, "dim")
    )


def _facts(tally: Tally, plan: Plan, rate: float, link_now: float | None) -> dict[str, str]:
    """Name and value of each line."""
    newest = tally.recent[-1] if tally.recent else None
    codec = plan.model
    if newest is not None:
        codec += f", now level {newest.level}, quality {newest.quality:g}"
    facts = {
        "camera": _camera(tally, plan, rate),
        "link": _link(tally, plan, link_now),
        "codec": codec,
        "found": "nothing yet" if newest is None else labels_line(newest.labels),
    }
    if plan.shown:
        facts["boxes"] = f"only of {', '.join(plan.shown)}"
    facts["pictures"] = pictures_line(tally.totals, plan.edge.deadline_seconds)
    facts["bytes"] = sent_line(tally.totals)
    facts["delay"] = delay_line([row.latency_seconds or 0.0 for row in tally.recent])
    if plan.against_jpeg is not None:
        facts["JPEG"] = plan.against_jpeg
    return facts


def _camera(tally: Tally, plan: Plan, rate: float) -> str:
    line = plan.source_name
    if tally.camera is not CameraState.UP and tally.camera_detail:
        return f"{line}: {tally.camera}: {tally.camera_detail}"
    if len(line) > _NAME_COLUMNS:
        line = "…" + line[1 - _NAME_COLUMNS :]
    if tally.recent:
        h, w = tally.recent[-1].image_hw
        line += f", {w} x {h}"
    return line + (f", {rate:g} {'picture' if rate == 1 else 'pictures'} a second" if rate else "")


def _link(tally: Tally, plan: Plan, link_now: float | None) -> str:
    if tally.link is not LinkState.UP:
        return f"{tally.link}: {tally.link_detail}" if tally.link_detail else f"{tally.link}"
    if link_now is None:
        return plan.link_name
    return f"now {link_now / 125:,.0f} kbit/s; {plan.link_name}"


def _stage_table(rows: Sequence[FrameRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("where the time goes, s", no_wrap=True)
    for heading in ("this picture", "median", "95 of 100 within"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, seconds_of in _STAGES:
        values = [value for row in rows if (value := seconds_of(row)) is not None]
        now = seconds_of(rows[-1]) if rows else None
        cells = (now, percentile(values, 50), percentile(values, 95))
        table.add_row(
            name,
            *("" if value is None else f"{value:.2f}" for value in cells),
            style="bold" if name == _STAGES[-1][0] else None,
        )
    return table
