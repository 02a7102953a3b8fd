"""`/cameras/{camera}/export` and the same of an event: the pictures of some time as one file, made
while it is sent.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from slimcloud.errors import FrameGoneError, FrameNotFoundError
from slimcloud.review.errors import ApiError, problems
from slimcloud.review.export import ExportFile, ExportFrame, FilmExport, ZipExport, export
from slimcloud.review.pictures.render import ImageFormat
from slimcloud.review.resource import (
    API_PREFIX,
    ApiContext,
    Caller,
    CameraId,
    Context,
    Moment,
    QueryModel,
)
from slimcloud.review.routes.events import event_document
from slimcloud.review.routes.frames import view_frame
from slimcloud.review.routes.images import load_coded, record_look
from slimcloud.store.listing import FrameFilter
from slimcloud.store.records import StoredFrame
from slimcloud.wall_clock import time_of, unix_us, unix_us_of

logger = logging.getLogger(__name__)

MAX_FRAMES = 2000
# of all pictures together: a ZIP has a tenth of it in bytes as JPEG, and three times as PNG
MAX_PIXELS = 2**30
MAX_EXPORTS = 2  # at the same time

_MEDIA_TYPES = {"zip": "application/zip", "mp4": "video/mp4"}

router = APIRouter(prefix=API_PREFIX, tags=["export"])


class ExportQuery(QueryModel):
    """What file to make."""

    format: Literal["zip", "mp4"] = "zip"
    """pictures with `frames.json`, what is known of each and its boxes; or a film"""
    pictures: Literal["jpeg", "png"] = Field("jpeg", description="of a ZIP; png loses nothing")
    overlay: bool = Field(False, description="draw the boxes and labels of the detections")


class SpanExportQuery(ExportQuery):
    """What file to make of which time."""

    since: Moment
    """captured at this time or later (RFC 3339, with its offset)"""
    until: Moment
    """captured before this time (RFC 3339, with its offset)"""


_EXPORT_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in _MEDIA_TYPES.values()
        }
    },
    **problems(404, 413, 422, 429, 501, 503),
}


@router.get("/cameras/{camera}/export", response_class=StreamingResponse, responses=_EXPORT_ANSWERS)
async def export_span(
    camera: CameraId, query: Annotated[SpanExportQuery, Query()], context: Context, caller: Caller
) -> StreamingResponse:
    """The pictures that a camera took in some time, oldest first: at most 2,000 and 2**30 pixels.

    It is made while it is sent, after pictures that people look at, and ends with its client. Who
    asks is recorded as having looked.
    """
    facts = {"camera": camera, "since": query.since.isoformat(), "until": query.until.isoformat()}
    since_us, until_us = unix_us_of(query.since), unix_us_of(query.until)
    return await _answer(context, caller, query, camera, since_us, until_us, facts)


@router.get(
    "/events/{event_id}/export", response_class=StreamingResponse, responses=_EXPORT_ANSWERS
)
async def export_event(
    event_id: str, query: Annotated[ExportQuery, Query()], context: Context, caller: Caller
) -> StreamingResponse:
    """The pictures of an event that are stored still, as `/cameras/{camera}/export` gives them."""
    event = await context.store.event_index.get(event_id)
    until_us = (event.end_us or unix_us()) + 1
    facts = {"event": event_document(event)}
    return await _answer(context, caller, query, event.camera, event.begin_us, until_us, facts)


async def _answer(
    context: ApiContext,
    caller: str,
    query: ExportQuery,
    camera: str,
    since_us: int,
    until_us: int,
    facts: Mapping[str, Any],
) -> StreamingResponse:
    """The frames of a camera that were captured from `since_us` to before `until_us`, as a file.

    Args:
        facts: of the whole, for `frames.json`.

    Raises:
        ApiError: there are none, or too many; too many exports are being made.
    """
    if context.exports.locked():
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "export-busy",
            f"{MAX_EXPORTS} exports are being made; try again when one has ended",
        )
    records = await _records(context, camera, since_us, until_us)
    file: ExportFile
    try:
        if query.format == "zip":
            file = ZipExport(ImageFormat[query.pictures.upper()], facts)
        else:
            file = FilmExport()
    except ModuleNotFoundError:
        detail = "this cloud makes no films: PyAV is not installed; pip install 'slimwire[film]'"
        raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "no-films", detail) from None
    logger.info(
        "%s exports %d frames as %s", caller, len(records), query.format,
        extra={"camera_id": camera},
    )  # fmt: skip

    async def pieces() -> AsyncIterator[bytes]:
        async with context.exports:
            frames = _frames(context, caller, records, overlay=query.overlay)
            async for piece in export(frames, file, context.renderer.reconstructor):
                yield piece

    name = f"{camera}-{time_of(records[0].captured_us):%Y%m%dT%H%M%SZ}.{query.format}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces(), media_type=_MEDIA_TYPES[query.format], headers=headers)


async def _records(
    context: ApiContext, camera: str, since_us: int, until_us: int
) -> list[StoredFrame]:
    index = context.store.index
    (count,) = await index.count(since_us, until_us, 1, camera)
    wanted = FrameFilter(camera_id=camera, from_unix_us=since_us, to_unix_us=until_us)
    page = await index.page(wanted, limit=MAX_FRAMES)
    records = list(reversed(page.records))
    if not records:
        detail = f"{camera} has no frames of that time; look at the timeline"
        raise ApiError(HTTPStatus.NOT_FOUND, "no-frames", detail)
    pixels = sum(record.image_height * record.image_width for record in records)
    if count > MAX_FRAMES or pixels > MAX_PIXELS:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "export-too-large",
            f"{count} frames of that time; at most {MAX_FRAMES}, and {MAX_PIXELS} pixels in all, "
            "make one file: ask for a shorter time",
        )
    return records


async def _frames(
    context: ApiContext, caller: str, records: list[StoredFrame], *, overlay: bool
) -> AsyncIterator[ExportFrame]:
    """Each when the one before it is in the file."""
    for number, record in enumerate(records):
        frame_id = record.frame_id
        # sorts as the frames were captured, and is fit for every file system
        name = f"{time_of(record.captured_us):%Y%m%dT%H%M%S.%f}Z-{number:04d}"
        try:
            coded = await load_coded(context, frame_id)
            view = await view_frame(context, frame_id, with_detections=True)
            result = await context.store.get_detections(frame_id) if overlay else None
        except (FrameNotFoundError, FrameGoneError):  # retention was faster
            yield ExportFrame(name, record.captured_us, None, {"id": str(frame_id)})
            continue
        facts = view.model_dump(mode="json", by_alias=True)
        boxes = result.detections if result else ()
        yield ExportFrame(name, record.captured_us, coded, facts, boxes)
        await record_look(context, frame_id, caller, record.level)
