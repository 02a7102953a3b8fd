"""Triage, end to end: a real server, a real Redis, a toy codec to whose head grey is quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import google_crc32c
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from slimcloud.frame_id import FrameId
from slimcloud.store.cameras.refetches import RefetchState
from slimcloud.store.records import FrameState, Triage
from slimcodec.container import parse_container
from slimcodec.errors import ModelError
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)
from support.models.toy_artifact import make_image
from support.models.toy_triage import add_toy_triage, grey_image

HW = (48, 64)
BUSY, QUIET = make_image(*HW, seed=1), grey_image(*HW)
LEVEL = 2
LONG, SHORT = 60.0, 0.05  # seconds: never waited to the end, and hardly waited at all


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    models = ToyModels(tmp_path_factory.mktemp("models"))
    add_toy_triage(models.root / "toy" / "1")
    return models


@pytest.fixture
async def cloud(redis_url: str, toy_models: ToyModels) -> AsyncIterator[RunningCloud]:
    settings = cloud_settings(
        toy_models,
        redis_url,
        triage="enhance",
        triage_level=LEVEL,
        triage_wait_seconds=LONG,
        metrics_port=0,
    )
    async with open_cloud(settings) as cloud:
        yield cloud


@pytest.fixture
async def camera(cloud: RunningCloud, toy_models: ToyModels) -> AsyncIterator[ToyCamera]:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        yield camera


async def _metrics(cloud: RunningCloud) -> str:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{cloud.addresses.metrics}")).text


def _container(models: ToyModels, image: NDArray[np.uint8], level: int = 0) -> bytes:
    return models.encoder.encode(image, level, 2).bitstream


async def _send_enhancement(
    camera: ToyCamera, models: ToyModels, base: bytes, command: pb.Command, level: int
) -> None:
    enhancement = models.encoder.enhance(BUSY, base, level).bitstream
    await camera.say(
        enhancement=pb.Enhancement(
            sequence=command.refetch_enhancement.sequence,
            container=enhancement,
            container_crc32c=google_crc32c.value(enhancement),
            request_id=command.request_id,
        )
    )


async def _hear_command(camera: ToyCamera) -> pb.Command:
    answers = await camera.hear_until(lambda answer: answer.WhichOneof("message") == "command")
    return answers[-1].command


async def test_quiet_frame_ends_after_triage(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    welcome = await camera.hello()
    assert welcome.HasField("max_live_level")
    assert welcome.max_live_level == 0

    await camera.send(1, _container(toy_models, QUIET))
    ack = await camera.hear_stage(1, pb.STAGE_DETECTED)

    assert ack.triage == pb.TRIAGE_QUIET
    assert list(ack.detections) == []
    assert 0 < ack.presence < 0.5
    record = await cloud.store.get_frame(FrameId("gate", EPOCH, 1))
    assert (record.state, record.triage) == (FrameState.DETECTED, Triage.QUIET)
    assert record.presence == pytest.approx(ack.presence)
    async with httpx.AsyncClient(base_url=f"{cloud.addresses.http}") as http:
        shown = (await http.get(f"/api/v1/frames/gate:{EPOCH:016x}:1")).json()
    assert shown["triage"] == "quiet"
    assert shown["presence"] == pytest.approx(ack.presence)
    assert 'frames_triaged_total{outcome="quiet"} 1.0' in await _metrics(cloud)


async def test_busy_frame_is_detected_from_the_enhancement_that_is_asked_for(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    base = await camera.send(1, _container(toy_models, BUSY))

    command = await _hear_command(camera)
    asked = command.refetch_enhancement
    assert (asked.sequence, asked.level) == (1, LEVEL)
    assert 0 < asked.expire_ms <= 1000 * LONG
    waiting = await cloud.store.get_frame(FrameId("gate", EPOCH, 1))
    assert waiting.state is FrameState.QUEUED
    assert waiting.presence is not None
    assert await cloud.store.work.parked_count() == 1
    assert await cloud.store.work.outstanding() == 0

    await _send_enhancement(camera, toy_models, base, command, LEVEL)
    ack = await camera.hear_stage(1, pb.STAGE_DETECTED)

    assert ack.triage == pb.TRIAGE_ENHANCED
    assert await cloud.store.work.parked_count() == 0
    answered = await cloud.store.refetches.get(command.request_id)
    assert answered.state is RefetchState.DONE
    assert 'frames_triaged_total{outcome="enhanced"} 1.0' in await _metrics(cloud)
    expected = await _detections_of(cloud, camera, toy_models, _container(toy_models, BUSY, LEVEL))
    assert expected, "the toy detector sees nothing at all: the test would prove nothing"
    assert [found.score for found in ack.detections] == expected


async def _detections_of(
    cloud: RunningCloud, camera: ToyCamera, models: ToyModels, container: bytes
) -> list[float]:
    """Scores of a frame that was sent as wide as triage wants, so that nothing is asked for."""
    await camera.send(99, container)
    ack = await camera.hear_stage(99, pb.STAGE_DETECTED)
    assert ack.triage == pb.TRIAGE_SENT
    return [found.score for found in ack.detections]


async def test_enhancement_that_never_comes_is_not_waited_for(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(
        toy_models, redis_url, triage="enhance", triage_wait_seconds=SHORT, metrics_port=0
    )
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.hello()
        await camera.send(1, _container(toy_models, BUSY))

        ack = await camera.hear_stage(1, pb.STAGE_DETECTED)

        assert ack.triage == pb.TRIAGE_FALLBACK
        assert len(ack.detections) > 0
        assert 'frames_triaged_total{outcome="fallback"} 1.0' in await _metrics(cloud)


async def test_refusal_of_the_camera_ends_the_waiting(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    await camera.send(1, _container(toy_models, BUSY))
    command = await _hear_command(camera)

    await camera.say(refusal=pb.Refusal(request_id=command.request_id, detail="left the ring"))

    ack = await camera.hear_stage(1, pb.STAGE_DETECTED)
    assert ack.triage == pb.TRIAGE_FALLBACK


async def test_half_of_a_deadline_is_waited_at_most(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    await camera.send(1, _container(toy_models, BUSY), deadline_ms=4000)

    command = await _hear_command(camera)

    assert command.refetch_enhancement.expire_ms <= 2000


async def test_quiet_frame_is_answered_while_an_earlier_one_waits(
    camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    base = await camera.send(1, _container(toy_models, BUSY))
    command = await _hear_command(camera)
    await camera.send(2, _container(toy_models, QUIET))

    await camera.hear_stage(2, pb.STAGE_DETECTED)
    await _send_enhancement(camera, toy_models, base, command, LEVEL)

    assert (await camera.hear_stage(1, pb.STAGE_DETECTED)).triage == pb.TRIAGE_ENHANCED


async def test_person_who_looks_gets_what_triage_did_not_ask_for(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    """The third rung: triage asked for level 2 of 3, a view asks for the rest."""
    await camera.hello()
    base = await camera.send(1, _container(toy_models, BUSY))
    await _send_enhancement(camera, toy_models, base, await _hear_command(camera), LEVEL)
    await camera.hear_stage(1, pb.STAGE_DETECTED)

    async with httpx.AsyncClient(base_url=f"{cloud.addresses.http}") as http:
        frame = f"/api/v1/frames/gate:{EPOCH:016x}:1"
        assert (await http.get(frame)).json()["can_enhance"]
        assert (await http.post(f"{frame}/refetch")).status_code == 202
        command = await _hear_command(camera)
        assert command.refetch_enhancement.level == 3
        await _send_enhancement(camera, toy_models, base, command, 3)
        await camera.hear_stage(1, pb.STAGE_PERSISTED)
        after = (await http.get(frame)).json()
        again = await http.post(f"{frame}/refetch")

    assert not after["can_enhance"]
    assert again.status_code == 409
    stored = await cloud.store.get_enhancement(FrameId("gate", EPOCH, 1))
    assert stored is not None
    assert parse_container(stored).level == 3
    assert after["bytes_total"] == len(base) + len(stored)
    found = await cloud.store.get_detections(FrameId("gate", EPOCH, 1))
    assert found is not None
    held = after["bytes_total"] + len(found.to_json())
    assert (await cloud.store.totals()).stored_bytes == held


async def test_triage_by_itself_only_spares_the_detector(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(toy_models, redis_url, triage="detect")
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        assert not (await camera.hello()).HasField("max_live_level")
        await camera.send(1, _container(toy_models, QUIET, 3))
        await camera.send(2, _container(toy_models, BUSY, 1))

        quiet = await camera.hear_stage(1, pb.STAGE_DETECTED)
        sent = await camera.hear_stage(2, pb.STAGE_DETECTED)

    assert (quiet.triage, len(quiet.detections)) == (pb.TRIAGE_QUIET, 0)
    assert sent.triage == pb.TRIAGE_SENT
    assert len(sent.detections) > 0


async def test_threshold_and_labels_are_the_operators(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(
        toy_models,
        redis_url,
        triage="detect",
        triage_threshold=0.0,
        triage_labels="thing-03, thing-07",
    )
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.hello()
        await camera.send(1, _container(toy_models, QUIET))

        ack = await camera.hear_stage(1, pb.STAGE_DETECTED)

    assert ack.triage == pb.TRIAGE_SENT


@pytest.mark.parametrize(
    ("overrides", "words"),
    [({"triage_labels": "zebra"}, "no class zebra"), ({"triage_level": 4}, "levels 0..3")],
)
async def test_wish_that_cannot_be_met_stops_the_start(
    redis_url: str, toy_models: ToyModels, overrides: dict[str, object], words: str
) -> None:
    settings = cloud_settings(toy_models, redis_url, triage="enhance", **overrides)

    with pytest.raises(ModelError, match=words):
        async with open_cloud(settings):
            pass


async def test_model_without_a_head_stops_the_start(redis_url: str, tmp_path: Path) -> None:
    settings = cloud_settings(ToyModels(tmp_path), redis_url, triage="detect")

    with pytest.raises(ModelError, match="no triage head"):
        async with open_cloud(settings):
            pass
