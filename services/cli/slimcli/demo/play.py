"""The order of things: cloud up, edge up, all warm, then watch; at the end look at one picture.

A machine that cannot keep up gets a new edge that takes fewer pictures, and the counts begin anew.
"""

import asyncio
import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from rich.console import Console

from slimcli.demo.cloud import CloudProcess
from slimcli.demo.plan import Plan
from slimcli.demo.rate import slower_rate, work_seconds
from slimcli.demo.review import ViewedFrame, open_newest, view_frame
from slimcli.demo.screen import LiveScreen, PlainScreen
from slimcli.demo.tally import Tally
from slimcli.exits import UnavailableError
from slimedge.app import run_edge
from slimlinks.shaping import ShapedLink

FIRST_FRAME_SECONDS = 30.0  # for a camera that is not there yet; it is asked again meanwhile
WARM_SECONDS = 60.0  # for the first picture's way through graphs that are compiled for it
SETTLE_SECONDS = 20.0  # for the results of the last frames; a frame that is lost is told by then
_TICK_SECONDS = 0.05

T = TypeVar("T")
RunEdge: TypeAlias = Callable[..., Coroutine[Any, Any, object]]  # as `slimedge.app.run_edge`


@dataclass(frozen=True)
class Outcome:
    """What came of it, besides the tally."""

    viewed: ViewedFrame | None
    rate: float  # pictures a second at most
    was_stopped: bool  # by a signal


async def play(
    plan: Plan, cloud: CloudProcess, tally: Tally, console: Console, run_edge: RunEdge = run_edge
) -> Outcome:
    """Run the demo to its end, or until a signal; call it on the main thread.

    Signals are handled before the cloud is started: none can fall between the two, whether the
    process inherited its way with them from a terminal or from a shell that ignores Ctrl-C.

    Raises:
        UnavailableError: the cloud does not come up, or ends by itself.
        EdgeError, ControlError, CodecError: the edge cannot work.
    """
    screen = (LiveScreen if console.is_terminal else PlainScreen)(console, plan, tally)
    player = _Player(plan, cloud, tally, screen, run_edge)
    playing = asyncio.create_task(player.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    try:
        await asyncio.wait([playing])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if not playing.cancelled():
        playing.result()
    return Outcome(player.viewed, player.rate, playing.cancelled())


@dataclass(eq=False)
class _Player:
    """One demo on its way; cancel `run` to end it."""

    plan: Plan
    cloud: CloudProcess
    tally: Tally
    screen: PlainScreen
    run_edge: RunEdge

    def __post_init__(self) -> None:
        self._link: ShapedLink | None = None
        self.rate = self.plan.edge.max_fps
        self.viewed: ViewedFrame | None = None

    async def run(self) -> None:
        """From the cloud's start to the end."""
        with self.cloud, self.screen:
            self._show("starting the cloud: it loads its models, some seconds")
            ingest, review = await self.cloud.ready()
            trip = self.plan.round_trip_seconds
            async with ShapedLink(ingest, self.plan.link, round_trip_seconds=trip) as self._link:
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
        stop = asyncio.Event()
        self._edge = asyncio.create_task(self.run_edge(settings, self.tally, stop=stop))
        try:
            await self._warm_up(api)
            self.tally.restart()
            await self._until(lambda: self._slower() is not None, self.plan.seconds or math.inf)
            slower = self._slower()
            if slower is None:
                await self._finish(api)
            return slower
        finally:
            stop.set()
            self._show("the camera stops")
            await self._edge

    def _slower(self) -> float | None:
        return slower_rate(self.tally.recent, self.rate, self.plan.edge.deadline_seconds)

    async def _warm_up(self, api: str) -> None:
        """Wait for a picture's whole way, and open one, so that nothing is compiled later."""
        tally = self.tally
        note = "waiting for the camera"
        await self._until(lambda: tally.totals.frames_captured > 0, FIRST_FRAME_SECONDS, note)
        if not tally.totals.frames_captured:
            why = tally.camera.detail or f"it is {tally.camera.state}"
            source = self.plan.source_name
            raise UnavailableError(f"{source}: no picture after {FIRST_FRAME_SECONDS:.0f} s; {why}")
        note = "warming up: the first pictures are on their way, and are not counted"
        await self._until(lambda: bool(tally.recent), WARM_SECONDS, note)
        with contextlib.suppress(UnavailableError):  # it is for the person's first click only
            await _in_thread(lambda: open_newest(api, self.plan.edge.camera_id))

    async def _finish(self, api: str) -> None:
        """Take the last results, and look at one picture as a person would."""
        tally = self.tally
        tally.close()
        note = "waiting for the last results"
        await self._until(lambda: tally.is_settled, SETTLE_SECONDS, note)
        best = tally.best_to_look_at()
        if best is None:
            return
        sequence, image = best
        self._show(f"looking at picture {sequence} as the page does")
        camera = self.plan.edge.camera_id
        try:
            self.viewed = await _in_thread(lambda: view_frame(api, camera, sequence, image))
        except UnavailableError as exc:
            self.screen.say(f"no picture on demand: {exc}")

    async def _until(self, done: Callable[[], bool], seconds: float, note: str = "") -> None:
        """Show the tally until `done`, or the time is over."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.cloud.check()
            if self._edge.done():
                await self._edge  # which says why
                raise UnavailableError(f"{self.plan.source_name}: the camera has ended")
            self._show(note)
            await asyncio.sleep(_TICK_SECONDS)

    def _show(self, note: str) -> None:
        now = self._link.bytes_per_second if self._link and self.plan.is_replayed else None
        self.screen.update(note, self.rate, now)


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
