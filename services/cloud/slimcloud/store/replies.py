"""Redis' replies as plain types: the client's own are unions over protocols and decodings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from redis.exceptions import OutOfMemoryError, ResponseError

from slimcloud.frame_id import FrameId
from slimcloud.store.records import (
    DetectionResult,
    FrameRecord,
    FrameState,
    LabelledDetection,
    ReviewMark,
    Triage,
)

__all__ = [
    "FRAME_FIELDS",
    "StreamEntry",
    "detections_from_json",
    "detections_to_json",
    "fields_of",
    "first_stream_entries",
    "frame_record",
    "is_out_of_memory",
    "scored_members",
    "stream_entries",
    "text",
]

StreamEntry = tuple[str, dict[str, str]]

FRAME_FIELDS = (
    "level",
    "quality",
    "image_height",
    "image_width",
    "capture_time_unix_us",
    "received_time_unix_us",
    "expires_unix_us",
    "lane",
    "base_bytes",
    "enhancement_bytes",
    "state",
    "reason",
    "label_scores",
    "enhancement_level",
    "triage",
    "presence",
    "mark",
    "comments_count",
    "jpeg_bytes",
    "traceparent",
    "link_bytes_per_second",
)


def text(value: object) -> str:
    """A reply that is one string; empty when there is none."""
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None else str(value)


def is_out_of_memory(error: ResponseError) -> bool:
    """Whether Redis had no memory: Redis 6 says so within the text of a script's error, later ones
    by its class.
    """
    return isinstance(error, OutOfMemoryError) or "OOM " in str(error)


def fields_of(reply: object) -> dict[str, str]:
    """A hash, or the fields of a stream entry."""
    mapping = cast("Mapping[object, object]", reply or {})
    return {text(name): text(value) for name, value in mapping.items()}


def stream_entries(reply: object) -> list[StreamEntry]:
    """Entries `(id, fields)` of one stream; those that were trimmed away are left out."""
    pairs = cast("Iterable[tuple[object, object]]", reply or ())
    return [(text(entry_id), fields_of(fields)) for entry_id, fields in pairs if fields is not None]


def first_stream_entries(reply: object) -> list[StreamEntry]:
    """The entries of the one stream that a blocking read asked for; empty when its time ran out."""
    streams = cast("Sequence[Sequence[object]]", reply or ())
    return stream_entries(streams[0][1]) if streams else []


def scored_members(reply: object) -> list[tuple[int, str]]:
    """Members of a sorted set with their scores, `(score, member)`."""
    pairs = cast("Iterable[tuple[object, float]]", reply)
    return [(int(score), text(member)) for member, score in pairs]


def frame_record(frame_id: FrameId, values: Iterable[object]) -> FrameRecord | None:
    """The frame whose `FRAME_FIELDS` are `values`; None when there is no such frame."""
    fields = {name: text(value) for name, value in zip(FRAME_FIELDS, values, strict=True)}
    if not fields["level"]:
        return None
    return FrameRecord(
        frame_id=frame_id,
        level=int(fields["level"]),
        quality=float(fields["quality"]),
        image_hw=(int(fields["image_height"]), int(fields["image_width"])),
        capture_time_unix_us=int(fields["capture_time_unix_us"]),
        received_time_unix_us=int(fields["received_time_unix_us"]),
        expires_unix_us=int(fields["expires_unix_us"]),
        lane=fields["lane"],
        base_bytes=int(fields["base_bytes"]),
        enhancement_bytes=int(fields["enhancement_bytes"] or 0),
        state=FrameState(fields["state"]),
        reason=fields["reason"],
        label_scores=json.loads(fields["label_scores"] or "{}"),
        enhancement_level=int(fields["enhancement_level"] or 0),
        triage=Triage(fields["triage"] or Triage.NONE),
        presence=float(fields["presence"]) if fields["presence"] else None,
        mark=ReviewMark(fields["mark"] or ReviewMark.OPEN),
        comments_count=int(fields["comments_count"] or 0),
        jpeg_bytes=int(fields["jpeg_bytes"] or 0),
        traceparent=fields["traceparent"],
        link_bytes_per_second=int(fields["link_bytes_per_second"] or 0),
    )


def detections_to_json(result: DetectionResult) -> str:
    return json.dumps(
        {
            "detections": [
                {"box_xyxy": d.box_xyxy, "score": d.score, "class_id": d.class_id, "label": d.label}
                for d in result.detections
            ],
            "detector": result.detector,
            "codec": result.codec,
            "min_score": result.min_score,
            "queue_seconds": result.queue_seconds,
            "compute_seconds": result.compute_seconds,
            "batch_size": result.batch_size,
            "detected_time_unix_us": result.detected_time_unix_us,
            "triage": result.triage.value,
            "presence": result.presence,
        },
        separators=(",", ":"),
    )


def detections_from_json(document: bytes | str) -> DetectionResult:
    values = json.loads(document)
    detections = []
    for found in values.pop("detections"):
        x_min, y_min, x_max, y_max = found.pop("box_xyxy")
        detections.append(LabelledDetection(box_xyxy=(x_min, y_min, x_max, y_max), **found))
    triage = Triage(values.pop("triage", Triage.NONE))  # not in documents of earlier versions
    return DetectionResult(detections=tuple(detections), triage=triage, **values)
