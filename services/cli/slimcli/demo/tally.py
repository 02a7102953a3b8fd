"""The edge's events, counted: what the screen shows and what the summary totals.

Memory is bounded, however long the demo runs: totals are counters, pictures are of the newest
frames only, and a latency takes eight bytes.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slimedge import event as events
from slimedge.event import EdgeEvent

RECENT_FRAMES = 64  # of which the screen tells, and whose pictures can be compared
OPEN_FRAMES = 128  # that may wait for their results


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame whose detections are back, and where its time went. Durations in seconds."""

    encoded: events.Encoded
    detected: events.Detected

    @property
    def labels(self) -> Counter[str]:
        """How many of each were found."""
        return Counter(found.label for found in self.detected.detections)

    @property
    def camera_seconds(self) -> float:
        """Waiting for the encoder, and encoding."""
        return self.encoded.wait_seconds + self.encoded.encode_seconds

    @property
    def cloud_seconds(self) -> float:
        """Waiting for the detector, and detecting."""
        return self.detected.cloud_queue_seconds + self.detected.cloud_compute_seconds

    @property
    def way_seconds(self) -> float:
        """What is left of the latency: waiting for the link, both ways over it, and storing."""
        return max(0.0, self.detected.latency_seconds - self.camera_seconds - self.cloud_seconds)

    @property
    def machine_seconds(self) -> float:
        """From the encoder to the boxes, without the link: work, and waiting for its turn."""
        return self.encoded.encode_seconds + self.cloud_seconds

    @property
    def work_seconds(self) -> float:
        """Of that the work alone."""
        return self.encoded.encode_seconds + self.detected.cloud_compute_seconds


@dataclass(slots=True)
class Totals:
    """Counted since the start. Bytes are of containers, once for each frame that was sent."""

    frames_captured: int = 0
    frames_sent: int = 0
    frames_persisted: int = 0
    frames_detected: int = 0
    frames_lost: int = 0
    frames_nacked: int = 0
    sent_bytes: int = 0
    link_sent_bytes: int = 0  # of IP packets, all that left the edge
    link_received_bytes: int = 0
    sent_pixels: int = 0
    frames_late: int = 0  # detected, but after the deadline
    switches: int = 0  # of (level, quality) from one sent frame to the next
    labels: Counter[str] = field(default_factory=Counter)
    latencies_seconds: array[float] = field(default_factory=lambda: array("d"))

    @property
    def bpp_mean(self) -> float | None:
        """Bits per pixel over all frames that were sent."""
        return 8 * self.sent_bytes / self.sent_pixels if self.sent_pixels else None

    @property
    def late(self) -> int:
        """Sent frames whose result came after the deadline, or has not come."""
        return self.frames_late + self.frames_sent - self.frames_detected


class Tally:
    """Watches the edge; read by the screen and the summary on the same thread.

    Args:
        deadline_seconds: Capture to detection; what takes longer is late.
    """

    def __init__(self, deadline_seconds: float = math.inf) -> None:
        self._deadline = deadline_seconds
        self.link = events.LinkChanged(events.LinkState.CONNECTING, "")
        self.camera = events.CameraChanged(events.CameraState.OPENING, "")
        self._is_closed = False
        self.restart()

    def restart(self) -> None:
        """Begin to count anew: what was under way until now is forgotten."""
        self.totals = Totals()
        self.recent: deque[SeenFrame] = deque(maxlen=RECENT_FRAMES)  # the newest last
        self._first_frame = math.inf  # of those that were captured since then
        self._last_point: tuple[int, float] | None = None  # of the frame that was sent last
        self._undetected: dict[int, events.Encoded] = {}  # by sequence
        self._unpersisted: set[int] = set()

    def close(self) -> None:
        """Count no new frames; those under way are still followed."""
        self._is_closed = True

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come for the frames that were counted."""
        return not (self._undetected or self._unpersisted)

    def best_to_look_at(self) -> tuple[int, NDArray[np.uint8]] | None:
        """The narrowest and newest of the recent frames, by sequence, and what the camera saw."""
        frames = (seen.encoded for seen in self.recent)
        best = min(frames, key=lambda frame: (frame.level, -frame.sequence), default=None)
        return None if best is None else (best.sequence, best.image)

    def notify(self, event: EdgeEvent) -> None:
        """Take one event of the edge."""
        totals = self.totals
        match event:
            case events.LinkChanged():
                self.link = event
            case events.CameraChanged():
                self.camera = event
            case events.LinkTraffic() if not self._is_closed:
                totals.link_sent_bytes += event.sent_bytes
                totals.link_received_bytes += event.received_bytes
            case events.Captured() if not self._is_closed:
                totals.frames_captured += 1
                self._first_frame = min(self._first_frame, event.frame)
            case events.Encoded() if not self._is_closed and event.frame >= self._first_frame:
                if len(self._undetected) == OPEN_FRAMES:
                    self._forget(next(iter(self._undetected)))
                self._undetected[event.sequence] = event
                self._unpersisted.add(event.sequence)
            case events.Sent(resent=False) if event.sequence in self._undetected:
                self._count_sent(self._undetected[event.sequence])
            case events.Acked() if event.stage is not events.Stage.RECEIVED:
                totals.frames_persisted += event.sequence in self._unpersisted
                self._unpersisted.discard(event.sequence)
            case events.Detected() if event.sequence in self._undetected:
                self._count_detected(SeenFrame(self._undetected.pop(event.sequence), event))
            case events.Lost():
                totals.frames_lost += self._forget(event.sequence)
            case events.Nacked(retryable=False):
                totals.frames_nacked += self._forget(event.sequence)

    def _count_sent(self, frame: events.Encoded) -> None:
        totals, point = self.totals, (frame.level, frame.quality)
        totals.frames_sent += 1
        totals.sent_bytes += frame.bitstream_bytes
        totals.sent_pixels += math.prod(frame.image.shape[:2])
        totals.switches += self._last_point not in (None, point)
        self._last_point = point

    def _count_detected(self, seen: SeenFrame) -> None:
        totals, latency = self.totals, seen.detected.latency_seconds
        self.recent.append(seen)
        totals.frames_detected += 1
        totals.labels.update(seen.labels)
        totals.latencies_seconds.append(latency)
        totals.frames_late += latency > self._deadline

    def _forget(self, sequence: int) -> bool:
        """Await nothing more of a frame; whether anything was awaited."""
        was_awaited = sequence in self._undetected or sequence in self._unpersisted
        self._undetected.pop(sequence, None)
        self._unpersisted.discard(sequence)
        return was_awaited
