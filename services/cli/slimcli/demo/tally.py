"""The edge's events, counted: what the screen shows and what the summary totals.

Memory is bounded, however long the demo runs: totals are counters, rows and pictures are of the
newest frames only, and a latency takes eight bytes.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slimedge.event import (
    Acked,
    CameraChanged,
    CameraState,
    Captured,
    Detected,
    EdgeEvent,
    Encoded,
    LinkChanged,
    LinkState,
    Lost,
    Nacked,
    Sent,
    Stage,
)

OPEN_ROWS = 1000  # frames that may wait for their events
RECENT_FRAMES = 200  # latencies on the screen are of these; the summary's are of all
KEPT_PICTURES = 64  # camera frames kept to compare with a picture on demand


@dataclass(slots=True)
class FrameRow:
    """One encoded frame, filled in as its events arrive. Durations in seconds."""

    sequence: int
    level: int
    quality: float
    image_hw: tuple[int, int]
    bitstream_bytes: int
    wait_seconds: float  # capture until the encoder took it
    encode_seconds: float
    is_sent: bool = False
    is_persisted: bool = False
    is_given_up: bool = False  # lost, or refused for good
    latency_seconds: float | None = None  # capture to detection
    cloud_queue_seconds: float | None = None
    cloud_compute_seconds: float | None = None
    labels: Counter[str] = field(default_factory=Counter)

    @property
    def is_settled(self) -> bool:
        """Whether no more events are awaited."""
        if self.is_given_up:
            return True
        return self.is_persisted and self.latency_seconds is not None

    @property
    def cloud_seconds(self) -> float | None:
        """Waiting for the detector, and detecting."""
        if self.cloud_queue_seconds is None or self.cloud_compute_seconds is None:
            return None
        return self.cloud_queue_seconds + self.cloud_compute_seconds

    @property
    def way_seconds(self) -> float | None:
        """What is left of the latency: waiting for the link, both ways over it, and storing."""
        if self.latency_seconds is None or self.cloud_seconds is None:
            return None
        known = self.wait_seconds + self.encode_seconds + self.cloud_seconds
        return max(0.0, self.latency_seconds - known)

    @property
    def machine_seconds(self) -> float | None:
        """From the encoder to the boxes, without the link: work, and waiting for its turn."""
        return None if self.cloud_seconds is None else self.encode_seconds + self.cloud_seconds

    @property
    def work_seconds(self) -> float | None:
        """Of that the work alone."""
        if self.cloud_compute_seconds is None:
            return None
        return self.encode_seconds + self.cloud_compute_seconds


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
        deadline_seconds: Capture to detection; None: nothing is late.
    """

    def __init__(self, deadline_seconds: float | None = None) -> None:
        self.totals = Totals()
        self._deadline = math.inf if deadline_seconds is None else deadline_seconds
        self._last_point: tuple[int, float] | None = None  # of the frame that was sent last
        self.link = LinkState.CONNECTING
        self.link_detail = ""
        self.camera = CameraState.OPENING
        self.camera_detail = ""
        self.recent: deque[FrameRow] = deque(maxlen=RECENT_FRAMES)  # detected, newest last
        self._rows: OrderedDict[int, FrameRow] = OrderedDict()
        self._pictures: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._first_frame = math.inf  # of those that were captured since the start
        self._closed = False

    def close(self) -> None:
        """Count no new frames; those under way are still followed."""
        self._closed = True

    def restart(self) -> None:
        """Begin to count anew: what was under way until now is forgotten."""
        self.totals = Totals()
        self._last_point = None
        self.recent.clear()
        self._rows.clear()
        self._pictures.clear()
        self._first_frame = math.inf

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come for the frames that were counted."""
        return all(row.is_settled for row in self._rows.values())

    def best_to_look_at(self) -> tuple[int, NDArray[np.uint8]] | None:
        """The narrowest and newest detected frame whose picture is still here, and that picture."""
        kept = [row for row in self.recent if row.sequence in self._pictures]
        best = min(kept, key=lambda row: (row.level, -row.sequence), default=None)
        return None if best is None else (best.sequence, self._pictures[best.sequence])

    def notify(self, event: EdgeEvent) -> None:
        """Take one event of the edge."""
        totals = self.totals
        match event:
            case LinkChanged():
                self.link, self.link_detail = event.state, event.detail
            case CameraChanged():
                self.camera, self.camera_detail = event.state, event.detail
            case Sent() | Acked() | Detected() | Lost() | Nacked():
                row = self._rows.get(event.sequence)
                if row is not None:
                    self._follow(row, event)
            case _ if self._closed:
                pass
            case Captured():
                totals.frames_captured += 1
                self._first_frame = min(self._first_frame, event.frame)
            case Encoded() if event.frame >= self._first_frame:
                self._start(event)
            case _:
                pass

    def _start(self, event: Encoded) -> None:
        h, w = event.image.shape[:2]
        self._rows[event.sequence] = FrameRow(
            sequence=event.sequence,
            level=event.level,
            quality=event.quality,
            image_hw=(h, w),
            bitstream_bytes=event.bitstream_bytes,
            wait_seconds=event.wait_seconds,
            encode_seconds=event.encode_seconds,
        )
        self._pictures[event.sequence] = event.image
        while len(self._rows) > OPEN_ROWS:
            self._rows.popitem(last=False)
        while len(self._pictures) > KEPT_PICTURES:
            self._pictures.popitem(last=False)

    def _follow(self, row: FrameRow, event: Sent | Acked | Detected | Lost | Nacked) -> None:
        totals = self.totals
        match event:
            case Sent() if not row.is_sent:
                row.is_sent = True
                totals.frames_sent += 1
                totals.sent_bytes += row.bitstream_bytes
                totals.sent_pixels += math.prod(row.image_hw)
                point = (row.level, row.quality)
                totals.switches += self._last_point not in (None, point)
                self._last_point = point
            case Acked() if event.stage is not Stage.RECEIVED and not row.is_persisted:
                row.is_persisted = True
                totals.frames_persisted += 1
            case Detected() if row.latency_seconds is None:
                row.latency_seconds = event.latency_seconds
                row.cloud_queue_seconds = event.cloud_queue_seconds
                row.cloud_compute_seconds = event.cloud_compute_seconds
                row.labels = Counter(found.label for found in event.detections)
                self.recent.append(row)
                totals.frames_detected += 1
                totals.labels.update(row.labels)
                totals.latencies_seconds.append(event.latency_seconds)
                totals.frames_late += event.latency_seconds > self._deadline
            case Lost():
                row.is_given_up = True
                totals.frames_lost += 1
            case Nacked() if not event.retryable:
                row.is_given_up = True
                totals.frames_nacked += 1
            case _:
                pass  # the same news again, after a reconnect
