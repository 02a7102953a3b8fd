"""The order of a demo, with an edge and a cloud that only say what they did."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Callable
from typing import Self

import numpy as np
import pytest
from rich.console import Console

from slimcli.demo.cloud import CloudProcess
from slimcli.demo.plan import Plan
from slimcli.demo.play import RunEdge, play
from slimcli.demo.tally import Tally
from slimedge.event import Acked, Captured, Detected, EdgeObserver, Encoded, Sent, Stage
from slimedge.settings import EdgeSettings

FRAME_SECONDS = 0.002  # between two frames of these edges: nothing waits for a real camera
IMAGE = np.zeros((40, 50, 3), np.uint8)
PLAN = Plan(
    EdgeSettings(source="street.mp4", camera_id="demo"), "toy/1", "http://127.0.0.1:9", 0.5, None
)


class NoCloud(CloudProcess):
    """Up at once; nobody answers at its address."""

    is_running = False

    def __init__(self) -> None:
        super().__init__("toy", None)

    def __enter__(self) -> Self:
        self.is_running = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_running = False

    async def ready(self) -> tuple[str, str]:
        return "127.0.0.1:9", "http://127.0.0.1:9"

    def check(self) -> None:
        pass


class CloudBehindCtrlC(NoCloud):
    """A person wants the end at the very moment at which it has been started."""

    def __enter__(self) -> Self:
        os.kill(os.getpid(), signal.SIGINT)
        return super().__enter__()

    async def ready(self) -> tuple[str, str]:
        return await asyncio.Future()


def edge_of(cloud_seconds: dict[float, tuple[float, float]], started: list[float]) -> RunEdge:
    """An edge whose frames wait and work in the cloud for so long, by the rate that it got."""

    async def run(settings: EdgeSettings, observer: EdgeObserver, *, stop: asyncio.Event) -> None:
        rate = settings.max_fps
        started.append(rate)
        sequence = 0
        while not stop.is_set():
            sequence += 1
            observer.notify(Captured(sequence, (40, 50)))
            observer.notify(Encoded(sequence, sequence, 0, 3.0, 1000, IMAGE, 0.0, 0.02, False))
            observer.notify(Sent(sequence, 1000, 0.0, resent=False))
            observer.notify(Acked(sequence, Stage.PERSISTED, 0.1))
            queue, work = cloud_seconds[rate]
            observer.notify(Detected(sequence, (), 0.9, queue, work))
            await asyncio.sleep(FRAME_SECONDS)

    return run


async def run_demo(
    cloud_seconds: dict[float, tuple[float, float]],
) -> tuple[list[float], Tally, str]:
    """Rates of the edges that were started, what was counted, and what was said."""
    tally, started, cloud = Tally(1.0), list[float](), NoCloud()
    console = Console(width=100, record=True, file=io.StringIO())

    outcome = await play(PLAN, cloud, tally, console, edge_of(cloud_seconds, started))

    assert not cloud.is_running
    assert outcome.rate == started[-1]
    assert not outcome.was_stopped
    return started, tally, console.export_text()


async def test_a_machine_that_keeps_up_keeps_its_rate() -> None:
    started, tally, text = await run_demo({10.0: (0.0, 0.07)})

    assert started == [10.0]
    assert tally.totals.frames_detected > 0
    assert "This machine" not in text


async def test_a_slow_machine_gets_fewer_pictures_and_one_sentence() -> None:
    started, tally, text = await run_demo({10.0: (0.4, 0.3), 2.0: (0.0, 0.1)})

    assert started == [10.0, 2.0]
    said = "This machine works 0.3 s on a picture: 2 a second now, not 10. Counted anew."
    assert text.count(said) == 1
    assert all(seen.detected.cloud_compute_seconds == 0.1 for seen in tally.recent)


async def test_the_address_of_the_page_is_the_first_line() -> None:
    *_, text = await run_demo({10.0: (0.0, 0.07)})

    assert text.splitlines()[0].startswith("http://127.0.0.1:9 ")


@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN])
async def test_ctrl_c_while_the_cloud_starts_ends_both(
    inherited: Callable[..., object] | signal.Handlers,
) -> None:
    """A background job of a shell, such as a test run may be, inherits that SIGINT is ignored."""
    cloud, started = CloudBehindCtrlC(), list[float]()
    before = signal.signal(signal.SIGINT, inherited)
    try:
        await play(PLAN, cloud, Tally(), Console(file=io.StringIO()), edge_of({}, started))
    finally:
        signal.signal(signal.SIGINT, before)

    assert not cloud.is_running
    assert started == []
