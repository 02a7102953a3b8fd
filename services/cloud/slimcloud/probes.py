"""`/livez`, `/readyz` and `/metrics` on a port of their own, for every role.

The review role has them beside its API; ingest and detect have them here only. They are plaintext
and hold booleans and counters.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from slimcloud.review import Readiness
from slimops.metrics import Metrics


def build_probes(readiness: Readiness, metrics: Metrics) -> Starlette:
    """An application that says how this process is."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        ok = await readiness.ok()
        return JSONResponse({"ok": ok}, status_code=200 if ok else 503)

    async def exposition(_: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", exposition),
        ]
    )
