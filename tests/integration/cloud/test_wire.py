"""What a camera may say and hear besides frames and their Acks, over a real stream.

No detector runs where none is needed: the role is ingest alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import google_crc32c
import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.cameras.budgets import BudgetState
from slimcloud.store.cameras.gaps import GapRecord
from slimcloud.tokens import token_digest
from slimcloud.wall_clock import unix_us
from slimcontrol.budget import Budget
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.frames import make_frame
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    StreamEndedError,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)

PERSISTED = pb.STAGE_PERSISTED
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def cloud(redis_url: str, toy_models: ToyModels) -> AsyncIterator[RunningCloud]:
    settings = cloud_settings(toy_models, redis_url, role="ingest", max_queue_size=20)
    async with open_cloud(settings) as cloud:
        yield cloud


@pytest.fixture
async def camera(cloud: RunningCloud, toy_models: ToyModels) -> AsyncIterator[ToyCamera]:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        yield camera


async def hear(camera: ToyCamera, kind: str) -> pb.StreamFramesResponse:
    """The next answer of a kind, passing over others."""
    return (await camera.hear_until(lambda answer: answer.WhichOneof("message") == kind))[-1]


async def fill_queue(cloud: RunningCloud, frames: int) -> None:
    """Let so many frames of another camera wait for a detector that is not there."""
    for sequence in range(1, frames + 1):
        frame = make_frame(sequence, camera_id="other", received_us=unix_us())
        await cloud.store.put_frame(*frame)


async def test_gap_is_stored_and_acknowledged(cloud: RunningCloud, camera: ToyCamera) -> None:
    await camera.hello()
    began_us = unix_us() - 3600 * 10**6
    gap = pb.Gap(
        gap_number=3,
        from_time_unix_us=began_us,
        to_time_unix_us=began_us + 8_000_000,
        dropped_frames=80,
        dropped_bytes=123_456,
        reason=pb.GAP_REASON_SPOOL_FULL,
        detail="the link was away for an hour",
        first_sequence=11,
        last_sequence=90,
    )

    await camera.say(gap=gap)
    first = (await hear(camera, "gap_ack")).gap_ack
    await camera.say(gap=gap)
    second = (await hear(camera, "gap_ack")).gap_ack

    assert (first.gap_number, first.refused, first.epoch) == (3, "", 0)
    assert second == first
    assert await cloud.store.gaps.list("gate") == [
        GapRecord(
            camera_id="gate",
            epoch=EPOCH,
            gap_number=3,
            from_unix_us=began_us,
            to_unix_us=began_us + 8_000_000,
            reason="spool_full",
            dropped_frames=80,
            dropped_bytes=123_456,
            detail="the link was away for an hour",
            first_sequence=11,
            last_sequence=90,
        )
    ]


async def test_gap_of_an_earlier_start_keeps_its_epoch(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()

    await camera.say(gap=pb.Gap(gap_number=1, reason=pb.GAP_REASON_STOPPED, epoch=EPOCH - 1))

    assert (await hear(camera, "gap_ack")).gap_ack.epoch == EPOCH - 1
    (gap,) = await cloud.store.gaps.list()
    assert (gap.epoch, gap.reason) == (EPOCH - 1, "stopped")


async def test_gap_that_cannot_be_is_refused_and_the_stream_lives_on(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()
    told = [
        (pb.Gap(gap_number=0), "begin with 1"),
        (pb.Gap(gap_number=1, to_time_unix_us=2**53), "times end below"),
        (pb.Gap(gap_number=2, from_time_unix_us=1), "swap them"),
        (pb.Gap(gap_number=3, from_time_unix_us=1, reason=pb.GAP_REASON_CLOCK), ""),
        (pb.Gap(gap_number=4, reason=999), ""),  # type: ignore[arg-type]  # of the future
    ]

    for gap, expected in told:
        await camera.say(gap=gap)
        refused = (await hear(camera, "gap_ack")).gap_ack.refused
        assert expected in refused
        assert bool(refused) == bool(expected)

    reasons = {gap.gap_number: gap.reason for gap in await cloud.store.gaps.list()}
    assert reasons == {3: "clock", 4: "unspecified"}


async def test_welcome_says_which_frames_in_doubt_are_safe(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    """A camera with a spool sends out of order, so the highest sequence does not say it all."""
    await camera.hello()
    for sequence in (1, 2, 9):
        await camera.send(sequence)
        await camera.hear_stage(sequence, PERSISTED)

    async with ToyCamera(cloud.grpc_address, toy_models) as again:
        welcome = await again.hello(unpersisted_sequences=[2, 5, 9, 10])

    assert welcome.resume_after_sequence == 9
    assert sorted(welcome.persisted_sequences) == [2, 9]


async def test_welcome_names_the_limits(camera: ToyCamera) -> None:
    welcome = await camera.hello()

    assert (welcome.max_frame_bytes, welcome.max_pixels) == (2**20, 2**22)
    assert welcome.server_time_unix_us > 1_700_000_000_000_000


async def test_epoch_that_is_not_set_is_refused(camera: ToyCamera) -> None:
    """Left out, it would be the same at each start, and new frames would pass for old ones."""
    with pytest.raises(Exception, match="INVALID_ARGUMENT.*epoch"):
        await camera.hello(epoch=0)


async def test_stranger_is_not_told_which_model_is_here(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(
        toy_models, redis_url, role="ingest", tokens=f"camera gate {token_digest('of-the-gate')}"
    )
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as stranger:
        with pytest.raises(StreamEndedError, match="UNAUTHENTICATED") as caught:
            await stranger.hello(fingerprint=bytes(8))

    assert toy_models.artifact.fingerprint.hex() not in caught.value.detail


async def test_message_of_the_future_is_passed_over(camera: ToyCamera) -> None:
    await camera.hello()

    await camera.say()
    await camera.send(1)

    await camera.hear_stage(1, PERSISTED)


async def test_frame_of_an_earlier_start_keeps_its_identity(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()

    container = await camera.send(7, epoch=EPOCH - 1, deadline_ms=1, age_seconds=3600)
    ack = await camera.hear_stage(7, PERSISTED)
    await camera.send(7, container, epoch=EPOCH - 1)
    again = await camera.hear_stage(7, PERSISTED)
    await camera.send(8, epoch=EPOCH - 1, crc32c=1)
    nack = (await camera.hear()).nack

    assert (ack.epoch, again.epoch) == (EPOCH - 1, EPOCH - 1)
    assert (nack.sequence, nack.epoch) == (8, EPOCH - 1)
    record = await cloud.store.get_frame(FrameId("gate", EPOCH - 1, 7))
    assert (record.lane, record.expires_unix_us) == ("backfill", 0)
    assert (await cloud.store.totals()).frames == 1
    assert await cloud.store.highest_sequence("gate", EPOCH) == 0


async def test_frames_without_a_deadline_do_not_teach_how_old_others_are(
    camera: ToyCamera,
) -> None:
    """The monotonic time of a spooled frame may be of another boot, far ahead of this one's."""
    await camera.hello()

    await camera.send(1, age_seconds=-1e6)
    await camera.send(2, deadline_ms=1000)

    await camera.hear_stage(2, PERSISTED)


async def test_trace_is_kept_with_the_frame_and_nonsense_is_not(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()
    await camera.send(1, traceparent=TRACE)
    await camera.send(2, traceparent=TRACE.upper())
    await camera.send(3)
    await camera.hear_stage(3, PERSISTED)

    traces = [
        (await cloud.store.get_frame(FrameId("gate", EPOCH, sequence))).traceparent
        for sequence in (1, 2, 3)
    ]

    assert traces == [TRACE, "", ""]


async def test_camera_is_asked_to_keep_to_another_budget(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    daily = Budget(50_000_000, 86_400)
    await camera.hello(byte_budget=pb.ByteBudget(container_bytes=9_000, period_seconds=1))
    assert (await cloud.store.budgets.get("gate")).stated == Budget(9_000, 1)

    request_id = await cloud.store.budgets.want("gate", daily)
    command = (await hear(camera, "command")).command
    await camera.say(acceptance=pb.Acceptance(request_id=request_id))
    await camera.send(1)
    await camera.hear_stage(1, PERSISTED)  # said after the Acceptance, so taken after it

    asked = command.set_budget.byte_budget
    assert command.request_id == request_id
    assert (asked.container_bytes, asked.period_seconds) == (50_000_000, 86_400)
    assert (await cloud.store.budgets.get("gate")).state is BudgetState.ACCEPTED
    async with ToyCamera(cloud.grpc_address, toy_models) as restarted:
        await restarted.hello(epoch=EPOCH + 1)
        assert (await hear(restarted, "command")).command.request_id == request_id
        await restarted.say(refusal=pb.Refusal(request_id=request_id, detail="not metered"))
        await restarted.send(1)
        await restarted.hear_stage(1, PERSISTED)
    found = await cloud.store.budgets.get("gate")
    assert (found.state, found.detail) == (BudgetState.REFUSED, "not metered")


async def test_camera_that_breaks_its_budget_is_reported_and_served(
    cloud: RunningCloud, camera: ToyCamera, caplog: pytest.LogCaptureFixture
) -> None:
    await camera.hello(byte_budget=pb.ByteBudget(container_bytes=10**6, period_seconds=86_400))
    request_id = await cloud.store.budgets.want("gate", Budget(10, 86_400))
    await camera.send(1)
    await hear(camera, "command")
    assert "byte budget" not in caplog.text

    await camera.say(acceptance=pb.Acceptance(request_id=request_id))
    await camera.send(2)
    await camera.hear_stage(2, PERSISTED)

    assert "camera sends more than its byte budget" in caplog.text


async def test_budget_without_a_period_is_refused(camera: ToyCamera) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT.*byte_budget"):
        await camera.hello(byte_budget=pb.ByteBudget(container_bytes=1))


async def test_cameras_wait_while_the_queue_is_nearly_full(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels, redis_url: str
) -> None:
    async with ToyCamera(cloud.grpc_address, toy_models) as greedy:
        assert (await greedy.hello("other")).credit_bytes == 64 * 1024
        assert (await camera.hello()).credit_bytes == 64 * 1024
        await fill_queue(cloud, 18)  # nine tenths of its 20 places

        closed = (await hear(greedy, "credit")).credit
        await camera.send(1)  # it need not wait
        await camera.hear_stage(1, PERSISTED)
        await cloud.store.work.take("a detector", count=15)
        client = redis_client(redis_url)
        await client.xtrim(keys.WORK, maxlen=9, approximate=False)  # and has done most
        await client.aclose()
        opened = (await hear(greedy, "credit")).credit

    assert (closed.credit_bytes, opened.credit_bytes) == (0, 64 * 1024)


async def test_full_queue_says_when_to_come_again(cloud: RunningCloud, camera: ToyCamera) -> None:
    await camera.hello("other")
    await fill_queue(cloud, 20)

    await camera.send(1)

    nack = await camera.hear_nack(1)
    assert (nack.reason, nack.retryable) == (pb.NACK_REASON_QUEUE_FULL, True)
    assert nack.retry_after_ms == 1000


async def test_answers_to_an_enhancement_name_its_request(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    base = await camera.send(1)
    await camera.hear_stage(1, PERSISTED)
    enhancement = toy_models.enhance(1, base)

    for crc32c in (google_crc32c.value(enhancement), 1):
        message = pb.Enhancement(
            sequence=1, container=enhancement, container_crc32c=crc32c, request_id="wish"
        )
        await camera.say(enhancement=message)
    answers = await camera.hear_until(lambda answer: answer.WhichOneof("message") == "nack")

    assert {answer.ack.request_id for answer in answers[:-1]} == {"wish"}
    assert answers[-1].nack.request_id == "wish"


async def test_answer_to_a_command_repeats_its_name_and_nothing_longer(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    base = await camera.send(1)
    await camera.hear_stage(1, PERSISTED)
    enhancement = toy_models.enhance(1, base)

    message = pb.Enhancement(
        sequence=1,
        container=enhancement,
        container_crc32c=google_crc32c.value(enhancement),
        request_id=65 * "x",
    )
    await camera.say(enhancement=message)

    assert (await camera.hear_nack(1)).reason == pb.NACK_REASON_HEADER
    assert await cloud.store.get_enhancement(FrameId("gate", EPOCH, 1)) is None


async def test_command_that_a_broken_stream_swallowed_is_told_again(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    async with ToyCamera(cloud.grpc_address, toy_models) as broken:
        await broken.hello()
        await broken.send(1)
        await broken.hear_stage(1, PERSISTED)
        asked = await cloud.store.refetches.request(FrameId("gate", EPOCH, 1))
        await hear(broken, "command")

    await camera.hello()

    assert (await hear(camera, "command")).command.request_id == asked.request_id


async def test_newer_connection_to_another_process_ends_the_older(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels, redis_url: str
) -> None:
    await camera.hello()

    async with (
        open_cloud(cloud_settings(toy_models, redis_url, role="ingest")) as other,
        ToyCamera(other.grpc_address, toy_models) as newer,
    ):
        await newer.hello()
        ended = await camera.ended()
        await newer.send(1)
        await newer.hear_stage(1, PERSISTED)
        state = await other.store.cameras.get("gate")

    assert ended.status is grpc.StatusCode.ABORTED
    assert state is not None
    assert state.connected


async def test_drain_says_how_long_the_server_stays(cloud: RunningCloud, camera: ToyCamera) -> None:
    await camera.hello()

    cloud.life.request_stop()

    assert (await hear(camera, "drain")).drain.grace_ms == 1000


async def test_stream_that_introduces_itself_to_a_draining_server_is_sent_away(
    camera: ToyCamera, cloud: RunningCloud, toy_models: ToyModels
) -> None:
    await camera.hello()
    async with ToyCamera(cloud.grpc_address, toy_models) as late:
        await late.open()
        cloud.life.request_stop()
        await hear(camera, "drain")

        with pytest.raises(StreamEndedError, match="UNAVAILABLE"):
            await late.hello("late")


async def test_reflection_names_the_services(cloud: RunningCloud) -> None:
    async with grpc.aio.insecure_channel(cloud.grpc_address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await call.read()).list_services_response.service
        symbol = "slimwire.v1.IngestService"
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        described = (await call.read()).file_descriptor_response.file_descriptor_proto

    names = {service.name for service in listed}
    assert {"slimwire.v1.IngestService", "grpc.health.v1.Health"} <= names
    assert described


async def test_store_that_was_emptied_ends_the_stream_and_has_another_name(
    cloud: RunningCloud, toy_models: ToyModels, redis_url: str
) -> None:
    client = redis_client(redis_url)
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        first = await camera.hello()
        await camera.send(1)
        await camera.hear_stage(1, pb.STAGE_PERSISTED)
        await client.flushall()
        await client.aclose()
        await camera.send(2)
        end = await camera.ended()
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        second = await camera.hello(unpersisted_sequences=[2])
        await camera.send(2)
        await camera.hear_stage(2, pb.STAGE_PERSISTED)
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        third = await camera.hello()

    assert end.status is grpc.StatusCode.UNAVAILABLE
    assert "emptied" in end.detail
    assert first.store_id not in {"", second.store_id}
    assert second.store_id == third.store_id
