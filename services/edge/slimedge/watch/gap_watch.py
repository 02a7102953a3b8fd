"""Events of the edge -> records of gaps: what nobody will ever see, and why.

    CameraChanged(LOST) ... CameraChanged(UP)            CAMERA_LOST, from the one to the other
    Skipped(LINK_DOWN), Skipped(CLOUD_FULL) ... Encoded  LINK_DOWN, REFUSED, with the frames between
    Lost                                                 by its reason, one frame
    ClockStepped                                         CLOCK, from the old time to the new one

Frames that the controller skips are no gap, nor is what lasts for less than a second: a slower rate
of pictures is a choice. A gap that goes on is recorded as it grows, after 5, 10, 20 ... seconds, so
that a crash loses little of it and the cloud is not told every moment. Its length is that of the
monotonic clock: should the wall clock be set meanwhile, the gap goes by the time that it began in.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from slimcontrol.controller import WaitReason
from slimedge import event as events
from slimedge.event import EdgeEvent
from slimedge.gap import Gap, GapReason

_LEAST_SECONDS = 1.0
_FIRST_RECORD_SECONDS = 5.0

_SKIPS: dict[events.SkipReason | WaitReason, GapReason] = {
    events.SkipReason.LINK_DOWN: GapReason.LINK_DOWN,
    WaitReason.CLOUD_FULL: GapReason.REFUSED,
    events.SkipReason.ENCODE_FAILED: GapReason.ENCODER,
}
_LOSSES = {
    events.LossReason.EXPIRED: GapReason.EXPIRED,
    events.LossReason.TOO_LARGE: GapReason.REFUSED,
    events.LossReason.REFUSED: GapReason.REFUSED,
    events.LossReason.RESEND_FULL: GapReason.SPOOL_FULL,
    events.LossReason.STORE_LOST: GapReason.STORE_LOST,
}


@dataclass(eq=False)
class GapWatch:
    """An observer that records gaps."""

    epoch: int  # of this start of the edge
    record: Callable[[Gap], None]  # joins a gap that goes on from the one before to it
    unix: Callable[[], float]  # wall clock, seconds
    mono: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._going_on: GapReason | None = None
        self._began_unix = 0.0  # wall clock, seconds
        self._began = 0.0  # monotonic seconds
        self._recorded_seconds = 0.0  # of it
        self._due = 0.0  # monotonic seconds: when to record it next
        self._frames = 0  # since then

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case events.CameraChanged(state=events.CameraState.LOST):
                self._go_on(GapReason.CAMERA_LOST, frames=0)
            case events.CameraChanged(state=events.CameraState.UP):
                self._end(GapReason.CAMERA_LOST)
            case events.Skipped(reason=skip) if skip in _SKIPS:
                self._go_on(_SKIPS[skip], frames=1)
            case events.Encoded():
                self._end(self._going_on)
            case events.Lost(reason=loss, sequence=sequence) if loss in _LOSSES:
                at = event.capture_time_unix
                self.record(
                    Gap(_LOSSES[loss], at, at, 1, event.size_bytes, sequence, sequence, self.epoch)
                )
            case events.ClockStepped():
                self.record(Gap(GapReason.CLOCK, event.from_unix, event.to_unix, epoch=self.epoch))

    def finish(self) -> None:
        """Record what goes on until now; nothing more will come."""
        self._end(self._going_on)

    def _go_on(self, reason: GapReason, *, frames: int) -> None:
        now = self.mono()
        if self._going_on is not reason:
            self._end(self._going_on)
            self._going_on = reason
            self._began_unix, self._began, self._recorded_seconds = self.unix(), now, 0.0
            self._due = now + _FIRST_RECORD_SECONDS
            self._frames = 0
        self._frames += frames
        if now >= self._due:
            self._tell(now)
            self._due = now + (now - self._began)

    def _end(self, reason: GapReason | None) -> None:
        if reason is None or self._going_on is not reason:
            return
        now = self.mono()
        if now - self._began >= _LEAST_SECONDS:
            self._tell(now)
        self._going_on = None

    def _tell(self, now: float) -> None:
        assert self._going_on is not None, "only what goes on is told"
        seconds = now - self._began
        begin, end = (self._began_unix + s for s in (self._recorded_seconds, seconds))
        self.record(Gap(self._going_on, begin, end, self._frames, epoch=self.epoch))
        self._recorded_seconds, self._frames = seconds, 0
