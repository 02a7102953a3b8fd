"""The tally on the terminal: drawn again four times a second, or a plain line a second.

Both begin with the page's address. Plain lines are for what is no terminal: a log, a pipe, CI. The
live screen fits 80 columns of 24 lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slimcli.demo.compared import jpeg_line
from slimcli.demo.frame_row import FrameRow
from slimcli.demo.summary import delay_line, labels_line, percentile, pictures_line, sent_line
from slimcli.demo.tally import Tally
from slimedge.event import CameraState, LinkState

DRAW_SECONDS = 0.25  # between two pictures of the screen
LINE_SECONDS = 1.0  # between two plain lines
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


@dataclass(frozen=True)
class Scene:
    """What does not change while the demo runs."""

    page: str  # address
    source: str
    model: str
    link: str  # in words
    deadline_seconds: float
    seconds: float | None  # None: until Ctrl-C
    shown: Sequence[str] = ()  # the only labels that the cloud keeps; none: all
    link_now: Callable[[], float] | None = field(default=None, compare=False)  # bytes per second


class Screen(Protocol):
    """Shows a tally, every `interval_seconds`."""

    interval_seconds: float

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def update(self, tally: Tally, note: str = "", rate: float = 0.0) -> None:
        """Show where things are; `note`: what is going on, `rate`: pictures a second, if known."""
        ...

    def say(self, sentence: str) -> None:
        """Say something that stays."""
        ...


def open_screen(console: Console, scene: Scene) -> Screen:
    """The live screen on a terminal, plain lines elsewhere."""
    return LiveScreen(console, scene) if console.is_terminal else PlainScreen(console, scene)


class LiveScreen:
    """One picture, drawn over itself, below the page's address."""

    interval_seconds = DRAW_SECONDS

    def __init__(self, console: Console, scene: Scene) -> None:
        self._console = console
        self._scene = scene
        self._started = time.monotonic()
        self._sentence = ""
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        end = "Ctrl-C" if self._scene.seconds is None else "the end"
        line = Text.assemble((self._scene.page, "bold cyan"), f"  the page, until {end}")
        self._console.print(line, soft_wrap=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, tally: Tally, note: str = "", rate: float = 0.0) -> None:
        note = note or f"{time.monotonic() - self._started:.0f} s"
        drawn = draw(tally, self._scene, note, rate, self._sentence)
        self._live.update(drawn, refresh=True)

    def say(self, sentence: str) -> None:
        self._sentence = sentence


class PlainScreen:
    """One line for each second."""

    interval_seconds = LINE_SECONDS

    def __init__(self, console: Console, scene: Scene) -> None:
        self._console = console
        self._scene = scene
        self._last = ""

    def __enter__(self) -> Self:
        scene = self._scene
        self._line(f"{scene.page}  the page, while this runs")
        self._line(f"camera {scene.source}, model {scene.model}, link {scene.link}")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, tally: Tally, note: str = "", rate: float = 0.0) -> None:
        if note:
            self._line(note)
        elif tally.recent:
            row = tally.recent[-1]
            self._line(
                f"frame {row.sequence}: level {row.level}, quality {row.quality:g}, "
                f"{row.bitstream_bytes:,} bytes, {row.latency_seconds:.2f} s, "
                f"{labels_line(row.labels)}"
            )

    def say(self, sentence: str) -> None:
        self._line(sentence)

    def _line(self, text: str) -> None:
        if text != self._last:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._last = text


def draw(
    tally: Tally, scene: Scene, note: str, rate: float = 0.0, sentence: str = ""
) -> RenderableType:
    """The whole screen."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(width=WIDTH - 11)
    for name, value in _facts(tally, scene, rate):
        is_long = name in _LONG
        facts.add_row(
            name, Text(value, no_wrap=not is_long, overflow="fold" if is_long else "ellipsis")
        )
    last = [Text(sentence, style="yellow")] if sentence else []
    return Group(
        Text(), facts, Text(), _stage_table(list(tally.recent)), Text(), *last, Text(note, "dim")
    )


def _facts(tally: Tally, scene: Scene, rate: float) -> list[tuple[str, str]]:
    """Name and value of each line."""
    facts = [
        ("camera", _camera(tally, scene, rate)),
        ("link", _link(tally, scene)),
        ("codec", _codec(tally, scene)),
        ("found", labels_line(tally.recent[-1].labels) if tally.recent else "nothing yet"),
    ]
    if scene.shown:
        facts.append(("boxes", f"only of {', '.join(scene.shown)}"))
    facts += [
        ("pictures", pictures_line(tally.totals, scene.deadline_seconds)),
        ("bytes", sent_line(tally.totals)),
        ("delay", delay_line([row.latency_seconds or 0.0 for row in tally.recent])),
    ]
    against_jpeg = jpeg_line(scene.model)
    if against_jpeg is not None:
        facts.append(("JPEG", against_jpeg))
    return facts


def _camera(tally: Tally, scene: Scene, rate: float) -> str:
    if tally.camera is not CameraState.UP and tally.camera_detail:
        return f"{scene.source}: {tally.camera}: {tally.camera_detail}"
    line = scene.source
    if len(line) > _NAME_COLUMNS:
        line = "…" + line[1 - _NAME_COLUMNS :]
    if tally.recent:
        h, w = tally.recent[-1].image_hw
        line += f", {w} x {h}"
    return line + (f", {rate:g} {'picture' if rate == 1 else 'pictures'} a second" if rate else "")


def _link(tally: Tally, scene: Scene) -> str:
    line = scene.link
    if scene.link_now is not None:
        line = f"now {scene.link_now() / 125:,.0f} kbit/s; {line}"
    if tally.link is LinkState.UP:
        return line
    return f"{tally.link}: {tally.link_detail}" if tally.link_detail else f"{tally.link}"


def _codec(tally: Tally, scene: Scene) -> str:
    if not tally.recent:
        return scene.model
    row = tally.recent[-1]
    return f"{scene.model}, now level {row.level}, quality {row.quality:g}"


def _stage_table(rows: Sequence[FrameRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("where the time goes, s", no_wrap=True)
    for heading in ("this picture", "median", "95 of 100 within"):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, (name, seconds_of) in enumerate(_STAGES):
        values = [value for row in rows if (value := seconds_of(row)) is not None]
        now = seconds_of(rows[-1]) if rows else None
        table.add_row(
            name,
            *(_seconds(v) for v in (now, percentile(values, 50), percentile(values, 95))),
            style="bold" if index == len(_STAGES) - 1 else None,
        )
    return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
