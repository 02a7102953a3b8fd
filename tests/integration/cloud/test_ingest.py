"""The wire, with a real server on loopback, a real Redis and the toy models."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import google_crc32c
import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slimcloud.errors import FrameNotFoundError
from slimcloud.frame_id import FrameId
from slimcloud.store.cameras.refetches import RefetchState
from slimcloud.store.records import FrameState
from slimcodec.container import pack_container, parse_container
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.whole_cloud import (
    EPOCH,
    RunningCloud,
    StreamEndedError,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)

DETECTED, PERSISTED, RECEIVED = pb.STAGE_DETECTED, pb.STAGE_PERSISTED, pb.STAGE_RECEIVED


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def cloud(redis_url: str, toy_models: ToyModels) -> AsyncIterator[RunningCloud]:
    settings = cloud_settings(toy_models, redis_url, max_frame_bytes=4096, max_pixels=128 * 128)
    async with open_cloud(settings) as cloud:
        yield cloud


@pytest.fixture
async def camera(cloud: RunningCloud, toy_models: ToyModels) -> AsyncIterator[ToyCamera]:
    async with ToyCamera(cloud.grpc_address, toy_models) as camera:
        yield camera


async def test_capture_time_of_the_year_2255_does_not_stand_first(
    camera: ToyCamera, cloud: RunningCloud
) -> None:
    await camera.hello()
    for sequence, age_seconds in ((1, 0.0), (2, -7.2e9), (3, 0.0)):
        await camera.send(sequence, age_seconds=age_seconds)
        await camera.hear_stage(sequence, DETECTED)

    page = await cloud.store.index.page()

    assert [frame.frame_id.sequence for frame in page.records] == [3, 2, 1]


async def test_clock_of_a_camera_is_measured_and_taken_off(
    camera: ToyCamera, cloud: RunningCloud
) -> None:
    await camera.hello()
    await camera.send(1, age_seconds=-3600.0)
    await camera.hear_stage(1, DETECTED)

    record = await cloud.store.cameras.get("gate")
    assert record is not None
    assert 3500e6 < record.clock_offset_us <= 3600e6
    assert record.lag_seconds is not None
    assert 0 <= record.lag_seconds < 100


async def test_frame_is_received_persisted_and_detected_in_that_order(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    welcome = await camera.hello()
    assert (welcome.resume_after_sequence, welcome.credit_bytes) == (0, 64 * 1024)
    assert welcome.max_frame_bytes == 4096

    container = await camera.send(1)
    answers = await camera.hear_until(lambda answer: answer.ack.stage == DETECTED)

    stages = [answer.ack.stage for answer in answers]
    assert [stage for stage in stages if stage != RECEIVED] == [PERSISTED, DETECTED]
    assert RECEIVED not in stages[1:]  # it is joined with PERSISTED where that is soon
    assert {answer.ack.received_bytes_total for answer in answers} == {len(container)}
    times = [answer.ack.server_mono_us for answer in answers]
    assert times == sorted(times)
    detected = answers[-1].ack
    assert detected.compute_us > 0
    frame_id = FrameId("gate", EPOCH, 1)
    result = await cloud.store.get_detections(frame_id)
    assert result is not None
    assert [found.label for found in detected.detections] == [
        found.label for found in result.detections
    ]
    assert await cloud.store.get_container(frame_id) == container


async def test_detections_on_the_wire_are_those_of_the_detector(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()
    for sequence in range(1, 6):
        await camera.send(sequence)
    seen = [await camera.hear_stage(sequence, DETECTED) for sequence in range(1, 6)]

    found = [detection for ack in seen for detection in ack.detections]
    assert found, "the toy detector sees nothing at all: the test would prove nothing"
    for detection in found:
        assert 0 <= detection.x_min < detection.x_max <= 64
        assert 0 <= detection.y_min < detection.y_max <= 48
        assert 0.01 <= detection.score <= 1
        assert re.fullmatch(rf"thing-{detection.class_id:02d}", detection.label)


async def test_damaged_frame_gets_a_nack_and_the_stream_lives_on(camera: ToyCamera) -> None:
    await camera.hello()

    await camera.send(1, crc32c=12345)
    await camera.send(2, b"no container at all")
    await camera.send(3)

    crc = await camera.hear_nack(1)
    assert (crc.reason, crc.retryable) == (pb.NACK_REASON_CRC, True)
    assert "00003039" in crc.detail
    header = await camera.hear_nack(2)
    assert (header.reason, header.retryable) == (pb.NACK_REASON_HEADER, False)
    await camera.hear_stage(3, DETECTED)


async def test_section_with_a_symbol_too_many_is_refused_before_it_is_kept(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    """All checksums are right; the decoder would refuse it by its header alone."""
    good = parse_container(toy_models.encode(1))
    first, *others = good.sections
    first = replace(first, symbol_count=first.symbol_count + 1)
    await camera.hello()

    await camera.send(1, pack_container(replace(good, sections=(first, *others))))

    nack = await camera.hear_nack(1)
    assert (nack.reason, nack.retryable) == (pb.NACK_REASON_HEADER, False)
    assert f"has {first.symbol_count} symbols" in nack.detail
    with pytest.raises(FrameNotFoundError):
        await cloud.store.get_frame(FrameId("gate", EPOCH, 1))


async def test_frame_beyond_a_limit_is_too_large(camera: ToyCamera, toy_models: ToyModels) -> None:
    await camera.hello()

    await camera.send(1, bytes(5000))
    await camera.send(2, toy_models.encode(2, hw=(129, 128)))

    for sequence, word in ((1, "4096"), (2, "at most 16384")):
        nack = await camera.hear_nack(sequence)
        assert nack.reason == pb.NACK_REASON_TOO_LARGE
        assert word in nack.detail


async def test_container_of_another_model_is_refused(
    camera: ToyCamera, toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = bytearray(toy_models.encode(1))
    other[6:14] = bytes(8)
    other[23:27] = google_crc32c.value(bytes(other[:23])).to_bytes(4, "little")
    await camera.hello()

    await camera.send(1, bytes(other))

    nack = await camera.hear_nack(1)
    assert nack.reason == pb.NACK_REASON_MODEL
    assert toy_models.artifact.fingerprint.hex() in nack.detail
    assert bytes(8).hex() in nack.detail


async def test_frame_that_waited_beyond_its_deadline_is_expired(camera: ToyCamera) -> None:
    await camera.hello()

    await camera.send(1, deadline_ms=60_000)
    await camera.send(2, deadline_ms=60_000, age_seconds=600)
    await camera.send(3, deadline_ms=0, age_seconds=600)

    nack = await camera.hear_nack(2)
    assert nack.reason == pb.NACK_REASON_EXPIRED
    await camera.hear_stage(3, DETECTED)


async def test_damaged_entropy_code_or_not_no_frame_goes_unanswered(
    camera: ToyCamera, toy_models: ToyModels
) -> None:
    """Sections whose symbols are damaged but whose checksums are right reach the decoder."""
    good = parse_container(toy_models.encode(1))
    damaged = [
        replace(section, data=b"\0" + b"\x55" * len(section.data)) for section in good.sections
    ]
    await camera.hello()

    await camera.send(1, pack_container(replace(good, sections=tuple(damaged))))
    await camera.send(2)

    answers = await camera.hear_until(
        lambda answer: answer.nack.sequence == 1 or answer.ack.stage == DETECTED
    )
    if answers[-1].WhichOneof("message") == "nack":
        assert answers[-1].nack.reason == pb.NACK_REASON_DECODE
        await camera.hear_stage(2, DETECTED)


async def test_duplicate_is_acked_again_with_its_detections(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()
    container = await camera.send(1)
    first = await camera.hear_stage(1, DETECTED)

    await camera.send(1, container)
    again = await camera.hear_stage(1, DETECTED)

    assert list(again.detections) == list(first.detections)
    totals = await cloud.store.totals()
    assert (totals.frames, totals.detected) == (1, 1)


async def test_camera_of_another_model_is_refused_with_both_fingerprints(
    camera: ToyCamera, toy_models: ToyModels
) -> None:
    with pytest.raises(Exception, match="FAILED_PRECONDITION") as caught:
        await camera.hello(fingerprint=bytes(range(8)))

    assert "0001020304050607" in str(caught.value)
    assert toy_models.artifact.fingerprint.hex() in str(caught.value)


@pytest.mark.parametrize("camera_id", ["", "a" * 65, "a/b", "né", "a:b"])
async def test_impossible_camera_id_is_refused(camera: ToyCamera, camera_id: str) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT.*camera_id"):
        await camera.hello(camera_id)


async def test_stream_that_does_not_begin_with_hello_is_refused(camera: ToyCamera) -> None:
    await camera.send(1)

    ended = await camera.ended()

    assert ended.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "first message is frame" in ended.detail


async def test_second_hello_ends_the_stream(camera: ToyCamera) -> None:
    await camera.hello()
    await camera.say(hello=pb.Hello(camera_id="gate"))

    assert (await camera.ended()).status is grpc.StatusCode.INVALID_ARGUMENT


async def say_raw(address: str, *messages: bytes) -> StreamEndedError:
    """Say bytes that no client of ours would, and hear how the stream ends."""
    path = "/slimwire.v1.IngestService/StreamFrames"
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(path, None, None)(iter(messages))
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as exc:
            return StreamEndedError(exc.code(), exc.details() or "")
    raise EOFError


async def test_first_message_of_garbage_is_one_line_of_log(
    cloud: RunningCloud, caplog: pytest.LogCaptureFixture
) -> None:
    end = await say_raw(cloud.grpc_address, b"\xff" * 100)

    assert end.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be read" in end.detail
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [(line.levelname, line.exc_info) for line in lines] == [("WARNING", None)]


async def test_garbage_after_a_hello_lets_the_camera_come_back(
    cloud: RunningCloud, toy_models: ToyModels, caplog: pytest.LogCaptureFixture
) -> None:
    fingerprint = toy_models.artifact.fingerprint
    hello = pb.Hello(camera_id="gate", epoch=EPOCH, model_fingerprint=fingerprint)
    first = pb.StreamFramesRequest(hello=hello).SerializeToString()

    end = await say_raw(cloud.grpc_address, first, b"\xff" * 100)

    assert end.status is grpc.StatusCode.DATA_LOSS  # which an edge takes for a broken link
    assert not [record for record in caplog.records if record.exc_info]


async def test_hello_of_a_megabyte_is_refused(cloud: RunningCloud) -> None:
    hello = pb.StreamFramesRequest(hello=pb.Hello(camera_id="gate", model_name="x" * 2**20))

    end = await say_raw(cloud.grpc_address, hello.SerializeToString())

    assert end.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "65536" in end.detail


async def test_ten_damaged_frames_in_a_row_end_the_stream(camera: ToyCamera) -> None:
    await camera.hello()
    for sequence in range(1, 11):
        await camera.send(sequence, crc32c=1)

    assert (await camera.ended()).status is grpc.StatusCode.DATA_LOSS


async def test_newer_connection_of_a_camera_ends_the_older(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()

    async with ToyCamera(cloud.grpc_address, toy_models) as newer:
        await newer.hello()
        assert (await camera.ended()).status is grpc.StatusCode.ABORTED

        await newer.send(1)
        await newer.hear_stage(1, DETECTED)
        state = await cloud.store.cameras.get("gate")
        assert state is not None
        assert state.connected


async def test_reconnect_resumes_after_what_is_persisted(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    await camera.send(7)
    await camera.hear_stage(7, PERSISTED)

    async with ToyCamera(cloud.grpc_address, toy_models) as same_epoch:
        assert (await same_epoch.hello()).resume_after_sequence == 7
    async with ToyCamera(cloud.grpc_address, toy_models) as restarted:
        assert (await restarted.hello(epoch=EPOCH + 1)).resume_after_sequence == 0


async def test_last_word_is_answered_before_the_stream_ends(camera: ToyCamera) -> None:
    await camera.hello()
    await camera.send(1)
    await camera.say_last()

    await camera.hear_stage(1, PERSISTED)
    assert (await camera.hear()).ack.stage == DETECTED
    with pytest.raises(EOFError):
        await camera.hear()


async def test_refetch_is_asked_of_the_camera_and_its_answer_is_stored(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    await camera.hello()
    base = await camera.send(1)
    await camera.hear_stage(1, DETECTED)

    asked = await cloud.store.refetches.request(FrameId("gate", EPOCH, 1))
    command = (await camera.hear_until(lambda answer: answer.WhichOneof("message") == "command"))[
        -1
    ].command
    assert (command.request_id, command.refetch_enhancement.sequence) == (asked.request_id, 1)

    enhancement = toy_models.enhance(1, base)
    await camera.say(
        enhancement=pb.Enhancement(
            sequence=1,
            container=enhancement,
            container_crc32c=google_crc32c.value(enhancement),
            request_id=asked.request_id,
        )
    )
    await camera.hear_stage(1, PERSISTED)

    assert await cloud.store.get_enhancement(FrameId("gate", EPOCH, 1)) == enhancement
    assert (await cloud.store.refetches.get(asked.request_id)).state is RefetchState.DONE


async def test_refetch_waits_for_a_camera_that_is_away(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels
) -> None:
    async with ToyCamera(cloud.grpc_address, toy_models) as before:
        await before.hello()
        await before.send(1)
        await before.hear_stage(1, DETECTED)

    asked = await cloud.store.refetches.request(FrameId("gate", EPOCH, 1))
    await camera.hello()

    assert (await camera.hear()).command.request_id == asked.request_id


async def test_refusal_of_a_refetch_is_noted_with_its_words(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()
    await camera.send(1)
    await camera.hear_stage(1, DETECTED)
    asked = await cloud.store.refetches.request(FrameId("gate", EPOCH, 1))
    assert (await camera.hear()).command.request_id == asked.request_id

    await camera.say(refusal=pb.Refusal(request_id=asked.request_id, detail="left the ring"))
    await camera.send(2)
    await camera.hear_stage(2, PERSISTED)  # said after the refusal, so taken after it

    answered = await cloud.store.refetches.get(asked.request_id)
    assert (answered.state, answered.detail) == (RefetchState.REFUSED, "left the ring")


@pytest.mark.parametrize("fault", ["unknown frame", "another picture", "a base"])
async def test_enhancement_that_does_not_fit_gets_a_nack(
    cloud: RunningCloud, camera: ToyCamera, toy_models: ToyModels, fault: str
) -> None:
    await camera.hello()
    base = await camera.send(1)
    await camera.hear_stage(1, DETECTED)
    sequence, container = 1, toy_models.enhance(1, base)
    if fault == "unknown frame":
        sequence = 2
    elif fault == "another picture":
        container = toy_models.enhance(1, toy_models.encode(1, hw=(64, 64)), hw=(64, 64))
    else:
        container = base

    await camera.say(
        enhancement=pb.Enhancement(
            sequence=sequence,
            container=container,
            container_crc32c=google_crc32c.value(container),
        )
    )

    nack = await camera.hear_nack(sequence)
    expected = pb.NACK_REASON_EXPIRED if fault == "unknown frame" else pb.NACK_REASON_HEADER
    assert nack.reason == expected
    await camera.send(3)
    await camera.hear_stage(3, DETECTED)


async def test_full_queue_gets_a_nack_that_may_be_repeated(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(toy_models, redis_url, role="ingest", max_queue_size=1)
    async with open_cloud(settings) as cloud, ToyCamera(cloud.grpc_address, toy_models) as camera:
        await camera.hello()
        await camera.send(1)
        await camera.send(2)

        nack = await camera.hear_nack(2)

        assert (nack.reason, nack.retryable) == (pb.NACK_REASON_QUEUE_FULL, True)


async def test_stopping_cloud_asks_cameras_to_come_back(
    cloud: RunningCloud, camera: ToyCamera
) -> None:
    await camera.hello()

    cloud.life.request_stop()

    answers = await camera.hear_until(lambda answer: answer.WhichOneof("message") == "drain")
    assert answers[-1].drain.reconnect_after_ms == 1000


async def test_many_cameras_are_each_told_their_own(
    cloud: RunningCloud, toy_models: ToyModels
) -> None:
    async def one(number: int) -> int:
        async with ToyCamera(cloud.grpc_address, toy_models) as camera:
            await camera.hello(f"camera-{number}")
            for sequence in range(1, 4):
                await camera.send(sequence)
            acks = [await camera.hear_stage(sequence, DETECTED) for sequence in range(1, 4)]
            return len(acks)

    assert await asyncio.gather(*(one(number) for number in range(5))) == [3] * 5
    assert (await cloud.store.totals()).detected == 15
    for number in range(5):
        record = await cloud.store.get_frame(FrameId(f"camera-{number}", EPOCH, 3))
        assert record.state is FrameState.DETECTED


async def test_health_service_says_serving(cloud: RunningCloud) -> None:
    async with grpc.aio.insecure_channel(cloud.grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "slimwire.v1.IngestService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
