"""Events become records of gaps, and a choice of the controller does not."""

from __future__ import annotations

import numpy as np

from slimcontrol.controller import WaitReason
from slimedge.event import (
    CameraChanged,
    CameraState,
    ClockStepped,
    Encoded,
    LossReason,
    Lost,
    Skipped,
    SkipReason,
)
from slimedge.gap import Gap, GapReason
from slimedge.watch.gap_watch import GapWatch

IMAGE = np.zeros((4, 4, 3), np.uint8)
ENCODED = Encoded(1, 1, 0, 0, 10, IMAGE, 0.0, 0.0, probe=False)
START = 1000.0
EPOCH = 7


class Watched:
    def __init__(self) -> None:
        self.now = START
        self.gaps: list[Gap] = []
        self.clock_set_by = 0.0
        self.watch = GapWatch(
            EPOCH, self.gaps.append, lambda: self.now + self.clock_set_by, lambda: self.now
        )

    def skip(self, reason: SkipReason | WaitReason, seconds: int) -> None:
        """Skip one frame a second for so long."""
        for _ in range(seconds):
            self.watch.notify(Skipped(1, reason))
            self.now += 1


def test_a_lost_camera_is_a_gap_from_its_loss_to_its_return() -> None:
    watched = Watched()
    watched.watch.notify(CameraChanged(CameraState.LOST, "cable"))
    watched.now += 3

    watched.watch.notify(CameraChanged(CameraState.UP, ""))

    assert watched.gaps == [Gap(GapReason.CAMERA_LOST, START, START + 3, epoch=EPOCH)]


def test_a_link_that_is_down_without_a_spool_counts_its_frames() -> None:
    watched = Watched()
    watched.skip(SkipReason.LINK_DOWN, 4)

    watched.watch.notify(ENCODED)

    assert watched.gaps == [Gap(GapReason.LINK_DOWN, START, START + 4, 4, epoch=EPOCH)]


def test_what_goes_on_is_recorded_ever_more_rarely_and_without_a_hole() -> None:
    watched = Watched()
    watched.skip(SkipReason.LINK_DOWN, 100)
    watched.watch.finish()

    assert 4 <= len(watched.gaps) <= 7
    assert watched.gaps[0].from_unix == START
    for earlier, later in zip(watched.gaps, watched.gaps[1:], strict=False):
        assert earlier.joins(later)
    assert watched.gaps[-1].to_unix == START + 100
    assert sum(gap.frames for gap in watched.gaps) == 100


def test_a_clock_that_is_set_back_meanwhile_hides_no_gap() -> None:
    watched = Watched()
    watched.watch.notify(CameraChanged(CameraState.LOST, "cable"))
    watched.now += 3600
    watched.clock_set_by = -7200

    watched.watch.notify(CameraChanged(CameraState.UP, ""))

    assert watched.gaps == [Gap(GapReason.CAMERA_LOST, START, START + 3600, epoch=EPOCH)]


def test_slower_pictures_and_short_pauses_are_no_gap() -> None:
    watched = Watched()
    watched.skip(WaitReason.INFEASIBLE, 60)
    watched.skip(SkipReason.OUTAGE, 60)
    watched.watch.notify(Skipped(1, WaitReason.CLOUD_FULL))
    watched.now += 0.5
    watched.watch.notify(ENCODED)

    assert watched.gaps == []


def test_a_lost_frame_is_a_gap_of_its_own_but_not_where_the_spool_records_it() -> None:
    watched = Watched()
    watched.watch.notify(Lost(9, LossReason.RESEND_FULL, 990.0, 500))
    watched.watch.notify(Lost(8, LossReason.SPOOL_FULL, 980.0, 500))
    watched.watch.notify(Lost(7, LossReason.NO_RESULT))

    assert watched.gaps == [Gap(GapReason.SPOOL_FULL, 990.0, 990.0, 1, 500, 9, 9, EPOCH)]


def test_a_clock_that_was_set_back_is_recorded_as_it_was() -> None:
    watched = Watched()

    watched.watch.notify(ClockStepped(5000.0, 1400.0))

    assert watched.gaps == [Gap(GapReason.CLOCK, 5000.0, 1400.0, epoch=EPOCH)]
