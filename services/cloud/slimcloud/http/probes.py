"""`/livez`, `/readyz` and `/metrics`: on a port of their own for every role, and in the review API.

They need no token, and hold booleans and counters only.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict

from slimops.metrics import Metrics

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 5.0
# Anyone may ask; a probe costs a decode, so its answer serves everyone for a while.
PROBE_KEPT_SECONDS = 2.0


class Readiness:
    """Whether this process can do its work: runs its checks, one at a time, and not too often.

    Attributes:
        checks: raise what keeps the process from working.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.checks: list[Callable[[], Awaitable[object]]] = []
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._ok = False

    async def ok(self) -> bool:
        """Whether all checks pass, now or at most `PROBE_KEPT_SECONDS` ago."""
        async with self._lock:
            if self._clock() - self._checked_at >= PROBE_KEPT_SECONDS:
                self._ok = await self._run()
                self._checked_at = self._clock()
            return self._ok

    async def _run(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                for check in self.checks:
                    await check()
        except Exception as exc:  # one that fails in any way says "not ready"; why is for the log
            logger.warning("readiness probe failed: %r", exc)
            return False
        return True


class HealthView(BaseModel):
    """A probe's answer."""

    model_config = ConfigDict(frozen=True)

    ok: bool


def probe_router(readiness: Readiness, process_metrics: Metrics) -> APIRouter:
    """The three routes."""
    router = APIRouter(tags=["health"])

    @router.get("/livez")
    async def livez() -> HealthView:
        """The process answers."""
        return HealthView(ok=True)

    @router.get("/readyz", responses={503: {"model": HealthView, "description": "Not ready"}})
    async def readyz(response: Response) -> HealthView:
        """Whether the store answers and a picture is really decoded; status 503 when not."""
        ok = await readiness.ok()
        response.status_code = 200 if ok else 503
        return HealthView(ok=ok)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Every metric of this process in Prometheus' text format."""
        return Response(process_metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
