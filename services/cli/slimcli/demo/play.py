"""The order of things: cloud up, edge up, all warm, then watch; at the end look at one picture.

A machine that cannot keep up gets a new edge that takes fewer pictures, and the counts begin anew.
"""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rich.console import Console

from slimcli.demo.plan import Plan
from slimcli.demo.rate import slower_rate, work_seconds
from slimcli.demo.review import ViewedFrame, open_frame, view_frame
from slimcli.demo.screen import LiveScreen, PlainScreen
from slimcli.demo.tally import Tally
from slimcli.exits import UnavailableError
from slimedge.app import run_edge
from slimedge.event import EdgeObserver
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink

FIRST_FRAME_SECONDS = 30.0  # for a camera that is not there yet; it is asked again meanwhile
WARM_SECONDS = 60.0  # for the first picture's way through graphs that are compiled for it
SETTLE_SECONDS = 20.0  # for the results of the last frames; a frame that is lost is told by then
_TICK_SECONDS = 0.05

T = TypeVar("T")


class _Stopped(Exception):
    """The stop came while something else was awaited."""


@dataclass(frozen=True)
class Outcome:
    """What came of it, besides the tally."""

    viewed: ViewedFrame | None
    rate: float  # pictures a second at most
    was_stopped: bool  # by a signal


class Cloud(AbstractContextManager[object], Protocol):
    """What a demo needs of `CloudProcess`; it runs from entry to exit."""

    async def ready(self) -> tuple[str, str]: ...
    def check(self) -> None: ...


class RunEdge(Protocol):
    """As `slimedge.app.run_edge`."""

    async def __call__(
        self, settings: EdgeSettings, observer: EdgeObserver, *, stop: asyncio.Event
    ) -> None: ...


async def play(
    plan: Plan, cloud: Cloud, tally: Tally, console: Console, run_edge: RunEdge = run_edge
) -> Outcome:
    """Run the demo to its end, or until a signal; call it on the main thread.

    Signals are handled before the cloud is started: none can fall between the two, whether the
    process inherited its way with them from a terminal or from a shell that ignores Ctrl-C.

    Raises:
        UnavailableError: the cloud does not come up, or ends by itself.
        EdgeError, ControlError, CodecError: the edge cannot work.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    screen = LiveScreen(console, plan) if console.is_terminal else PlainScreen(console, plan)
    player = _Player(plan, cloud, tally, screen, stop, run_edge)
    try:
        with cloud, screen:
            await player.run()
    except _Stopped:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return Outcome(player.viewed, player.rate, stop.is_set())


@dataclass(eq=False)
class _Player:
    """One demo on its way."""

    plan: Plan
    cloud: Cloud
    tally: Tally
    screen: PlainScreen
    stop: asyncio.Event
    run_edge: RunEdge

    def __post_init__(self) -> None:
        self._link: ShapedLink | None = None
        self._is_warm = False  # the cloud's graphs are
        self.rate = self.plan.edge.max_fps
        self.viewed: ViewedFrame | None = None

    async def run(self) -> None:
        """From the cloud's start to the end; raises `_Stopped` where a signal came before."""
        self.screen.update(self.tally, "starting the cloud: it loads its models, some seconds")
        ingest, review = await _unless(self.stop, self.cloud.ready())
        round_trip = self.plan.round_trip_seconds
        async with ShapedLink(ingest, self.plan.link, round_trip_seconds=round_trip) as self._link:
            address = ingest if self.plan.link is None else self._link.address
            while (slower := await self._stream(address, review)) is not None:
                self.screen.say(
                    f"This machine works {work_seconds(self.tally.recent):.1f} s on a picture: "
                    f"{slower:g} a second now, not {self.rate:g}. Counted anew."
                )
                self.rate = slower

    async def _stream(self, ingest: str, api: str) -> float | None:
        """Run one edge to the end; the rate to go on with, where the machine cannot keep up."""
        settings = self.plan.edge.model_copy(update={"cloud_address": ingest, "max_fps": self.rate})
        self.tally.restart()
        edge_stop = asyncio.Event()
        self._edge = asyncio.create_task(self.run_edge(settings, self.tally, stop=edge_stop))
        try:
            await self._warm_up(api)
            self.tally.restart()
            await self._until(lambda: self._slower() is not None, self.plan.seconds)
            slower = None if self._is_over else self._slower()
            if slower is None and not self._is_over:
                await self._finish(api)
            return slower
        finally:
            edge_stop.set()
            self._show("the camera stops")
            await self._edge

    def _slower(self) -> float | None:
        return slower_rate(self.tally.recent, self.rate, self.plan.edge.deadline_seconds)

    async def _warm_up(self, api: str) -> None:
        """Wait for a picture's whole way, and open one, so that nothing is compiled later."""
        tally = self.tally
        note = "waiting for the camera"
        await self._until(lambda: tally.totals.frames_captured > 0, FIRST_FRAME_SECONDS, note)
        if not (self._is_over or tally.totals.frames_captured):
            why = tally.camera_detail or f"it is {tally.camera}"
            source = self.plan.source_name
            raise UnavailableError(f"{source}: no picture after {FIRST_FRAME_SECONDS:.0f} s; {why}")
        note = "warming up: the first pictures are on their way, and are not counted"
        await self._until(lambda: len(tally.recent) > 0, WARM_SECONDS, note)
        if tally.recent and not (self._is_warm or self._is_over):
            self._is_warm = True
            camera, sequence = self.plan.edge.camera_id, tally.recent[-1].sequence
            with contextlib.suppress(UnavailableError):  # it is for the person's first click only
                await _unless(self.stop, _in_thread(lambda: open_frame(api, camera, sequence)))

    async def _finish(self, api: str) -> None:
        """Take the last results, and look at one picture as a person would."""
        tally = self.tally
        tally.close()
        note = "waiting for the last results"
        await self._until(lambda: tally.is_settled, SETTLE_SECONDS, note)
        best = tally.best_to_look_at()
        if self._is_over or best is None:
            return
        sequence, image = best
        self._show(f"looking at picture {sequence} as the page does")
        camera = self.plan.edge.camera_id
        try:
            self.viewed = await _unless(
                self.stop, _in_thread(lambda: view_frame(api, camera, sequence, image))
            )
        except UnavailableError as exc:
            self.screen.say(f"no picture on demand: {exc}")

    @property
    def _is_over(self) -> bool:
        """Whether somebody wants the end, or the edge has ended by itself."""
        return self.stop.is_set() or self._edge.done()

    async def _until(self, done: Callable[[], bool], seconds: float | None, note: str = "") -> None:
        """Show the tally until `done`, the time is over, or the end."""
        started = shown = time.monotonic()
        self.cloud.check()
        self._show(note)
        while not self._is_over and not done():
            now = time.monotonic()
            if seconds is not None and now - started >= seconds:
                return
            if now - shown >= self.screen.interval_seconds:
                self.cloud.check()
                self._show(note)
                shown = now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), _TICK_SECONDS)

    def _show(self, note: str) -> None:
        now = self._link.bytes_per_second if self._link and self.plan.is_replayed else None
        self.screen.update(self.tally, note, self.rate, now)


async def _unless(stop: asyncio.Event, work: Coroutine[object, object, T]) -> T:
    """The work's result; `_Stopped` if the stop comes first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    raise _Stopped


async def _in_thread(work: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, on a daemon thread: a stop need not wait for a slow answer."""
    answer: Future[T] = Future()

    def run() -> None:
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        try:
            answer.set_result(work())
        except Exception as exc:  # handed over to the waiting task
            answer.set_exception(exc)

    threading.Thread(target=run, name="review", daemon=True).start()
    return await asyncio.wrap_future(answer)
