"""Wires the review API: the resources of `routes`, sessions, probes, the page, and their errors."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from slimcloud.http.probes import Readiness, probe_router
from slimcloud.review.auth import authorise
from slimcloud.review.auth import router as session_router
from slimcloud.review.body_limit import BodyLimit
from slimcloud.review.errors import Problem, install_error_handlers, problems
from slimcloud.review.feed_tail import FeedTail
from slimcloud.review.metrics import RequestTimer, ReviewMetrics
from slimcloud.review.origin import refuse_foreign_pages
from slimcloud.review.pictures.preview import PreviewRenderer
from slimcloud.review.pictures.reconstruct import Reconstructor
from slimcloud.review.pictures.render import PictureRenderer
from slimcloud.review.resource import API_PREFIX, ApiContext, keep_nothing, note_root_path
from slimcloud.review.routes import (
    camera_tokens,
    cameras,
    dead_letters,
    events,
    export,
    feed,
    frames,
    images,
    notifications,
    overview,
    refetches,
    reviews,
    rules,
)
from slimcloud.review.routes.export import MAX_EXPORTS
from slimcloud.review.routes.page import build_page_router
from slimcloud.sign_on import SignOn
from slimcloud.store.frames import Store
from slimcloud.tokens import TokenTable

_MIN_COMPRESSED_BYTES = 1000
_COMPRESSION_LEVEL = 4  # of 1 to 9; a list of frames gets eight times smaller
# event streams are: one event is much like the one before, and each is sent on as it comes
_NOT_COMPRESSED = tuple(set(DEFAULT_EXCLUDED_CONTENT_TYPES) - {"text/event-stream"})


def build_api(
    store: Store,
    reconstructor: Reconstructor,
    previews: PreviewRenderer | None,
    *,
    names: Sequence[str],
    num_levels: int,
    sharp_quality: float,
    readiness: Readiness,
    metrics: ReviewMetrics,
    look_at_tokens: Callable[[], Awaitable[None]],
    tokens: TokenTable | None = None,
    sign_on: SignOn | None = None,
    allowed_hosts: Collection[str] = (),
) -> FastAPI:
    """The review API over a store and a decoder. It owns neither: who made them closes them.

    Args:
        previews: of a codec that has them.
        names: label of each class id of the detector.
        num_levels: slim levels of the codec, 1 or more.
        sharp_quality: that a frame is asked for at; 0: its own.
        readiness: whether this process can do its work: store answers, picture decodes.
        metrics: what counts; `/metrics` shows the whole process's.
        look_at_tokens: called when an admin has changed one; calls `take_tokens`.
        tokens: of people; without, the API is open.
        sign_on: names people that no token names.
        allowed_hosts: names by which an open API may be asked, besides localhost and addresses.
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
        renderer=PictureRenderer(
            reconstructor, lambda result: metrics.cache.labels("response", result).inc()
        ),
        previews=previews,
        feed_tail=FeedTail(store.feed),
        names=tuple(names),
        num_levels=num_levels,
        sharp_quality=sharp_quality,
        exports=asyncio.Semaphore(MAX_EXPORTS),
        look_at_tokens=look_at_tokens,
    )
    app.state.tokens = tokens
    app.state.sign_on = sign_on
    app.state.allowed_hosts = frozenset(allowed_hosts)
    install_error_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=_MIN_COMPRESSED_BYTES,
        compresslevel=_COMPRESSION_LEVEL,
        exclude_content_types=_NOT_COMPRESSED,
    )
    app.add_middleware(RequestTimer, metrics=metrics)
    api = APIRouter(
        dependencies=[Depends(note_root_path), Depends(refuse_foreign_pages)],
        responses=problems(403),
    )
    allowed = Depends(authorise)
    for module in (images, feed, export):  # before /events/{event_id}, which is any word
        api.include_router(module.router, dependencies=[allowed], responses=problems(401))
    for module in (
        frames, events, refetches, dead_letters, notifications, reviews, cameras, camera_tokens,
        rules, overview,
    ):  # fmt: skip
        api.include_router(
            module.router, dependencies=[allowed, Depends(keep_nothing)], responses=problems(401)
        )
    api.include_router(session_router)
    app.include_router(api)
    app.include_router(probe_router(readiness, metrics.process))
    app.include_router(build_page_router())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def take_tokens(app: FastAPI, tokens: TokenTable) -> None:
    """Go by another table from now on, unless the API is open: event streams end, and who is still
    known comes back.
    """
    if app.state.tokens is not None:
        app.state.tokens = tokens
        context: ApiContext = app.state.context
        context.feed_tail.interrupt()


def end_event_streams(app: FastAPI) -> None:
    """End the open event streams.

    A server that stops waits for its open responses, and these never end by themselves.
    """
    context: ApiContext = app.state.context
    context.feed_tail.stop()


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
