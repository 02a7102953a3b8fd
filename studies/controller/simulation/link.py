"""The link and the cloud behind it: two servers in a row, first come, first served.

sent ─► link: bytes at the trace's rate ─► half a round trip ─► cloud: one frame at a time
     ◄──────── half a round trip ◄──── RECEIVED when it is there, DETECTED when it is worked on
"""

from __future__ import annotations

from typing import NamedTuple

from studies.controller.simulation.world import World


class Work(NamedTuple):
    """What became of a frame in the cloud."""

    done_at: float  # seconds
    expired: bool  # it was too old when its turn came, so it was thrown away


class Link:
    """Carries containers one after another, at the rate that was recorded."""

    def __init__(self, world: World) -> None:
        self._trace = world.trace
        self._offset = world.trace_offset_seconds
        self._overhead_bytes = world.overhead_bytes
        self._free_at = 0.0  # seconds

    def carry(self, now: float, size_bytes: int) -> float:
        """Take a container now; when its last byte leaves the link, infinity for never."""
        start = max(now, self._free_at) + self._offset
        end = self._trace.finish(start, size_bytes + self._overhead_bytes)
        self._free_at = max(now, end - self._offset)
        return self._free_at


class Cloud:
    """Works on one frame after another, in the order of their coming."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._free_at = 0.0  # seconds

    def work(self, frame: int, received_at: float) -> Work:
        """Take a frame when it is there."""
        start = max(received_at, self._free_at)
        if start - self._world.captured_at(frame) > self._world.expire_seconds:
            return Work(start, expired=True)
        self._free_at = start + self._world.service_time(frame)
        return Work(self._free_at, expired=False)
