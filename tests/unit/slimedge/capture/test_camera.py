"""The camera thread: pace, loop, loss and recovery, stop."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from slimedge.backoff import FullJitter
from slimedge.capture.camera import Camera, CameraEnded, CameraMessage
from slimedge.capture.video import Picture, Tell
from slimedge.capture.wall_clock import WallClock
from slimedge.errors import CameraError, CameraLostError, CameraRefusedError
from slimedge.event import CameraChanged, CameraState, ClockStepped, Damaged
from slimedge.frame import CapturedFrame

IMAGE = np.zeros((4, 6, 3), np.uint8)


class FakeSource:
    """Plays `plays` in turn: pictures with their times, or the words for a damaged one, then an
    error if one is given.
    """

    def __init__(
        self,
        *plays: tuple[list[float | str | None], Exception | None],
        waits: bool = False,
        again_seconds: float | None = None,
    ) -> None:
        self._plays = list(plays)
        self.waits = waits
        self.again_seconds = again_seconds

    def pictures(self, tell: Tell = print) -> Iterator[Picture]:
        times, error = self._plays.pop(0)
        for due in times:
            if isinstance(due, str):
                tell(due)
            else:
                yield Picture(IMAGE, due)
        if error is not None:
            raise error


class Listening:
    """Collects what a camera's thread tells."""

    def __init__(self) -> None:
        self.frames: queue.Queue[CapturedFrame] = queue.Queue()
        self.states: list[CameraState] = []
        self.steps: list[tuple[float, float]] = []
        self.damages: list[str] = []
        self.ends: queue.Queue[CameraError | None] = queue.Queue()

    def post(self, message: CameraMessage) -> None:
        match message:
            case CapturedFrame():
                self.frames.put(message)
            case CameraChanged():
                self.states.append(message.state)
            case ClockStepped():
                self.steps.append((message.from_unix, message.to_unix))
            case Damaged():
                self.damages.append(message.reason)
            case CameraEnded():
                self.ends.put(message.failure)

    def all_frames(self) -> list[CapturedFrame]:
        return [self.frames.get_nowait() for _ in range(self.frames.qsize())]


def make_camera(
    source: FakeSource,
    listening: Listening,
    *,
    loop: bool = False,
    clock: WallClock | None = None,
) -> Camera:
    return Camera(
        source,
        listening.post,
        loop=loop,
        backoff=FullJitter(0.001, 0.002, Random(1)),
        clock=clock or WallClock(),
    )


def test_a_file_is_played_in_real_time_and_ends() -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([0.0, 0.05, 0.1], None)), listening)

    camera.start()
    failure = listening.ends.get(timeout=30)

    frames = listening.all_frames()
    assert failure is None
    assert [frame.sequence for frame in frames] == [1, 2, 3]
    assert frames[-1].capture_time_mono - frames[0].capture_time_mono >= 0.1
    assert frames[0].image_hw == (4, 6)
    assert listening.states == [CameraState.OPENING, CameraState.UP, CameraState.ENDED]


def test_a_lost_camera_is_opened_again_and_frames_count_on() -> None:
    listening = Listening()
    lost = CameraLostError("cable")
    camera = make_camera(FakeSource(([None, None], lost), ([], lost), ([None], None)), listening)

    camera.start()
    failure = listening.ends.get(timeout=30)

    assert failure is None
    assert [frame.sequence for frame in listening.all_frames()] == [1, 2, 3]
    assert listening.states == [
        CameraState.OPENING,
        CameraState.UP,
        CameraState.LOST,
        CameraState.OPENING,
        CameraState.LOST,
        CameraState.OPENING,
        CameraState.UP,
        CameraState.ENDED,
    ]


def test_damaged_pictures_are_told_and_the_end_says_how_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = Listening()
    damages: list[float | str | None] = ["a.png is cut", "on its way", "on its way"]
    camera = make_camera(FakeSource(([0.0, *damages, 0.0], None)), listening)

    camera.start()
    failure = listening.ends.get(timeout=30)

    assert "3 pictures" in str(failure)
    assert [frame.sequence for frame in listening.all_frames()] == [1, 2]
    assert listening.damages == damages
    warned = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [vars(record)["reason"] for record in warned] == damages[
        :2
    ]  # a link damages many at once


def test_snapshots_are_one_camera_that_stays_up() -> None:
    listening = Listening()
    one: tuple[list[float | str | None], None] = ([None], None)
    end = CameraError("end")
    camera = make_camera(FakeSource(one, one, one, ([], end), again_seconds=0.0), listening)

    camera.start()
    listening.ends.get(timeout=30)

    assert [frame.sequence for frame in listening.all_frames()] == [1, 2, 3]
    assert listening.states == [CameraState.OPENING, CameraState.UP, CameraState.ENDED]


def test_snapshots_in_a_loop_keep_their_interval() -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([None], None), again_seconds=60.0), listening)
    camera.loop = True

    camera.start()
    listening.frames.get(timeout=30)
    time.sleep(0.2)  # more than the pause of a loop
    camera.stop()

    assert listening.ends.get(timeout=30) is None  # it was not asked for a second picture


def test_a_camera_that_refuses_is_asked_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    listening = Listening()
    refused = CameraRefusedError("401")
    camera = make_camera(FakeSource(*[([], refused)] * 4, ([], CameraError("end"))), listening)
    camera.refused_seconds = 0.01

    camera.start()
    listening.ends.get(timeout=30)

    waits = [vars(record)["seconds"] for record in caplog.records if record.msg == "camera lost"]
    assert len(waits) == 4
    assert all(later >= 2 * earlier for earlier, later in pairwise([0.005, *waits]))


def test_a_source_that_waits_is_asked_for_every_picture() -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([0.0, 0.0], None), waits=True), listening)

    camera.start()
    for sequence in (1, 2):
        assert listening.frames.empty()
        camera.want()
        assert listening.frames.get(timeout=30).sequence == sequence
    assert listening.ends.empty()  # the last one is under way
    camera.want()

    assert listening.ends.get(timeout=30) is None


def test_a_stop_interrupts_the_wait_to_be_asked() -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([0.0, 0.0], None), waits=True), listening)

    camera.start()
    camera.stop()

    assert camera.join(30)
    assert listening.frames.empty()


def test_a_wall_clock_that_is_set_between_two_pictures_is_told() -> None:
    listening = Listening()
    unix = iter([5000.0, 5000.0, 1000.0])
    clock = WallClock(lambda: next(unix), lambda: 7.0)
    camera = make_camera(FakeSource(([0.0, 0.0, 0.0], None)), listening, clock=clock)

    camera.start()
    listening.ends.get(timeout=30)

    times = [frame.capture_time_unix for frame in listening.all_frames()]
    assert times == [5000.0, pytest.approx(5000.0, abs=1e-5), 1000.0]
    assert times[1] > times[0]
    assert listening.steps == [(times[1], 1000.0)]


def test_a_loop_begins_again_at_the_end() -> None:
    listening = Listening()
    camera = make_camera(
        FakeSource(([0.0], None), ([0.0], None), ([0.0], None)), listening, loop=True
    )

    camera.start()
    sequences = [listening.frames.get(timeout=30).sequence for _ in range(3)]
    camera.stop()

    assert camera.join(30)
    assert sequences == [1, 2, 3]


@pytest.mark.parametrize("error", [CameraError("no video stream"), ValueError("a bug")])
def test_what_cannot_be_mended_ends_the_camera_with_its_error(error: Exception) -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([], error)), listening)

    camera.start()
    failure = listening.ends.get(timeout=30)

    assert isinstance(failure, CameraError)
    assert str(error) in str(failure)
    assert listening.states[-1] is CameraState.ENDED


def test_a_stop_interrupts_the_wait_for_the_next_picture() -> None:
    listening = Listening()
    camera = make_camera(FakeSource(([0.0, 3600.0], None)), listening)

    camera.start()
    listening.frames.get(timeout=30)
    camera.stop()

    assert camera.join(30)
    assert listening.frames.empty()
