"""Stored records -> what the API answers with."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from slimcloud.frame_id import FrameId
from slimcloud.review.schemas import (
    BoxView,
    CameraCondition,
    CameraView,
    DetectionsView,
    EventView,
    FrameView,
    GapView,
    LatencyView,
    RefetchView,
    ReviewView,
)
from slimcloud.store.records import CameraState, DetectionResult, Event, RefetchRequest
from slimcloud.store.reviews import ReviewRecord
from slimcloud.store.stored_frame import StoredFrame
from slimcloud.wall_clock import time_of

API_PREFIX = "/api/v1"
_VERSION_HEX_DIGITS = 16
_SILENT_US = 10_000_000  # a connected camera that sent nothing for this long is silent


def frame_view(
    record: StoredFrame,
    result: DetectionResult | None,
    *,
    num_levels: int,
    decoder_id: str,
    with_detections: bool = False,
) -> FrameView:
    """A frame; `result` is None until it is detected."""
    frame_url = f"{API_PREFIX}/frames/{record.frame_id}"
    version = image_version(
        record.frame_id, record.base_bytes, record.enhancement_bytes, decoder_id
    )
    bytes_total = record.base_bytes + record.enhancement_bytes
    return FrameView(
        **dict(record),
        id=str(record.frame_id),
        url=frame_url,
        image_url=f"{frame_url}/image?version={version}",
        camera=record.frame_id.camera_id,
        epoch=record.frame_id.epoch_hex,
        sequence=record.frame_id.sequence,
        bytes_total=bytes_total,
        bpp=8 * bytes_total / (record.image_height * record.image_width),
        enhanced=record.enhancement_bytes > 0,
        can_enhance=max(record.level, record.enhancement_level) < num_levels - 1,
        detections_count=len(result.detections) if result else None,
        detections=_box_views(result) if with_detections else None,
        latency=_latency_view(record, result),
    )


def image_version(
    frame_id: FrameId, base_bytes: int, enhancement_bytes: int, decoder_id: str
) -> str:
    """The name of a frame's picture as stored now, known without its containers.

    A frame's containers are written once each, so which of them exist says which picture they give.
    """
    parts = f"{frame_id}|{base_bytes}|{enhancement_bytes}|{decoder_id}"
    return hashlib.sha256(parts.encode()).hexdigest()[:_VERSION_HEX_DIGITS]


def detections_view(record: StoredFrame, result: DetectionResult | None) -> DetectionsView:
    """What was seen in a frame; empty while `result` is None."""
    return DetectionsView(
        frame_id=str(record.frame_id),
        state=record.state,
        detections=_box_views(result),
        detector=result.detector if result else None,
        codec=result.codec if result else None,
        min_score=result.min_score if result else None,
        batch_size=result.batch_size if result else None,
        detected_time=time_of(result.detected_time_unix_us) if result else None,
    )


def refetch_view(request: RefetchRequest) -> RefetchView:
    """A refetch, and how far it is."""
    return RefetchView(
        request_id=request.request_id,
        url=f"{API_PREFIX}/refetches/{request.request_id}",
        frame_id=str(request.frame_id),
        frame_url=f"{API_PREFIX}/frames/{request.frame_id}",
        state=request.state,
        detail=request.detail,
        created_time=time_of(request.created_time_unix_us),
        sent_time=_time_or_none(request.sent_time_unix_us),
        ended_time=_time_or_none(request.ended_time_unix_us),
    )


def camera_view(camera: CameraState, gaps: Sequence[GapView], *, now_unix_us: int) -> CameraView:
    """A camera, its newest frame and its gaps."""
    last_heard_us = max(camera.last_received_time_unix_us, camera.connected_time_unix_us)
    is_silent = now_unix_us - last_heard_us > _SILENT_US
    condition = CameraCondition.SILENT if is_silent else CameraCondition.LIVE
    return CameraView(
        id=camera.camera_id,
        state=condition if camera.connected else CameraCondition.OFFLINE,
        lag_seconds=camera.lag_seconds,
        connected=camera.connected,
        model=camera.model_name,
        connected_time=time_of(camera.connected_time_unix_us),
        last_frame_id=str(camera.last_frame_id) if camera.last_frame_id else None,
        last_received_time=_time_or_none(camera.last_received_time_unix_us),
        frames_total=camera.frames_total,
        bytes_total=camera.bytes_total,
        bytes_today=camera.bytes_today,
        gaps=list(gaps),
        level=camera.level,
        quality=camera.quality,
        deadline_seconds=camera.deadline_seconds,
    )


def review_view(record: ReviewRecord) -> ReviewView:
    """What somebody did with a frame."""
    return ReviewView(
        id=record.review_id,
        url=f"{API_PREFIX}/reviews/{record.review_id}",
        time=time_of(record.time_unix_us),
        frame_id=str(record.frame_id),
        frame_url=f"{API_PREFIX}/frames/{record.frame_id}",
        reviewer=record.reviewer,
        kind=record.kind,
        level=record.level,
        mark=record.mark,
        comment=record.comment,
    )


def event_view(event: Event) -> EventView:
    """The data of an event; its kind and id travel beside it."""
    frame_id = str(event.frame_id) if event.frame_id else None
    return EventView(camera=event.camera_id, frame_id=frame_id, detail=event.detail)


def _time_or_none(time_unix_us: int) -> datetime | None:
    return time_of(time_unix_us) if time_unix_us else None  # 0 stands for never


def _box_views(result: DetectionResult | None) -> list[BoxView]:
    return [
        BoxView(
            x_min=detection.box_xyxy[0],
            y_min=detection.box_xyxy[1],
            x_max=detection.box_xyxy[2],
            y_max=detection.box_xyxy[3],
            score=detection.score,
            class_id=detection.class_id,
            label=detection.label,
        )
        for detection in (result.detections if result else ())
    ]


def _latency_view(record: StoredFrame, result: DetectionResult | None) -> LatencyView:
    captured_us = record.capture_time_unix_us
    return LatencyView(
        transport_seconds=(record.received_time_unix_us - captured_us) / 1e6,
        queue_seconds=result.queue_seconds if result else None,
        compute_seconds=result.compute_seconds if result else None,
        total_seconds=(result.detected_time_unix_us - captured_us) / 1e6 if result else None,
    )
