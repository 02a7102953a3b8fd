"""Whether this process can do its work, asked of a real probe, and not too often."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 5.0
PROBE_KEPT_SECONDS = (
    2.0  # anyone may ask; a probe costs a decode, so its answer serves everyone for a while
)


class Readiness:
    """Runs a probe when asked, one at a time, and keeps its answer for a moment.

    Args:
        probe: true when this process can do its work; may raise.
        clock: monotonic seconds.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._ok = False

    async def ok(self) -> bool:
        """Whether the probe holds, now or at most `PROBE_KEPT_SECONDS` ago."""
        async with self._lock:
            if self._clock() - self._asked_at >= PROBE_KEPT_SECONDS:
                self._ok = await self._run()
                self._asked_at = self._clock()
            return self._ok

    async def _run(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                return await self._probe()
        except (
            Exception
        ) as exc:  # a probe that fails in any way says "not ready"; why is for the log
            logger.warning("readiness probe failed: %r", exc)
            return False
