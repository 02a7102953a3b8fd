"""The order of things: cloud up, edge up, watch, look at one picture, stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from slimcli.demo.cloud import CloudProcess
from slimcli.demo.history import History
from slimcli.demo.link_charts import LinkCharts
from slimcli.demo.review import ViewedFrame, view_frame
from slimcli.demo.screen import Scene, Screen, open_screen
from slimcli.demo.tally import Tally
from slimcli.demo.waiting import Stopped, in_thread, unless
from slimcli.exits import UnavailableError
from slimedge.app import run_edge
from slimedge.event import Observers
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink
from slimlinks.trace import Trace

FIRST_FRAME_SECONDS = 30.0  # for a camera that is not there yet; it is asked again meanwhile
SETTLE_SECONDS = 5.0  # for the results of the last frames
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Plan:
    """What to play."""

    edge: EdgeSettings  # its `cloud_address` is replaced by the real one
    model: str  # name/version
    seconds: float | None  # from the first frame; None: until Ctrl-C
    link: Trace | None  # towards the cloud; None: no limit
    round_trip_seconds: float  # of that link
    is_drawn: bool  # charts of the link and of what the controller makes of it


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    viewed: ViewedFrame | None
    problem: str  # why there is no picture on demand; else empty


async def play(plan: Plan, cloud: CloudProcess, tally: Tally, console: Console) -> Outcome:
    """Run the demo to its end, or until a signal.

    Raises:
        UnavailableError: the cloud does not come up, or ends by itself.
        EdgeError, ControlError, CodecError: the edge cannot work.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        addresses = await unless(stop, cloud.ready())
        async with ShapedLink(
            addresses.ingest, plan.link, round_trip_seconds=plan.round_trip_seconds
        ) as link:
            ingest = addresses.ingest if plan.link is None else link.address
            settings = plan.edge.model_copy(update={"cloud_address": ingest})
            history = History()
            edge_stop = asyncio.Event()
            edge = asyncio.create_task(
                run_edge(settings, Observers(tally, history), stop=edge_stop)
            )
            edge.add_done_callback(lambda _: stop.set())
            try:
                scene = _scene(plan, addresses.review, history, link)
                with open_screen(console, scene) as screen:
                    return await _watch(plan, cloud, tally, screen, addresses.review, stop)
            finally:
                edge_stop.set()
                await edge
    except Stopped:
        return Outcome(None, "stopped before")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _watch(
    plan: Plan, cloud: CloudProcess, tally: Tally, screen: Screen, api: str, stop: asyncio.Event
) -> Outcome:
    """Stream for the planned time, wait for the last results, look at one picture."""

    def show(note: str = "") -> None:
        cloud.check()
        screen.update(tally, note)

    await _until(lambda: tally.totals.frames_captured > 0, FIRST_FRAME_SECONDS, stop, screen, show)
    if not (stop.is_set() or tally.totals.frames_captured):
        why = tally.camera_detail or f"it is {tally.camera}"
        raise UnavailableError(
            f"{_source_name(plan.edge.source)}: no picture after {FIRST_FRAME_SECONDS:.0f} s; {why}"
        )
    await _until(lambda: False, plan.seconds, stop, screen, show)
    tally.close()
    if not stop.is_set():
        note = "waiting for the last results"
        await _until(lambda: tally.is_settled, SETTLE_SECONDS, stop, screen, lambda: show(note))
    try:
        return await _look(plan.edge.camera_id, tally, api, stop, show)
    except UnavailableError as exc:
        return Outcome(None, str(exc))
    finally:
        screen.update(tally, "finished")


async def _look(
    camera: str, tally: Tally, api: str, stop: asyncio.Event, show: Callable[[str], None]
) -> Outcome:
    candidates = tally.reviewable()
    if stop.is_set() or not candidates:
        return Outcome(None, "stopped before" if stop.is_set() else "no frame was detected")
    sequence = candidates[0].sequence
    image = tally.picture(sequence)
    assert image is not None, "reviewable frames have their pictures"
    show(f"looking at frame {sequence} through the review API")
    return Outcome(
        await unless(stop, in_thread(lambda: view_frame(api, camera, sequence, image))), ""
    )


async def _until(
    done: Callable[[], bool],
    seconds: float | None,
    stop: asyncio.Event,
    screen: Screen,
    show: Callable[[], None],
) -> None:
    """Show the tally until `done`, the time is over, or the stop."""
    started = shown = time.monotonic()
    show()
    while not stop.is_set() and not done():
        now = time.monotonic()
        if seconds is not None and now - started >= seconds:
            return
        if now - shown >= screen.interval_seconds:
            show()
            shown = now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _TICK_SECONDS)


def _scene(plan: Plan, review_api: str, history: History, link: ShapedLink) -> Scene:
    charts = None
    if plan.is_drawn and plan.link is not None:
        deadline = plan.edge.deadline_ms / 1000
        charts = LinkCharts(history, plan.link, lambda: link.trace_seconds, deadline)
    return Scene(
        source=_source_name(plan.edge.source),
        model=plan.model,
        review_api=review_api,
        uplink=_link_name(plan),
        seconds=plan.seconds,
        charts=charts,
    )


def _link_name(plan: Plan) -> str:
    if plan.link is None:
        return "no limit"
    if not plan.is_drawn:
        return f"{plan.link.mean / 125:,.0f} kbit/s, simulated"
    trip = f"{plan.round_trip_seconds * 1000:.0f} ms round trip"
    return f"{plan.link.name}, {plan.link.mean / 125:,.0f} kbit/s on average, {trip}, simulated"


def _source_name(source: str) -> str:
    """A file's name, or an address without the password that may be in it."""
    if "://" not in source:
        return Path(source).name or source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
