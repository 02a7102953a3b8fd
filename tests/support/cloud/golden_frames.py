"""Frames in every state that a store can hold, with nothing left to chance."""

from __future__ import annotations

import base64
import re

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.frames import Store
from slimcloud.store.records import (
    DetectionResult,
    FrameState,
    Lane,
    ReviewMark,
    StoredFrame,
    Triage,
)
from slimcloud.store.replies import text
from slimcloud.store.reviews import ReviewKind
from slimcodec.detection import Detection
from support.cloud.frames import MadeFrame

_EPOCH = 0x197F3A1B2C3
_START_UNIX_US = 1_780_000_000_000_000
_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_STREAM_ID = re.compile(r"\b\d{10,}-\d+")  # Redis' clock
_SHARPEST = 3  # level of an enhancement
_CAR = Detection((4.0, 5.5, 30.25, 25.0), 0.875, 2, "car")
_PEOPLE = (
    Detection((1.0, 2.0, 9.0, 20.0), 0.5, 0, "person"),
    Detection((0.1, 2.0, 19.0, 20.0), 0.625, 0, "person"),
)


async def make_frames(client: Redis) -> None:
    """A store of one frame in each state."""
    store = Store(client, clock=lambda: _START_UNIX_US)
    await store.work.prepare()
    waiting, dead = _frame(1), _frame(2)
    await store.put_frame(*dead)  # first: it is the one that is taken
    (item,) = await store.work.take("worker", count=1)
    await store.work.fail_try(item, "RuntimeError: out of memory")
    await store.work.dead_letter(item)
    await store.put_frame(*waiting)
    await store.put_frame(*_frame(3, expires_unix_us=_START_UNIX_US + 700_000, traceparent=_TRACE))
    await store.put_frame(*_frame(4, quality=2.5, link_bytes_per_second=31_250))
    await store.put_detections(_id(4), _result(_CAR, *_PEOPLE))
    await store.put_frame(*_frame(5))
    await store.put_detections(_id(5), _result(triage=Triage.QUIET, presence=0.0625))
    await store.put_frame(*_frame(6))
    await store.set_failed(_id(6), "section 2 does not decode")
    await store.put_frame(*_frame(7))
    await store.set_dropped(_id(7), "its deadline passed while it waited for 0.700 s")
    await store.request_detection(_id(7))
    await store.put_frame(*_frame(8))
    await store.set_dropped(_id(8), "its deadline passed while it waited for 0.900 s")
    await store.request_detection(_id(8))
    await store.cancel_detection(_id(8))
    await store.put_frame(*_frame(9))
    await store.put_enhancement(_id(9), b"enhancement", level=_SHARPEST)
    await store.put_detections(_id(9), _result(_CAR, triage=Triage.ENHANCED, presence=0.75))
    await store.put_frame(*_frame(10, lane="backfill"))
    await store.put_detections(_id(10), _result(_CAR))
    await store.put_frame(*_frame(11, traceparent=_TRACE, link_bytes_per_second=1))
    await store.put_detections(_id(11), _result(triage=Triage.FALLBACK, presence=1.0))
    await store.reviews.add(
        _id(11), "ada", ReviewKind.NOTE, mark=ReviewMark.WRONG, comment="no dog"
    )
    await store.reviews.add(_id(11), "ada", ReviewKind.NOTE, mark=None, comment="two dogs")
    await store.put_frame(*_frame(12))
    parked = await store.work.take("worker", count=20)
    item = next(item for item in parked if item.frame_id == _id(12))
    await store.work.park(item, presence=0.5, level=_SHARPEST, until_us=_START_UNIX_US)


async def plain(client: Redis) -> dict[str, dict[str, str] | str]:
    """What a store holds of its frames, with the bytes of containers as base64."""
    held: dict[str, dict[str, str] | str] = {}
    for key in sorted(map(text, await client.keys("slim:*"))):
        if key.startswith(keys.FRAME):
            fields = {text(name): value for name, value in (await client.hgetall(key)).items()}
            held[key] = {
                name: base64.b64encode(value).decode()  # type: ignore[arg-type]  # not decoded
                if name == "container"
                else _STREAM_ID.sub("0-1", text(value))
                for name, value in sorted(fields.items())
            }
        elif key.startswith(keys.DETECTIONS):
            held[key] = text(await client.get(key))
    return held


def _id(sequence: int) -> FrameId:
    return FrameId("gate-1", _EPOCH, sequence)


def _frame(
    sequence: int,
    *,
    quality: float = 2.0,
    expires_unix_us: int = 0,
    lane: str = "live",
    traceparent: str = "",
    link_bytes_per_second: int = 0,
) -> MadeFrame:
    captured_us = _START_UNIX_US + 100_000 * sequence
    container = bytes(range(sequence, sequence + 9))
    record = StoredFrame(
        frame_id=_id(sequence),
        level=sequence % 3,
        quality=quality,
        image_height=49,
        image_width=65,
        capture_time_unix_us=captured_us,
        received_time_unix_us=captured_us + 20_000,
        expires_unix_us=expires_unix_us,
        lane=Lane.BACKFILL if lane == "backfill" else Lane.LIVE,
        base_bytes=len(container),
        state=FrameState.QUEUED,
        traceparent=traceparent,
        link_bytes_per_second=link_bytes_per_second,
    )
    return MadeFrame(record, container)


def _result(
    *found: Detection, triage: Triage = Triage.NONE, presence: float | None = None
) -> DetectionResult:
    return DetectionResult(
        detections=found,
        detector="toy-detector/1",
        codec="toy/1",
        min_score=0.25,
        queue_seconds=0.125,
        compute_seconds=0.25,
        batch_size=2,
        detected_time_unix_us=_START_UNIX_US + 2_000_000,
        triage=triage,
        presence=presence,
    )
