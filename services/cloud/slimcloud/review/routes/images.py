"""`/frames/{id}/image`: the picture of a frame, decoded because somebody asks; and its `/preview`.

Whether a cache may keep it for good depends on the path:

    .../image                an enhancement may change it: kept, but asked for each time (304)
    .../image?version=...    `image_url` of a frame: these very containers, which never change
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from redis.exceptions import RedisError

from slimcloud.chain import CodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.review.errors import ApiError, problems
from slimcloud.review.pictures.reconstruct import Origin, image_version
from slimcloud.review.pictures.render import ImageFormat, Rendering, choose_format
from slimcloud.review.resource import API_PREFIX, ApiContext, Caller, Context, Frame, QueryModel
from slimcloud.store.reviews import ReviewKind

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_EDGE_RANGE = (16, 16384)  # pixels
_FOR_GOOD = "max-age=31536000, immutable"
_CLIENT_GONE = 499  # as servers log it; nobody reads the answer
_FORMATS = [image_format.value for image_format in ImageFormat]
_IMAGE_CONTENT = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _FORMATS
}

router = APIRouter(prefix=f"{API_PREFIX}/frames", tags=["frames"])


class PreviewQuery(QueryModel):
    """Which picture."""

    version: str | None = Field(None, max_length=64)
    """as in `image_url` and `preview_url`; lets caches keep it"""


class ImageQuery(PreviewQuery):
    """How to show a picture."""

    max_edge: int | None = Field(None, ge=MAX_EDGE_RANGE[0], le=MAX_EDGE_RANGE[1])
    """shrink so that the longer side is at most this, pixels"""
    overlay: bool = Field(False, description="draw the boxes and labels of the detections")


@router.head("/{frame_id}/image", include_in_schema=False)
@router.get(
    "/{frame_id}/image",
    response_class=Response,
    responses={
        200: {"content": _IMAGE_CONTENT},
        304: {"description": "Not modified"},
        **problems(404, 406, 409, 410, 422, 429, 500, 503),
    },
)
async def get_image(
    request: Request,
    frame: Frame,
    query: Annotated[ImageQuery, Query()],
    context: Context,
    caller: Caller,
    # OpenAPI has a word of its own for what Accept chooses from: the response's content.
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The picture as PNG, WebP, JPEG or AVIF, from the base and the enhancement if there is one."""
    stored = await _stored(context, frame, query.version)
    image_format = choose_format(accept)
    if image_format is None:
        detail = f"cannot answer with {accept or '':.120}; offered: {', '.join(_FORMATS)}"
        raise ApiError(HTTPStatus.NOT_ACCEPTABLE, "not-acceptable", detail)
    rendering = Rendering(image_format, query.max_edge)
    if query.overlay:
        result = await context.store.get_detections(frame)
        rendering = replace(rendering, overlay=result.detections if result else ())
    lifetime = _FOR_GOOD if stored.is_named and not query.overlay else "no-cache"
    headers = {
        "ETag": rendering.etag(stored.version),
        "Cache-Control": f"private, {lifetime}",
        "Vary": "Accept",
    }
    if _matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    coded = await _coded(context, frame, stored)
    # A picture that nobody waits for leaves the line of the decoder.
    rendered = await while_connected(request, context.renderer.render(coded, rendering))
    if rendered is None:
        return Response(status_code=_CLIENT_GONE)
    if request.method == "GET":  # nobody sees the picture of a HEAD
        await record_look(context, frame, caller, rendered.origin.level)
    headers |= _facts(rendered.origin)
    return Response(rendered.data, media_type=image_format.value, headers=headers)


PREVIEW_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not modified"},
    **problems(404, 409, 410, 422, 429, 503),
}


@router.get("/{frame_id}/preview", response_class=Response, responses=PREVIEW_ANSWERS)
async def get_preview(
    request: Request,
    frame: Frame,
    query: Annotated[PreviewQuery, Query()],
    context: Context,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A quarter of the picture's width and height, as JPEG, from the linear part of the codec.

    No network runs for it, and nobody is said to have looked.
    """
    stored = await _stored(context, frame, query.version)
    coded = await _coded(context, frame, stored)
    lifetime = _FOR_GOOD if stored.is_named else "no-cache"
    return await answer_preview(request, context, coded, lifetime, if_none_match)


async def answer_preview(
    request: Request,
    context: ApiContext,
    coded: CodedFrame,
    lifetime: str,
    if_none_match: str | None,
) -> Response:
    """The preview of a frame, or that it is as the client knows it.

    Args:
        lifetime: how long caches may keep it, as in Cache-Control.
    """
    if context.previews is None:
        detail = "the codec has no previews; `slimwire train preview` gives it some"
        raise ApiError(HTTPStatus.NOT_FOUND, "no-previews", detail)
    headers = {
        "ETag": f'"{_version(context, coded)}-preview"',
        "Cache-Control": f"private, {lifetime}",
    }
    if _matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    data = await while_connected(request, context.previews.jpeg(coded))
    if data is None:
        return Response(status_code=_CLIENT_GONE)
    headers["X-Content-Type-Options"] = "nosniff"
    return Response(data, media_type="image/jpeg", headers=headers)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A frame's own containers, the name of what they give, and whether that was asked for."""

    base: bytes
    enhancement: bytes | None
    version: str
    is_named: bool


async def _stored(context: ApiContext, frame: FrameId, version: str | None) -> _Stored:
    base = await context.store.get_container(frame)
    enhancement = await context.store.get_enhancement(frame)
    current = _version(context, CodedFrame(base, enhancement, frame))
    return _Stored(base, enhancement, current, version == current)


def _version(context: ApiContext, coded: CodedFrame) -> str:
    assert coded.frame_id is not None  # every frame that is asked for has a name
    sizes = len(coded.base), len(coded.enhancement or b"")
    return image_version(coded.frame_id, *sizes, context.renderer.reconstructor.decoder_id)


async def _coded(context: ApiContext, frame: FrameId, stored: _Stored) -> CodedFrame:
    (chain,) = await context.store.load_chains([frame])
    return CodedFrame(stored.base, stored.enhancement, frame, chain)


def _facts(origin: Origin) -> dict[str, str]:
    return {
        "Slimwire-Level": str(origin.level),
        "Slimwire-Quality": f"{origin.quality:g}",
        "Slimwire-Enhanced": "?1" if origin.is_enhanced else "?0",  # RFC 9651, a Boolean
        "Slimwire-Bitstream-Bytes": str(origin.bitstream_bytes),
        "Server-Timing": f"decode;dur={origin.decode_seconds * 1000:.1f}",  # milliseconds
        "X-Content-Type-Options": "nosniff",
    }


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Weak comparison, as If-None-Match has it (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or etag in candidates


async def load_coded(context: ApiContext, frame: FrameId) -> CodedFrame:
    """A frame's containers and what they need; raises as `Store.get_frame`."""
    return await _coded(context, frame, await _stored(context, frame, None))


async def record_look(context: ApiContext, frame: FrameId, caller: str, level: int) -> None:
    """Note that a picture was shown."""
    try:
        await context.store.reviews.add(frame, caller, ReviewKind.LOOK, level=level)
    except RedisError as exc:  # a full store must not blind the people who could make room in it
        logger.warning("look at %s by %s not recorded: %s", frame, caller, exc)


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` gives; it is cancelled when the client goes away, which the server leaves to us:
    None, for nobody is there to be answered.

    For requests without a body: what is read here is lost to everybody else.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
