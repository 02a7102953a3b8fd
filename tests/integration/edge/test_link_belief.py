"""What a camera believes of its link and aims for, from its controller to whoever asks the API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import google_crc32c
import pytest
from PIL import Image

from slimcloud.frame_id import FrameId
from slimcodec.model.load import load_codec_artifact
from slimedge.app import run_edge
from slimedge.event import Encoded
from slimedge.link.wire import round_trip_of
from slimedge.settings import EdgeSettings
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.review import ReviewWorld
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)
from support.edge.edge_recorder import EdgeRecorder
from support.edge.fake_cloud import FakeCloud
from support.models.toy_artifact import make_image, make_toy_codec


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def cloud(redis_url: str, toy_models: ToyModels) -> AsyncIterator[RunningCloud]:
    async with open_cloud(cloud_settings(toy_models, redis_url, role="ingest")) as cloud:
        yield cloud


async def test_every_frame_says_what_rate_its_point_was_chosen_for(tmp_path: Path) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path / "models"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(4):
        Image.fromarray(make_image(64, 96, seed=index)).save(pictures / f"{index}.png")
    recorder = EdgeRecorder()

    async with FakeCloud(codec.fingerprint) as fake:
        settings = EdgeSettings(
            cloud_address=fake.address,
            camera_id="gate",
            source=str(pictures),
            model="toy",
            models_root=codec.directory.parent.parent,
            encoder_threads=1,
        )
        await run_edge(settings, recorder)

    said = [frame.link_bytes_per_second for frame in fake.frames]
    assert len(said) == len(recorder.of(Encoded)) > 0
    assert all(rate > 0 for rate in said)
    passed = [(frame.socket_sent_bytes, frame.socket_received_bytes) for frame in fake.frames]
    assert min(passed[0]) > 100  # HTTP/2 has begun
    assert set(passed[1:]) == {(0, 0)}  # not with every frame


@pytest.mark.parametrize(
    ("handling_us", "round_trip"), [(0, 0.148), (98_000, 0.05), (500_000, 1e-4)]
)
def test_the_round_trip_is_without_what_the_cloud_took(handling_us: int, round_trip: float) -> None:
    welcome = pb.Welcome(handling_us=handling_us)

    assert round_trip_of(0.148, welcome) == pytest.approx(round_trip)


async def test_a_welcome_says_how_long_it_took(cloud: RunningCloud, toy_models: ToyModels) -> None:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        before = time.monotonic()
        welcome = await camera.hello()
        elapsed = time.monotonic() - before

    assert 0 < welcome.handling_us < 1e6 * elapsed


async def test_belief_and_deadline_are_kept(cloud: RunningCloud, toy_models: ToyModels) -> None:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.say(
            hello=pb.Hello(
                camera_id="gate",
                epoch=EPOCH,
                model_fingerprint=toy_models.artifact.fingerprint,
                deadline_ms=800,
            )
        )
        await camera.hear()
        container = toy_models.encode(1)
        for sequence, belief in ((1, 62_500), (2, 0)):
            frame = pb.Frame(
                sequence=sequence,
                capture_time_unix_us=int(time.time() * 1e6) + sequence,
                container=container,
                container_crc32c=google_crc32c.value(container),
                link_bytes_per_second=belief,
                socket_sent_bytes=20 * belief,
                socket_received_bytes=belief,
            )
            await camera.say(frame=frame)
            await camera.hear_stage(sequence, pb.STAGE_PERSISTED)

    frames = [await cloud.store.get_frame(FrameId("gate", EPOCH, sequence)) for sequence in (1, 2)]
    assert [frame.link_bytes_per_second for frame in frames] == [62_500, 0]
    (seen,) = await cloud.store.cameras.list()
    assert seen.deadline_seconds == 0.8
    assert (seen.socket_sent_bytes, seen.socket_received_bytes) == (1_250_000, 62_500)


async def test_belief_and_deadline_are_told_and_null_where_they_were_not_said(
    review: ReviewWorld,
) -> None:
    cameras = review.store.cameras
    for camera_id, deadline in (("gate-1", 0.8), ("yard", None)):
        await cameras.connect(
            camera_id,
            epoch=EPOCH,
            model_name="toy/1",
            connection=camera_id,
            deadline_seconds=deadline,
        )
    await review.send(1, link_bytes_per_second=62_500)
    await review.send(2)
    await cameras.set_traffic("yard", 1_250_000, 62_500)

    frames = (await review.http.get("/api/v1/frames")).json()["frames"]
    seen = (await review.http.get("/api/v1/cameras")).json()["cameras"]

    assert [frame["link_bytes_per_second"] for frame in frames] == [None, 62_500]
    assert [camera["deadline_seconds"] for camera in seen] == [0.8, None]
    assert [camera["socket_sent_bytes"] for camera in seen] == [0, 1_250_000]
    assert [camera["socket_received_bytes"] for camera in seen] == [0, 62_500]
