"""The tally on the terminal: drawn again four times a second, or a plain line a second.

Plain lines are for what is no terminal: a log, a pipe, CI.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from slimcli.demo.frame_row import FrameRow
from slimcli.demo.link_charts import LinkCharts
from slimcli.demo.summary import (
    accuracy_line,
    bytes_line,
    frames_line,
    labels_line,
    percentile,
)
from slimcli.demo.tally import Tally
from slimedge.event import CameraState, LinkState

DRAW_SECONDS = 0.25  # between two pictures of the screen
LINE_SECONDS = 1.0  # between two plain lines
_WIDTH = 92  # columns of the screen; a narrower terminal gets a narrower one

# What the latency of a frame is made of, in order; the last is the whole.
_STAGES: tuple[tuple[str, Callable[[FrameRow], float | None]], ...] = (
    ("wait for the encoder", lambda row: row.wait_seconds),
    ("encode", lambda row: row.encode_seconds),
    ("wait for credit", lambda row: row.credit_wait_seconds),
    ("link, both ways, and storing", lambda row: row.link_seconds),
    ("queue in the cloud", lambda row: row.cloud_queue_seconds),
    ("decode symbols and detect", lambda row: row.cloud_compute_seconds),
    ("capture to detection", lambda row: row.latency_seconds),
)


@dataclass(frozen=True)
class Scene:
    """What does not change while the demo runs."""

    source: str
    model: str
    review_api: str  # address
    uplink: str  # in words
    seconds: float | None  # None: until Ctrl-C
    charts: LinkCharts | None = None  # of a link that changes; None: a table of where time goes


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
    def update(self, tally: Tally, note: str = "") -> None: ...


def open_screen(console: Console, scene: Scene) -> Screen:
    """The live screen on a terminal, plain lines elsewhere."""
    return LiveScreen(console, scene) if console.is_terminal else PlainScreen(console, scene)


class LiveScreen:
    """One picture, drawn over itself."""

    interval_seconds = DRAW_SECONDS

    def __init__(self, console: Console, scene: Scene) -> None:
        self._scene = scene
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, tally: Tally, note: str = "") -> None:
        elapsed = time.monotonic() - self._started
        self._live.update(draw(tally, self._scene, elapsed, note), refresh=True)


class PlainScreen:
    """One line for each second."""

    interval_seconds = LINE_SECONDS

    def __init__(self, console: Console, scene: Scene) -> None:
        self._console = console
        self._scene = scene
        self._last = ""

    def __enter__(self) -> Self:
        scene = self._scene
        self._line(
            f"source {scene.source}, model {scene.model}, uplink {scene.uplink}, "
            f"review API {scene.review_api}"
        )
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, tally: Tally, note: str = "") -> None:
        if note:
            self._line(note)
        elif not tally.recent:
            self._line(f"camera {_camera(tally)}, link {_link(tally)}; no frame has come back yet")
        else:
            row = tally.recent[-1]
            charts = self._scene.charts
            self._line(
                ("" if charts is None else f"{charts.now_line()}; ")
                + f"frame {row.sequence}: level {row.level}, quality {row.quality:g}, "
                f"{row.bitstream_bytes:,} bytes, {row.bpp:.3f} bits per pixel, "
                f"{row.latency_seconds:.3f} s, {labels_line(row.labels)}"
            )

    def _line(self, text: str) -> None:
        if text != self._last:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._last = text


def draw(tally: Tally, scene: Scene, elapsed: float, note: str = "") -> RenderableType:
    """The whole screen."""
    until = "until Ctrl-C" if scene.seconds is None else f"of {scene.seconds:.0f} s"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    if scene.charts is None or tally.camera is not CameraState.UP:
        facts.add_row("camera", _camera(tally))
    facts.add_row("frames", frames_line(tally.totals))
    facts.add_row("bytes", bytes_line(tally.totals))
    if scene.charts is None:  # else there is no room for it on 24 lines
        facts.add_row("detections", labels_line(tally.totals.labels))
    facts.add_row("uplink", f"{scene.uplink}, {_link(tally)}")
    facts.add_row("review API", Text(scene.review_api, style="cyan underline"))
    middle: RenderableType = _stage_table(list(tally.recent))
    if scene.charts is not None:
        middle = scene.charts
        facts.add_row("accuracy", accuracy_line(tally.totals))
    return Panel(
        Group(_frame_lines(tally), Text(), middle, Text(), facts),
        title=f"slimwire: {scene.source} ══ {scene.model} ══▶ detections",
        subtitle=note or f"{elapsed:.0f} s {until}",
        title_align="left",
        subtitle_align="right",
        box=box.ROUNDED,
        padding=(0 if scene.charts else 1, 2),
        width=_WIDTH,
    )


def _camera(tally: Tally) -> str:
    if tally.camera is CameraState.UP or not tally.camera_detail:
        return str(tally.camera)
    return f"{tally.camera}: {tally.camera_detail}"


def _link(tally: Tally) -> str:
    is_up = tally.link is LinkState.UP
    return (
        str(tally.link) if is_up or not tally.link_detail else f"{tally.link}: {tally.link_detail}"
    )


def _frame_lines(tally: Tally) -> Text:
    if not tally.recent:
        return Text("waiting for the first frame to come back\n", style="dim")
    row = tally.recent[-1]
    h, w = row.image_hw
    line = Text.assemble(
        ("frame ", "dim"),
        (f"{row.sequence}", "bold"),
        ("  level ", "dim"),
        (f"{row.level}", "bold"),
        ("  quality ", "dim"),
        (f"{row.quality:g}", "bold"),
        (f"  {w} x {h}  ", "dim"),
        (f"{row.bitstream_bytes:,}", "bold"),
        (" bytes  ", "dim"),
        (f"{row.bpp:.3f}", "bold"),
        (" bits per pixel", "dim"),
    )
    return line.append(f"\n{labels_line(row.labels)}", style="magenta")


def _stage_table(rows: Sequence[FrameRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("latency, seconds", no_wrap=True)
    for heading in ("this frame", "median", "p95"):
        table.add_column(heading, justify="right")
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
    return "" if value is None else f"{value:.3f}"
