"""`/events`: what happened, as people review it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from slimcloud.review.resource import API_PREFIX

router = APIRouter(prefix=f"{API_PREFIX}/events", tags=["events"])


@router.get("", include_in_schema=False)
async def redirect_to_feed(request: Request) -> Any:
    """Clients that knew the feed under this name."""
    return RedirectResponse(f"events/stream?{request.url.query}")
