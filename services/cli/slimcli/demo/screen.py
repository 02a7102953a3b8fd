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
from slimcli.demo.summary import count_lines, labels_line, percentile
from slimcli.demo.tally import SeenFrame, Tally
from slimedge.event import CameraState, LinkState

WIDTH = 79  # columns of the screen
_LONG = ("boxes", "JPEG")  # facts that may take two lines; the others are cut to one

# What the latency of a frame is made of, in order; the last is the whole.
_STAGES: tuple[tuple[str, Callable[[SeenFrame], float]], ...] = (
    ("camera: wait, encode", lambda seen: seen.camera_seconds),
    ("link: wait, both ways, store", lambda seen: seen.way_seconds),
    ("cloud: wait, decode, detect", lambda seen: seen.cloud_seconds),
    ("from the camera to the boxes", lambda seen: seen.detected.latency_seconds),
)


class PlainScreen:
    """A line for whatever is new, and one for a frame each second."""

    interval_seconds = 1.0

    def __init__(self, console: Console, plan: Plan, tally: Tally) -> None:
        self._console, self._plan, self._tally = console, plan, tally
        self._last = ""  # that was said
        self._due = 0.0  # monotonic seconds of the next update

    def __enter__(self) -> Self:
        plan = self._plan
        self.say(f"{plan.page}  the page, while this runs")
        self.say(f"camera {plan.source_name}, model {plan.model}, link {plan.link_name}")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, note: str, rate: float, link_now: float | None) -> None:
        """Show where things are.

        Args:
            note: What is going on, if not the usual.
            rate: Pictures a second.
            link_now: Of a link that changes, bytes per second.
        """
        if note:
            self.say(note)
        elif self._tally.recent and self._is_due():
            seen = self._tally.recent[-1]
            frame = seen.encoded
            self.say(
                f"frame {frame.sequence}: level {frame.level}, quality {frame.quality:g}, "
                f"{frame.bitstream_bytes:,} bytes, {seen.detected.latency_seconds:.2f} s, "
                f"{labels_line(seen.labels)}"
            )

    def say(self, sentence: str) -> None:
        """Say something that stays."""
        if sentence != self._last:
            self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        self._last = sentence

    def _is_due(self) -> bool:
        now = time.monotonic()
        is_due = now >= self._due
        if is_due:
            self._due = now + self.interval_seconds
        return is_due


class LiveScreen(PlainScreen):
    """One picture, drawn over itself, below the page's address."""

    interval_seconds = 0.25

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._note = ""
        end = "Ctrl-C" if self._plan.seconds is None else "the end"
        line = Text.assemble((self._plan.page, "bold cyan"), f"  the page, until {end}")
        self._console.print(line, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, note: str, rate: float, link_now: float | None) -> None:
        if self._is_due() or note != self._note:
            self._note = note
            note = note or f"{time.monotonic() - self._started:.0f} s"
            drawn = draw(self._tally, self._plan, note, rate, link_now, self._last)
            self._live.update(drawn, refresh=True)

    def say(self, sentence: str) -> None:
        self._last = sentence


def draw(
    tally: Tally, plan: Plan, note: str, rate: float, link_now: float | None, sentence: str = ""
) -> RenderableType:
    """The whole screen."""
    recent = list(tally.recent)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(width=WIDTH - 11)
    for name, value in _facts(tally, plan, recent, rate, link_now).items():
        is_long = name in _LONG
        facts.add_row(
            name, Text(value, no_wrap=not is_long, overflow="fold" if is_long else "ellipsis")
        )
    last = [Text(sentence, style="yellow")] if sentence else []
    return Group(Text(), facts, Text(), _stage_table(recent), Text(), *last, Text(note, "dim"))


def _facts(
    tally: Tally, plan: Plan, recent: Sequence[SeenFrame], rate: float, link_now: float | None
) -> dict[str, str]:
    """Name and value of each line."""
    camera, link = tally.camera, tally.link
    pictures = f"{rate:g} {'picture' if rate == 1 else 'pictures'} a second"
    facts = {
        "camera": f"{plan.source_name}, {pictures}",
        "link": plan.link_name,
        "codec": plan.model,
        "found": "nothing yet",
    }
    if link.state is not LinkState.UP:
        facts["link"] = f"{link.state}: {link.detail}" if link.detail else link.state.value
    elif link_now is not None:
        facts["link"] = f"now {link_now / 125:,.0f} kbit/s; {plan.link_name}"
    if recent:
        frame = recent[-1].encoded
        h, w = frame.image.shape[:2]
        facts["camera"] = f"{plan.source_name}, {w} x {h}, {pictures}"
        facts["codec"] += f", now level {frame.level}, quality {frame.quality:g}"
        facts["found"] = labels_line(recent[-1].labels)
    if camera.state is not CameraState.UP and camera.detail:
        facts["camera"] = f"{plan.source_name}: {camera.state}: {camera.detail}"
    if plan.shown:
        facts["boxes"] = f"only of {', '.join(plan.shown)}"
    latencies = [seen.detected.latency_seconds for seen in recent]
    return facts | count_lines(tally.totals, plan, latencies)


def _stage_table(recent: Sequence[SeenFrame]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("where the time goes, s", no_wrap=True)
    for heading in ("this picture", "median", "95 of 100 within"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, seconds_of in _STAGES:
        values = [seconds_of(seen) for seen in recent]
        cells = (values[-1], percentile(values, 50), percentile(values, 95)) if values else ()
        is_whole = name == _STAGES[-1][0]
        table.add_row(name, *(f"{cell:.2f}" for cell in cells), style="bold" if is_whole else None)
    return table
