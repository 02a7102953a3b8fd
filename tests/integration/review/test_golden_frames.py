"""Frames that an earlier build stored are read, shown and told to cameras as they were then.

`golden_frames.json` was recorded by that build: Redis hashes in every state, the detector's
results, the answers of the API and the acknowledgement of each result. It is not written again: a
new field is absent from it, as it is from frames that wait in somebody's Redis; of a field that was
taken away it has values, as they have.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.store import keys
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.golden_frames import make_frames, plain
from support.cloud.review import ReviewWorld

GOLDEN: dict[str, Any] = json.loads(
    Path(__file__).with_name("golden_frames.json").read_text(encoding="utf-8")
)
TAKEN_AWAY = "jpeg_bytes"
ADDED = ("kind", "reference_sequence", "depth", "activity", "preview_url", "enhance_until")


async def test_frames_are_stored_as_the_earlier_build_did(client: Redis) -> None:
    await make_frames(client)

    made = {key: value for key, value in GOLDEN["redis"].items() if ":gate-1:" in key}
    assert await plain(client) == _today(made)  # gate-0's is of a build before that one


async def test_frames_of_the_earlier_build_are_shown_as_it_did(review: ReviewWorld) -> None:
    await _load(review.client)

    for path, answer in GOLDEN["api"].items():
        response = await review.http.get(path)

        assert _then(response.json()) == _today(answer), path


async def test_results_of_the_earlier_build_are_told_as_it_did(review: ReviewWorld) -> None:
    await _load(review.client)

    for name, told in GOLDEN["acks"].items():
        assert await _ack(review, FrameId.parse(name)) == told, name


@pytest.mark.parametrize("schema", sorted(GOLDEN["schemas"]))
def test_frames_are_described_as_the_earlier_build_did(review: ReviewWorld, schema: str) -> None:
    described = review.api.openapi()["components"]["schemas"][schema]

    assert _bare(_then(described)) == _bare(_today(GOLDEN["schemas"][schema]))


async def _load(client: Redis) -> None:
    for key, value in GOLDEN["redis"].items():
        if isinstance(value, dict):
            fields = {k: base64.b64decode(v) if k == "container" else v for k, v in value.items()}
            await client.hset(key, mapping=fields)
            frame_id = FrameId.parse(key.removeprefix(keys.FRAME))
            times = {str(frame_id): int(fields["capture_time_unix_us"])}
            await client.zadd(keys.INDEX_ALL, times)
            await client.zadd(keys.index_of(frame_id.camera_id), times)
        else:
            await client.set(key, value)


async def _ack(review: ReviewWorld, frame_id: FrameId) -> str:
    stream = CameraStream(frame_id.camera_id, frame_id.epoch)
    result = await review.store.get_detections(frame_id)
    stream.ack(frame_id.sequence, pb.STAGE_DETECTED, result)
    answer = await stream.next_answer()
    assert answer is not None
    answer.ack.server_mono_us = 0
    return answer.SerializeToString(deterministic=True).hex()


def _today(value: object) -> object:
    """What the earlier build knew, without what was taken away since."""
    if isinstance(value, dict):
        today = {k: _today(v) for k, v in value.items() if k != TAKEN_AWAY}
        if isinstance(cursor := today.get("next_cursor"), str):  # a word that nobody keeps
            today["next_cursor"] = base64.b64decode(cursor).decode()
        return today
    if isinstance(value, float):  # a latency below 0, where clocks differed, is told as 0
        return max(0.0, value)
    if isinstance(value, list):
        return [_today(item) for item in value if item != TAKEN_AWAY]
    return value


def _then(value: object) -> object:
    """What is told today, without what was added since."""
    if isinstance(value, dict):
        return {k: _then(v) for k, v in value.items() if k not in ADDED}
    if isinstance(value, list):
        return [_then(item) for item in value if item not in ADDED]
    return value


def _bare(schema: object) -> object:
    """A schema without what is said for people, which may be said better, and without order."""
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k not in ("description", "examples")}
    if isinstance(schema, list):
        return sorted((_bare(item) for item in schema), key=repr)
    return schema
