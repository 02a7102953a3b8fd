from __future__ import annotations

import grpc

from slimcloud.errors import FrameRefusedError
from slimcloud.ingest.camera_stream import CameraStream, mono_us
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.frames import make_result


async def test_camera_that_does_not_read_is_let_go() -> None:
    stream = CameraStream("gate", 1)
    for sequence in range(1, 2050):
        stream.ack(sequence, pb.STAGE_RECEIVED)

    assert (await stream.ended()).status is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_first_reason_to_end_counts() -> None:
    stream = CameraStream("gate", 1)

    stream.end(grpc.StatusCode.ABORTED, "newer connection")
    stream.end(grpc.StatusCode.INTERNAL, "too late")

    assert (await stream.ended()).status is grpc.StatusCode.ABORTED


async def test_stream_is_settled_when_every_frame_has_its_outcome() -> None:
    stream = CameraStream("gate", 1)
    stream.await_outcome(1)
    stream.await_outcome(2)

    stream.settle(1)
    assert not stream.settled.is_set()

    stream.settle(2)
    assert stream.settled.is_set()


async def test_detected_ack_carries_times_and_detections() -> None:
    stream = CameraStream("gate", 1)

    stream.ack(7, pb.STAGE_DETECTED, make_result(("car", 0.5)))

    answer = await stream.next_answer()
    assert answer is not None
    ack = answer.ack
    assert (ack.queue_us, ack.compute_us) == (125_000, 250_000)
    (found,) = ack.detections
    assert (found.x_min, found.y_min, found.x_max, found.y_max) == (1.0, 2.0, 3.5, 4.0)
    assert (found.label, found.score, found.class_id) == ("car", 0.5, 0)


async def test_received_is_told_with_persisted_or_by_itself_in_a_while() -> None:
    stream = CameraStream("gate", 1)

    stream.ack(1, pb.STAGE_RECEIVED)
    before = mono_us()
    while mono_us() == before:  # a later stage has a later time
        pass
    stream.ack(1, pb.STAGE_PERSISTED)
    stream.ack(2, pb.STAGE_RECEIVED)
    joined, alone = await stream.next_answer(), await stream.next_answer()
    stream.ack(3, pb.STAGE_RECEIVED)
    stream.nack(3, FrameRefusedError("QUEUE_FULL", "no room", retryable=True))
    received, refused = await stream.next_answer(), await stream.next_answer()

    assert joined is not None
    assert alone is not None
    assert received is not None
    assert refused is not None
    assert (joined.ack.sequence, joined.ack.stage) == (1, pb.STAGE_PERSISTED)
    assert joined.ack.server_mono_us <= before
    assert (alone.ack.sequence, alone.ack.stage) == (2, pb.STAGE_RECEIVED)
    assert (received.ack.sequence, refused.nack.sequence) == (3, 3)


async def test_last_answer_is_followed_by_nothing() -> None:
    stream = CameraStream("gate", 1)
    stream.ack(1, pb.STAGE_RECEIVED)

    stream.answer(None)

    assert await stream.next_answer() is not None
    assert await stream.next_answer() is None
