"""Probes and metrics: unauthenticated, booleans and counters only."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from slimcloud.review.context import Context
from slimcloud.review.schemas import HealthView

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> HealthView:
    """The process answers."""
    return HealthView(ok=True)


@router.get("/readyz", responses={503: {"model": HealthView, "description": "Not ready"}})
async def readyz(context: Context, response: Response) -> HealthView:
    """Whether the store answers and a picture is really decoded; status 503 when not."""
    ok = await context.readiness.ok()
    response.status_code = 200 if ok else 503
    return HealthView(ok=ok)


@router.get("/metrics", response_class=Response)
async def metrics(context: Context) -> Response:
    """Every metric of this process in Prometheus' text format."""
    return Response(context.metrics.process.exposition(), media_type=CONTENT_TYPE_LATEST)
