"""The store's clock: what ages and deadlines go by in every process of the cloud.

It goes on as Redis' wall clock does, and stands where that is set, or where nobody has asked for a
minute. So a step of a clock ages nothing, nor does the time in which no cloud runs; and processes
on machines whose clocks differ agree. It began as the wall clock; what people are shown is the wall
clock itself (`slimcloud.wall_clock`).
"""

import time

from redis.asyncio import Redis

from slimcloud.store.scripts import Script
from slimcloud.wall_clock import unix_us

READ_SECONDS = 5.0  # between two readings of a process
_MAX_PAUSE_US = 60_000_000  # between two readings, of all processes; longer ones do not count

_READ = Script(__file__, "read_clock")


class StoreClock:
    """Microseconds, as one process knows them: read every `READ_SECONDS`, carried on by its
    monotonic clock between. By the wall clock until it is read.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._offset_us = unix_us() - _mono_us()

    def __call__(self) -> int:
        return _mono_us() + self._offset_us

    async def read(self) -> None:
        """Ask the store."""
        self._offset_us = await _READ(self._client, max_pause_us=_MAX_PAUSE_US) - _mono_us()


def _mono_us() -> int:
    return time.monotonic_ns() // 1000
