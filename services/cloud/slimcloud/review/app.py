"""Wires the review API.

/api/v1/frames                       which frames there are              frames.py
/api/v1/frames/{id}[/detections]     what is known of one, and seen      frames.py
/api/v1/frames/{id}/image            its picture, decoded on demand      images.py
/api/v1/frames/{id}/refetch          ask the camera for the rest         refetches.py
/api/v1/refetches/{id}               how that went                       refetches.py
/api/v1/frames/{id}/detection-request  have it detected after all        dead_letters.py
/api/v1/dead-letters                 what the detector gave up           dead_letters.py
/api/v1/frames/{id}/reviews          who looked at it, marks, comments   reviews.py
/api/v1/reviews[/{id}]               the same of every frame: the audit  reviews.py
/api/v1/cameras[/{id}]               who sends, and how it fares         cameras.py
/api/v1/cameras/{id}/budget          the bytes that it keeps to          budgets.py
/api/v1/timeline                     how many frames when, and gaps      timeline.py
/api/v1/overview                     what the page needs to begin        overview.py
/api/v1/events                       what happens (SSE)                  events.py
/api/v1/session                      whose token this is; a cookie       auth.py
/livez /readyz /metrics              health                              health.py
/ /ui/{file}                         the page                            page.py
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from slimcloud.review.auth import ApiAccess, authorise
from slimcloud.review.auth import router as session_router
from slimcloud.review.context import ApiContext, problems
from slimcloud.review.errors import install_error_handlers
from slimcloud.review.event_feed import EventFeed
from slimcloud.review.metrics import RequestTimer, ReviewMetrics
from slimcloud.review.pictures.reconstruct import Reconstructor
from slimcloud.review.pictures.render import PictureRenderer
from slimcloud.review.problems import Problem
from slimcloud.review.readiness import Readiness
from slimcloud.review.routes import (
    budgets,
    cameras,
    dead_letters,
    events,
    frames,
    health,
    images,
    overview,
    refetches,
    reviews,
    timeline,
)
from slimcloud.review.routes.page import build_page_router
from slimcloud.review.views import API_PREFIX
from slimcloud.store.frames import Store

DEFAULT_RESPONSE_CACHE_BYTES = 64 * 2**20


def build_api(
    store: Store,
    reconstructor: Reconstructor,
    *,
    names: Sequence[str],
    num_levels: int,
    readiness_probe: Callable[[], Awaitable[bool]],
    metrics: ReviewMetrics,
    access: ApiAccess | None = None,
    response_cache_bytes: int = DEFAULT_RESPONSE_CACHE_BYTES,
) -> FastAPI:
    """The review API over a store and a decoder. It owns neither: who made them closes them.

    Args:
        names: label of each class id of the detector.
        num_levels: slim levels of the codec, 1 or more.
        readiness_probe: true when this process can do its work: store answers, picture decodes.
        metrics: what counts; `/metrics` shows the whole process's.
        access: the tokens of people; without, the API is open.
        response_cache_bytes: budget of kept image responses, bytes.
    """
    app = FastAPI(
        title="Slimwire review",
        version="1",
        summary="Frames, detections, and the picture when a person asks for it.",
        openapi_url=f"{API_PREFIX}/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.context = ApiContext(
        store=store,
        renderer=PictureRenderer(reconstructor, response_cache_bytes, metrics.rendered_result),
        event_feed=EventFeed(store.events),
        readiness=Readiness(readiness_probe),
        metrics=metrics,
        names=tuple(names),
        num_levels=num_levels,
    )
    app.state.access = access or ApiAccess()
    install_error_handlers(app)
    app.add_middleware(RequestTimer, metrics=metrics)
    for module in (
        frames, images, refetches, dead_letters, reviews, cameras, budgets, timeline, overview,
        events,
    ):  # fmt: skip
        app.include_router(
            module.router, dependencies=[Depends(authorise)], responses=problems(401, 403)
        )
    app.include_router(session_router)
    app.include_router(health.router)
    app.include_router(build_page_router())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def end_event_streams(app: FastAPI) -> None:
    """End the open event streams.

    A server that stops waits for its open responses, and these never end by themselves.
    """
    context: ApiContext = app.state.context
    context.event_feed.stop()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with our problem in place of its own validation error."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        schemas = document["components"]["schemas"]
        for schema in ("HTTPValidationError", "ValidationError"):
            schemas.pop(schema, None)
        for path_item in document["paths"].values():
            for operation in path_item.values():
                # FastAPI adds its 422 where a path has a parameter; ours are texts and never fail.
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        app.openapi_schema = document
    return app.openapi_schema
