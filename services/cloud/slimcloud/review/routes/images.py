"""`/frames/{id}/image`: the picture of a frame, decoded because somebody asks.

Whether a cache may keep it for good depends on the path:

    .../image                an enhancement may change it: kept, but asked for each time (304)
    .../image?version=...    `image_url` of a frame: these very containers, which never change
"""

import logging
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError

from slimcloud.frame_id import FrameId
from slimcloud.review.context import ApiContext, Caller, Context, problems
from slimcloud.review.errors import NotAcceptableError
from slimcloud.review.pictures.disconnect import ClientGoneError, while_connected
from slimcloud.review.pictures.negotiate import ImageFormat, choose_format
from slimcloud.review.pictures.render import RenderedImage, Rendering
from slimcloud.review.views import API_PREFIX, image_version
from slimcodec.detection import Detection

logger = logging.getLogger(__name__)

MAX_EDGE_RANGE = (16, 16384)  # pixels
_CLIENT_GONE = 499  # as servers log it; nobody reads the answer
_FORMATS = [image_format.value for image_format in ImageFormat]
_IMAGE_CONTENT = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _FORMATS
}

router = APIRouter(prefix=f"{API_PREFIX}/frames", tags=["frames"])


class ImageQuery(BaseModel):
    """How to show a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_edge: int | None = Field(
        None, ge=MAX_EDGE_RANGE[0], le=MAX_EDGE_RANGE[1],
        description="shrink so that the longer side is at most this, pixels",
    )  # fmt: skip
    overlay: bool = Field(False, description="draw the boxes and labels of the detections")
    version: str | None = Field(
        None, max_length=64, description="as in `image_url`; lets caches keep it"
    )


@router.head("/{frame_id}/image", include_in_schema=False)
@router.get(
    "/{frame_id}/image",
    response_class=Response,
    responses={
        200: {"content": _IMAGE_CONTENT},
        304: {"description": "Not modified"},
        **problems(404, 406, 410, 422, 429, 500, 503),
    },
)
async def get_image(
    request: Request,
    frame_id: str,
    query: Annotated[ImageQuery, Query()],
    context: Context,
    caller: Caller,
    # OpenAPI has a word of its own for what Accept chooses from: the response's content.
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The picture as PNG, WebP, JPEG or AVIF, from the base and the enhancement if there is one."""
    name = FrameId.parse(frame_id)
    base = await context.store.get_container(name)
    enhancement = await context.store.get_enhancement(name)
    image_format = choose_format(accept)
    if image_format is None:
        raise NotAcceptableError(accept or "", _FORMATS)
    overlay = await _overlay(context, name) if query.overlay else None
    rendering = Rendering(image_format, query.max_edge, overlay)
    reconstructor = context.renderer.reconstructor
    version = image_version(name, len(base), len(enhancement or b""), reconstructor.decoder_id)
    never_changes = query.version == version and not query.overlay
    headers = {
        "ETag": rendering.etag(reconstructor.version(base, enhancement)),
        "Cache-Control": "private, max-age=31536000, immutable"
        if never_changes
        else "private, no-cache",
        "Vary": "Accept",
    }
    if _matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:  # a picture that nobody waits for leaves the line of the decoder
        rendered = await while_connected(
            request, context.renderer.render(base, enhancement, rendering)
        )
    except ClientGoneError:
        return Response(status_code=_CLIENT_GONE)
    if request.method == "GET":  # nobody sees the picture of a HEAD
        await _record_look(context, name, caller, rendered)
    return Response(
        rendered.data, media_type=image_format.value, headers=headers | _facts(rendered)
    )


async def _overlay(context: ApiContext, name: FrameId) -> tuple[Detection, ...]:
    result = await context.store.get_detections(name)
    return result.detections if result else ()


def _facts(rendered: RenderedImage) -> dict[str, str]:
    return {
        "Slimwire-Level": str(rendered.level),
        "Slimwire-Quality": f"{rendered.quality:g}",
        "Slimwire-Enhanced": "?1" if rendered.is_enhanced else "?0",  # RFC 9651, a Boolean
        "Slimwire-Bitstream-Bytes": str(rendered.bitstream_bytes),
        "Server-Timing": f"decode;dur={rendered.decode_seconds * 1000:.1f}",  # milliseconds
        "X-Content-Type-Options": "nosniff",
    }


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Weak comparison, as If-None-Match has it (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or etag in candidates


async def _record_look(
    context: ApiContext, name: FrameId, caller: str, rendered: RenderedImage
) -> None:
    try:
        await context.store.reviews.look(name, caller, rendered.level)
    except RedisError as exc:  # a full store must not blind the people who could make room in it
        logger.warning("look at %s by %s not recorded: %s", name, caller, exc)
