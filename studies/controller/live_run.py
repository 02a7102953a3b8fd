"""A real edge's events as the run of a simulation, so that both are summed up by the same code.

The window begins with the first frame that is encoded for the wire: what came before is warm-up, of
which the simulator has one picture. What it takes at most is measured as well, for the simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from slimcontrol.controller import WaitReason
from slimcontrol.point import OperatingPoint
from slimedge.event import Acked, Captured, Detected, EdgeEvent, Encoded, Sent, Skipped, Stage
from slimlinks.trace import Trace
from studies.controller.simulation.run import FrameOutcome, Run, Unsent

_WAITED_SECONDS = 0.03  # a frame that came so long before the cloud was free has surely waited


@dataclass(slots=True)
class _Frame:
    number: int  # of the camera, 1 or more
    captured_at: float  # monotonic seconds
    reason: WaitReason | Unsent | None = Unsent.REPLACED
    encoded: Encoded | None = None
    encoded_at: float | None = None
    sent_at: float | None = None
    acked_at: float | None = None  # RECEIVED, here
    detected_at: float | None = None
    compute_seconds: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What each frame of a live run cost; a frame that was not sent costs what the last one did."""

    encode_seconds: Mapping[int, float]  # mean, by level
    encode_factors: tuple[float, ...]  # of each frame, around the mean of its level
    # Of each frame, what kept the cloud busy: the first of a batch has all of it, the others none.
    service_seconds: tuple[float, ...]
    delay_seconds: float  # median of the rest from RECEIVED to the result: waiting, telling


@dataclass
class LiveRun:
    """Watches one edge; `clock` gives monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    frames: dict[int, _Frame] = field(default_factory=dict)  # by the camera's number
    _by_sequence: dict[int, _Frame] = field(default_factory=dict)

    def notify(self, event: EdgeEvent) -> None:
        """Take one event of the edge."""
        now = self.clock()
        match event:
            case Captured():
                self.frames[event.frame] = _Frame(event.frame, now)
            case Skipped() if event.frame in self.frames:
                if isinstance(event.reason, WaitReason):  # warm-up and outages are no policy's
                    self.frames[event.frame].reason = event.reason
            case Encoded() if event.frame in self.frames:
                frame = self._by_sequence[event.sequence] = self.frames[event.frame]
                frame.encoded, frame.encoded_at, frame.reason = event, now, None
            case Sent() if event.sequence in self._by_sequence and not event.resent:
                self._by_sequence[event.sequence].sent_at = now
            case Acked(stage=Stage.RECEIVED) if event.sequence in self._by_sequence:
                self._by_sequence[event.sequence].acked_at = now
            case Detected() if event.sequence in self._by_sequence:
                frame = self._by_sequence[event.sequence]
                frame.captured_at = now - event.latency_seconds  # the camera's own time
                frame.detected_at = now
                frame.compute_seconds = event.cloud_compute_seconds
            case _:
                pass

    @property
    def started_at(self) -> float | None:
        """Capture of the first frame for the wire, monotonic seconds."""
        return min((f.captured_at for f in self._by_sequence.values()), default=None)

    def window(self, seconds: float) -> list[_Frame]:
        """The frames of so many seconds from the start, in order."""
        start = self.started_at
        assert start is not None, "nothing was sent"
        inside = (f for f in self.frames.values() if start <= f.captured_at < start + seconds)
        return sorted(inside, key=lambda frame: frame.number)

    def outcome(
        self,
        seconds: float,
        deadline_seconds: float,
        round_trip_seconds: float,
        points: Mapping[tuple[int, float], OperatingPoint],
    ) -> Run:
        """The window as a run.

        Args:
            seconds: Of the window.
            deadline_seconds: Capture to detection.
            round_trip_seconds: Half of it lies between the cloud and an Ack's arrival here.
            points: By level and quality.
        """
        start = self.started_at or 0.0
        outcomes = []
        for index, frame in enumerate(self.window(seconds)):
            captured_at = frame.captured_at - start
            if frame.encoded is None:
                outcomes.append(FrameOutcome(index, captured_at, reason=frame.reason))
                continue
            point = points[frame.encoded.level, frame.encoded.quality]
            back = round_trip_seconds / 2
            outcomes.append(
                FrameOutcome(
                    index,
                    captured_at,
                    point=point,
                    reason=frame.reason,
                    probe=frame.encoded.probe,
                    utility=point.utility,
                    size_bytes=frame.encoded.bitstream_bytes,
                    encoded_at=_since(start, frame.encoded_at),
                    sent_at=_since(start, frame.sent_at),
                    received_at=_since(start + back, frame.acked_at),
                    detected_at=_since(start, frame.detected_at),
                )
            )
        return Run(tuple(outcomes), deadline_seconds, seconds)

    def lateness(
        self,
        seconds: float,
        trace: Trace,
        offset_seconds: float,
        overhead_bytes: int,
        round_trip_seconds: float,
    ) -> tuple[float, ...]:
        """How much later than the link alone would have it each frame's Ack was here.

        A frame that was not sent has what the last one had.

        Args:
            seconds: Of the window.
            trace: Of the link.
            offset_seconds: Of the trace, where the window begins.
            overhead_bytes: On the link for each frame, besides its container.
            round_trip_seconds: Of the link.
        """
        ahead = offset_seconds - (self.started_at or 0.0)  # from the clock to the trace's
        free_at, late, lateness = 0.0, 0.0, []
        for frame in self.window(seconds):
            if frame.encoded is not None and frame.sent_at is not None:
                size_bytes = frame.encoded.bitstream_bytes + overhead_bytes
                free_at = trace.finish(max(frame.sent_at + ahead, free_at), size_bytes)
                if frame.acked_at is not None:
                    late = max(0.0, frame.acked_at + ahead - free_at - round_trip_seconds)
            lateness.append(late)
        return tuple(lateness)

    def measured(self, seconds: float, first_guess: Mapping[int, float]) -> Measured:
        """What encoding and the cloud took in the window.

        Args:
            seconds: Of the window.
            first_guess: Encode seconds by level; levels that were not used keep their proportion.
        """
        frames = self.window(seconds)
        used: dict[int, list[float]] = {}
        for frame in frames:
            if frame.encoded is not None:
                used.setdefault(frame.encoded.level, []).append(frame.encoded.encode_seconds)
        means = {level: float(np.mean(values)) for level, values in used.items()}
        proportion = float(np.mean([means[level] / first_guess[level] for level in means]))
        work, delay = _besides_computing(frames)
        factor, compute = 1.0, min(f.compute_seconds for f in frames if f.compute_seconds)
        factors, services, batch = [], [], 0.0
        for frame in frames:
            if frame.encoded is not None:
                factor = frame.encoded.encode_seconds / means[frame.encoded.level]
            is_first = frame.detected_at is None or frame.compute_seconds != batch
            if frame.detected_at is not None:
                compute = batch = frame.compute_seconds
            factors.append(factor)
            services.append(compute + work if is_first else 0.0)
        return Measured(
            {n: means.get(n, proportion * guess) for n, guess in first_guess.items()},
            tuple(factors),
            tuple(services),
            delay,
        )


def _besides_computing(frames: list[_Frame]) -> tuple[float, float]:
    """Medians of what a batch takes besides computing: while others wait for it, and the rest.

    What lies between two batches that follow at once keeps the cloud busy; what an idle cloud takes
    longer than that (waiting for a batch to fill, telling) does not.
    """
    busy: list[float] = []
    idle: list[float] = []
    free_at = batch = 0.0
    for frame in frames:
        if frame.acked_at is None or frame.detected_at is None:
            continue
        if frame.compute_seconds != batch:
            begun = max(free_at, frame.acked_at)
            besides = frame.detected_at - begun - frame.compute_seconds
            (busy if frame.acked_at < free_at - _WAITED_SECONDS else idle).append(besides)
        batch, free_at = frame.compute_seconds, frame.detected_at
    work = max(0.0, float(np.median(busy))) if busy else 0.0
    return work, max(0.0, float(np.median(idle)) - work) if idle else 0.0


def _since(start: float, at: float | None) -> float | None:
    return None if at is None else at - start
