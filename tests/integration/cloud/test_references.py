"""Streams of frames that need others, over a real stream and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slimcloud.frame_id import FrameId
from slimcloud.wall_clock import unix_us
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.scene import HW, Scene
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)

PERSISTED = pb.STAGE_PERSISTED


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"), prior="context")


@pytest.fixture
def scene(toy_models: ToyModels) -> Scene:
    return Scene(toy_models)


@pytest.fixture
async def cloud(redis_url: str, toy_models: ToyModels) -> AsyncIterator[RunningCloud]:
    settings = cloud_settings(toy_models, redis_url, role="ingest", max_reference_depth=3)
    async with open_cloud(settings) as cloud:
        yield cloud


@pytest.fixture
async def camera(cloud: RunningCloud, toy_models: ToyModels) -> AsyncIterator[ToyCamera]:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        yield camera


def _id(sequence: int) -> FrameId:
    return FrameId("gate", EPOCH, sequence)


async def test_welcome_says_what_the_cloud_knows(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    welcome = await camera.hello()

    assert (welcome.protocol_minor, welcome.max_reference_depth) == (2, 3)


async def test_a_model_without_the_context_prior_takes_no_references(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = ToyModels(tmp_path_factory.mktemp("models"))
    async with (
        open_cloud(cloud_settings(plain, redis_url, role="ingest")) as cloud,
        ToyCamera(cloud.grpc_address, plain) as camera,
    ):
        welcome = await camera.hello()

        assert (welcome.protocol_minor, welcome.max_reference_depth) == (2, 0)


async def test_a_frame_is_stored_with_what_it_needs(
    cloud: RunningCloud, camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    sent = {}
    for sequence, reference in ((1, 0), (2, 1), (3, 2), (4, 2)):
        container = scene.encode(sequence, reference)
        sent[sequence] = await camera.send(sequence, container, reference=reference)
        await camera.hear_stage(sequence, PERSISTED)

    frames = [await cloud.store.get_frame(_id(sequence)) for sequence in sent]
    (chain,) = await cloud.store.load_chains([_id(4)])

    assert [(f.reference_sequence, f.depth, f.image_hw) for f in frames] == [
        (0, 0, HW),
        (1, 1, HW),
        (2, 2, HW),
        (2, 2, HW),
    ]
    assert chain == ((_id(1), sent[1]), (_id(2), sent[2]))


async def test_a_frame_in_which_nothing_changed_is_known_for_one(
    cloud: RunningCloud, camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    for sequence, reference, place in ((1, 0, 1), (2, 1, 2), (3, 2, 2)):
        container = scene.encode(sequence, reference, place)
        await camera.send(sequence, container, reference=reference)
        await camera.hear_stage(sequence, PERSISTED)

    frames = [await cloud.store.get_frame(_id(sequence)) for sequence in (1, 2, 3)]
    assert [frame.activity for frame in frames] == [None, None, 0.0]


@pytest.mark.parametrize(
    ("sequence", "reference", "why"),
    [
        (7, 6, "never stored"),
        (7, 7, "cannot need frame 7"),
        (7, 8, "cannot need frame 8"),
        (7, 4, "needs 3 frames already"),
        (7, 0, "needs the frame with the symbols"),
    ],
    ids=["missing", "itself", "later", "deep", "unnamed"],
)
async def test_a_reference_that_cannot_be_is_refused_and_the_stream_lives_on(
    cloud: RunningCloud,
    camera: ToyCamera,
    scene: Scene,
    sequence: int,
    reference: int,
    why: str,
) -> None:
    await camera.hello()
    for known in (1, 2, 3, 4):
        await camera.send(known, scene.encode(known, known - 1), reference=known - 1)
        await camera.hear_stage(known, PERSISTED)

    await camera.send(sequence, scene.encode(sequence, 4), reference=reference)
    nack = await camera.hear_nack(sequence)

    assert (nack.reason, nack.retryable) == (pb.NACK_REASON_REFERENCE, False)
    assert why in nack.detail
    await camera.send(9, scene.encode(9))
    await camera.hear_stage(9, PERSISTED)


async def test_a_container_that_decodes_alone_names_no_reference(
    camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    await camera.send(1, scene.encode(1))
    await camera.send(2, scene.encode(2), reference=1)

    assert (await camera.hear_nack(2)).reason == pb.NACK_REASON_HEADER


async def test_a_kept_frame_of_an_earlier_start_needs_one_of_that_start(
    cloud: RunningCloud, camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    await camera.send(1, scene.encode(1), epoch=EPOCH - 1)
    await camera.hear_stage(1, PERSISTED)

    await camera.send(2, scene.encode(2, 1), epoch=EPOCH - 1, reference=1)
    await camera.hear_stage(2, PERSISTED)
    await camera.send(2, scene.encode(2, 1), reference=1)

    assert (await camera.hear_nack(2)).reason == pb.NACK_REASON_REFERENCE
    kept = await cloud.store.get_frame(FrameId("gate", EPOCH - 1, 2))
    assert (kept.reference_sequence, kept.depth) == (1, 1)


async def test_a_reference_that_retention_removed_is_refused(
    cloud: RunningCloud, camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    await camera.send(1, scene.encode(1))
    await camera.hear_stage(1, PERSISTED)
    await cloud.store.retention.remove(_id(1))

    await camera.send(2, scene.encode(2, 1), reference=1)

    nack = await camera.hear_nack(2)
    assert nack.reason == pb.NACK_REASON_REFERENCE
    assert "removed" in nack.detail


async def test_a_short_frame_says_the_same_as_a_long_one(
    cloud: RunningCloud, camera: ToyCamera, scene: Scene
) -> None:
    began_us = unix_us()
    await camera.hello(time_mono_us=5_000_000, time_unix_us=began_us)
    short = pb.Frame(sequence=1, container=scene.encode(1), capture_after_us=-2_000_000)
    stepped = pb.Frame(
        sequence=2,
        container=scene.encode(2),
        capture_after_us=1000,
        capture_time_unix_us=began_us + 7_000_000,
    )

    for frame in (short, stepped):
        await camera.say(frame=frame)
        await camera.hear_stage(frame.sequence, PERSISTED)

    stored = [await cloud.store.get_frame(_id(sequence)) for sequence in (1, 2)]
    assert [frame.capture_time_unix_us - began_us for frame in stored] == [-2_000_000, 7_000_000]


async def test_a_short_frame_without_times_to_count_from_is_refused(
    camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello(time_mono_us=5_000_000)
    container = scene.encode(1)

    for sequence, after_us in ((1, 0), (2, -6_000_000)):
        frame = pb.Frame(sequence=sequence, container=container, capture_after_us=after_us)
        await camera.say(frame=frame)
        assert (await camera.hear_nack(sequence)).reason == pb.NACK_REASON_HEADER


async def test_a_container_tells_by_itself_that_it_is_damaged(
    camera: ToyCamera, scene: Scene
) -> None:
    await camera.hello()
    container = bytearray(scene.encode(1))
    await camera.send(1, bytes(container), crc32c=0)
    await camera.hear_stage(1, PERSISTED)

    container[20] ^= 4
    await camera.send(2, bytes(container), crc32c=0)

    nack = await camera.hear_nack(2)
    assert (nack.reason, nack.retryable) == (pb.NACK_REASON_CRC, True)
