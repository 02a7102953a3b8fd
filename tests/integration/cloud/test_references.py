"""Streams of frames that need others, over a real stream and a real Redis."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store.records import FrameState
from slimcloud.wall_clock import unix_us
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.cloud_process import cloud_process
from support.cloud.scene import HW, Scene
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)
from support.models.toy_triage import add_toy_triage

PERSISTED, DETECTED = pb.STAGE_PERSISTED, pb.STAGE_DETECTED


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


async def test_welcome_says_what_the_cloud_knows(cloud: RunningCloud, camera: ToyCamera) -> None:
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


# --- with a detector ---


async def _send(camera: ToyCamera, scene: Scene, sequence: int, *at: int) -> None:
    """Send a frame that needs another, perhaps, with the box at a place, and wait for PERSISTED."""
    reference = at[0] if at else 0
    await camera.send(sequence, scene.encode(sequence, *at), reference=reference)
    await camera.hear_stage(sequence, PERSISTED)


async def test_frames_are_detected_from_what_the_camera_coded(
    redis_url: str, toy_models: ToyModels, scene: Scene
) -> None:
    settings = cloud_settings(toy_models, redis_url)
    async with (
        open_cloud(settings) as cloud,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        await camera.hello()
        found = {}
        for sequence, at in ((1, ()), (2, (1,)), (3, (2,)), (4, (3, 3)), (5, (1, 2)), (6, (0, 6))):
            await camera.send(sequence, scene.encode(sequence, *at), reference=at[0] if at else 0)
            found[sequence] = (await camera.hear_stage(sequence, DETECTED)).detections
        frames = [await cloud.store.get_frame(_id(n)) for n in found]
        pictures = await _pictures(cloud.addresses.http, *found)

    activities = [float(scene.symbols(n).changed.mean()) for n in found]
    assert [frame.activity for frame in frames] == [None, *activities[1:5], None]
    assert frames[3].activity == 0
    assert found[4] == found[3]
    for sequence, picture in pictures.items():
        latent = scene.decoder.latent_of(scene.symbols(sequence))
        np.testing.assert_array_equal(picture, scene.decoder.decode_image(latent))


async def _pictures(url: str | None, *sequences: int) -> dict[int, np.ndarray]:  # type: ignore[type-arg]  # (H, W, 3)
    """What the API shows of frames."""
    pictures = {}
    async with httpx.AsyncClient(base_url=url or "") as http:
        for sequence in sequences:
            reply = await http.get(
                f"/api/v1/frames/{_id(sequence)}/image", headers={"Accept": "image/png"}
            )
            assert reply.status_code == 200, reply.text
            pictures[sequence] = np.array(Image.open(io.BytesIO(reply.content)))
    return pictures


async def test_a_reference_that_is_not_the_right_one_is_found_out(
    redis_url: str, toy_models: ToyModels, scene: Scene
) -> None:
    async with (
        open_cloud(cloud_settings(toy_models, redis_url)) as cloud,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        await camera.hello()
        await _send(camera, scene, 1)
        await _send(camera, scene, 2, 1)
        await camera.send(3, scene.encode(3, 2), reference=1)

        nack = await camera.hear_nack(3)
        assert nack.reason == pb.NACK_REASON_DECODE
        assert "needs the frame with the symbols" in nack.detail
        await camera.send(4, scene.encode(4, 3), reference=3)
        assert (await camera.hear_nack(4)).reason == pb.NACK_REASON_REFERENCE
        await camera.send(5, scene.encode(5, 2), reference=2)
        await camera.hear_stage(5, DETECTED)


async def test_two_workers_of_one_camera_decode_the_same(
    redis_url: str, toy_models: ToyModels, scene: Scene
) -> None:
    settings = cloud_settings(toy_models, redis_url, max_batch_size=1)
    async with (
        open_cloud(settings) as cloud,
        open_cloud(settings) as other,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        await camera.hello()
        sequences = range(1, 25)
        for n in sequences:
            await _send(camera, scene, n, *((n - 1,) if n % 8 != 1 else ()))
        while (await cloud.store.totals()).detected < len(sequences):
            await asyncio.sleep(0.02)
        frames = [await cloud.store.get_frame(_id(n)) for n in sequences]
        shown = [await _pictures(each.addresses.http, *sequences) for each in (cloud, other)]

    assert {frame.state for frame in frames} == {FrameState.DETECTED}
    for n in sequences:
        latent = scene.decoder.latent_of(scene.symbols(n))
        for pictures in shown:
            np.testing.assert_array_equal(pictures[n], scene.decoder.decode_image(latent))


async def test_an_inter_frame_is_refined_and_needed_as_it_was(
    redis_url: str, toy_models: ToyModels, scene: Scene
) -> None:
    async with (
        open_cloud(cloud_settings(toy_models, redis_url)) as cloud,
        ToyCamera(cloud.grpc_address, toy_models) as camera,
    ):
        await camera.hello()
        await _send(camera, scene, 1)
        await _send(camera, scene, 2, 1)
        of_intra, of_changes = scene.enhance(1), scene.enhance_changes(2, 1)
        refined = scene.refine(2, quality=4)
        for sequence, container in ((2, of_intra), (2, of_changes), (2, refined), (1, of_intra)):
            await camera.say(enhancement=pb.Enhancement(sequence=sequence, container=container))
        assert (await camera.hear_nack(2)).reason == pb.NACK_REASON_HEADER
        await camera.hear_stage(1, PERSISTED)
        await _send(camera, scene, 3, 2)
        await camera.hear_stage(3, DETECTED)
        pictures = await _pictures(cloud.addresses.http, 1, 2, 3)

    base = scene.frames[2].bitstream
    expected = {
        1: scene.decoder.decode_symbols(scene.frames[1].bitstream, of_intra),
        2: scene.decoder.decode_symbols(base, refined, scene.symbols(1)),
        3: scene.symbols(3),
    }
    assert (expected[2].qualities == 4 * 256).all()
    for sequence, symbols in expected.items():
        picture = scene.decoder.decode_image(scene.decoder.latent_of(symbols))
        np.testing.assert_array_equal(pictures[sequence], picture)


async def test_triage_asks_for_what_changed(redis_url: str, tmp_path: Path) -> None:
    models = ToyModels(tmp_path, prior="context")
    add_toy_triage(models.root / "toy" / "1")
    scene = Scene(models)
    settings = cloud_settings(
        models, redis_url, triage="enhance", triage_level=1, triage_wait_seconds=60.0
    )
    async with (
        open_cloud(settings) as cloud,
        ToyCamera(cloud.grpc_address, models) as camera,
    ):
        assert (await camera.hello()).max_live_level == 0
        for sequence, at in ((1, ()), (2, (1,))):
            await _send(camera, scene, sequence, *at)
            asked = await camera.hear_until(lambda answer: answer.HasField("command"))
            enhancement = pb.Enhancement(
                sequence=sequence,
                container=scene.refine(sequence, level=1),
                request_id=asked[-1].command.request_id,
            )
            await camera.say(enhancement=enhancement)
            ack = await camera.hear_stage(sequence, DETECTED)
            assert ack.triage == pb.TRIAGE_ENHANCED
        await _send(camera, scene, 3, 2, 2)  # nothing changed
        again = await camera.hear_stage(3, DETECTED)

    assert (again.triage, again.detections) == (pb.TRIAGE_ENHANCED, ack.detections)


async def test_a_cloud_that_was_killed_goes_on_from_what_it_told_persisted(
    toy_models: ToyModels, scene: Scene, tmp_path: Path
) -> None:
    state, sequences, told = tmp_path / "state.json", range(1, 15), {0}
    while len(told) <= len(sequences):
        async with AsyncExitStack() as stack:
            cloud = stack.enter_context(cloud_process(toy_models, state, durability="second"))
            address = cloud.addresses["grpc"]
            camera = await stack.enter_async_context(ToyCamera(address, toy_models))
            welcome = await camera.hello(unpersisted_sequences=list(sequences))
            told |= set(welcome.persisted_sequences)
            for n in [n for n in sequences if n not in told][:9]:
                near = (m for m in told if m < n and (not m or scene.symbols(m).depth < 8))
                before = 0 if n % 8 == 1 else max(near)
                await camera.send(n, scene.encode(n, before), reference=before)
                if n % 3:  # else the answer is lost, and perhaps the frame
                    await camera.hear_stage(n, PERSISTED)
                    told.add(n)
            cloud.process.kill()

    with cloud_process(toy_models, state) as cloud:
        pictures = await _pictures(cloud.addresses["http"], *sequences)
    for n in sequences:
        latent = scene.decoder.latent_of(scene.symbols(n))
        np.testing.assert_array_equal(pictures[n], scene.decoder.decode_image(latent))


async def test_a_store_that_was_emptied_takes_no_frame_that_needs_another(
    redis_url: str, toy_models: ToyModels, scene: Scene, client: Redis
) -> None:
    async with open_cloud(cloud_settings(toy_models, redis_url, role="ingest")) as cloud:
        async with ToyCamera(cloud.grpc_address, toy_models) as camera:
            before = await camera.hello()
            await _send(camera, scene, 1)
            await client.flushall()
            await camera.send(2, scene.encode(2, 1), reference=1)
            nack = await camera.hear_nack(2)
        async with ToyCamera(cloud.grpc_address, toy_models) as camera:
            after = await camera.hello()
            await _send(camera, scene, 3)

    assert nack.reason == pb.NACK_REASON_REFERENCE
    assert before.store_id != after.store_id
