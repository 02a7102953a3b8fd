"""The uplink against a real gRPC server: stages, resume, refusals, credit, commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from slimedge.errors import ModelMismatchError, RefusedError
from slimedge.event import LinkState, LossReason, Nacked, Sent
from slimedge.link.uplink import Uplink
from slimedge.memory.ledger import LedgerFrame
from slimwire.v1 import ingest_pb2 as pb
from support.edge.edge_uplink import EPOCH, UplinkRecorder, make_ledger_frame, make_uplink
from support.edge.fake_cloud import FakeCloud
from support.edge.throttled_proxy import throttled_proxy


@asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(uplink.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_frame_arrives_whole_and_its_stages_come_back() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        frame = make_ledger_frame(1)
        container = frame.container

        await uplink.send(frame)
        await recorder.wait_until(lambda: recorder.detected == [1])

    assert cloud.frames[0].container == container
    assert cloud.damaged_sequences == []
    assert (recorder.received, recorder.persisted) == ([1], [1])
    assert cloud.hellos[0].camera_id == "cam-1"
    assert recorder.ledger.in_flight_bytes == 0


async def test_unpersisted_frames_are_sent_again_in_order_after_the_stream_broke() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.detected == [1])
        cloud.last_stage = pb.STAGE_RECEIVED
        for sequence in (2, 3):
            await uplink.send(make_ledger_frame(sequence))
        await recorder.wait_until(lambda: recorder.received == [1, 2, 3])

        cloud.last_stage = pb.STAGE_DETECTED
        cloud.break_streams()
        await recorder.wait_until(lambda: len(cloud.hellos) == 2 and recorder.is_up)
        await uplink.send(make_ledger_frame(4))
        await recorder.wait_until(lambda: len(recorder.detected) == 4)

    assert cloud.sequences == [1, 2, 3, 2, 3, 4]
    assert cloud.persisted[EPOCH] == {1, 2, 3, 4}
    assert [state for state, _ in recorder.links] == [
        LinkState.CONNECTING,
        LinkState.UP,
        LinkState.DOWN,
        LinkState.CONNECTING,
        LinkState.UP,
        LinkState.STOPPED,
    ]


async def test_what_the_cloud_had_persisted_is_not_sent_again_although_its_ack_was_lost() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.hold()
        await uplink.send(make_ledger_frame(1))
        await cloud.wait_until(lambda: cloud.persisted.get(EPOCH) == {1})

        await cloud.stop()
        await cloud.start()
        await recorder.wait_until(lambda: len(cloud.hellos) == 2 and recorder.is_up)
        await uplink.send(make_ledger_frame(2))
        await recorder.wait_until(lambda: 2 in recorder.detected)

    assert cloud.sequences == [1, 2]


async def test_frames_given_while_the_link_is_down_go_out_first_when_it_is_up() -> None:
    recorder = UplinkRecorder()
    cloud = FakeCloud()
    await cloud.start()
    await cloud.stop()
    async with running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: bool(recorder.links) and not recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await uplink.send(make_ledger_frame(2))

        await cloud.start()
        await recorder.wait_until(lambda: recorder.detected == [1, 2])

    await cloud.stop()
    assert cloud.sequences == [1, 2]


async def test_an_expired_frame_is_not_sent_again() -> None:
    recorder = UplinkRecorder()
    cloud = FakeCloud()
    await cloud.start()
    async with running(uplink := make_uplink(cloud.address, recorder, expire_seconds=5.0)):
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1, age_seconds=60.0))

    await cloud.stop()
    assert recorder.lost == [(1, LossReason.EXPIRED)]
    assert cloud.frames == []


async def test_a_late_frame_travels_as_backfill() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud() as cloud,
        running(uplink := make_uplink(cloud.address, recorder, deadline_seconds=1.0)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await uplink.send(make_ledger_frame(2, age_seconds=30.0))
        await recorder.wait_until(lambda: recorder.detected == [1, 2])

    assert [frame.lane for frame in cloud.frames] == [pb.LANE_LIVE, pb.LANE_BACKFILL]


async def test_another_model_ends_the_uplink_and_both_fingerprints_are_named() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud(b"cloudcld") as cloud:
        uplink = make_uplink(cloud.address, recorder, fingerprint=b"edgeedge")

        with pytest.raises(ModelMismatchError) as caught:
            await uplink.run()

    assert b"edgeedge".hex() in str(caught.value)
    assert b"cloudcld".hex() in str(caught.value)
    assert len(cloud.hellos) == 1


async def test_bytes_in_flight_never_exceed_the_credit() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud(credit_bytes=2500) as cloud,
        running(uplink := make_uplink(cloud.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.hold()
        sending = asyncio.create_task(_send_many(uplink, range(1, 6)))
        await cloud.wait_until(lambda: len(cloud.frames) == 2)

        # 2 x 1000 bytes are out and nothing is acknowledged: the third must wait.
        assert recorder.ledger.in_flight_bytes == 2000
        assert not sending.done()
        cloud.release()
        await recorder.wait_until(lambda: len(recorder.detected) == 5)

    assert recorder.max_in_flight_bytes == 2000


async def test_a_wider_credit_lets_waiting_frames_go() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud(credit_bytes=1500) as cloud,
        running(uplink := make_uplink(cloud.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.last_stage = pb.STAGE_UNSPECIFIED
        sending = asyncio.create_task(_send_many(uplink, (1, 2)))
        await cloud.wait_until(lambda: cloud.sequences == [1])

        cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=2000)))
        await cloud.wait_until(lambda: cloud.sequences == [1, 2])
        await sending

    assert recorder.ledger.credit_bytes == 2000


async def test_a_frame_above_the_clouds_limit_is_lost_and_named() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud(max_frame_bytes=1000) as cloud,
        running(uplink := make_uplink(cloud.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1, 1001))

    assert recorder.lost == [(1, LossReason.TOO_LARGE)]
    assert cloud.frames == []


async def test_a_damaged_frame_is_sent_again_and_a_refused_one_is_not() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        cloud.nacks = {
            1: pb.Nack(sequence=1, reason=pb.NACK_REASON_CRC, retryable=True),
            2: pb.Nack(sequence=2, reason=pb.NACK_REASON_QUEUE_FULL, retryable=True),
        }
        await recorder.wait_until(lambda: recorder.is_up)

        await uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.detected == [1])
        await uplink.send(make_ledger_frame(2))
        await recorder.wait_until(lambda: len(recorder.of(Nacked)) == 2)
        await uplink.send(make_ledger_frame(3))
        await recorder.wait_until(lambda: recorder.detected == [1, 3])

    assert cloud.sequences == [1, 1, 2, 3]
    assert recorder.ledger.in_flight_bytes == 0


async def test_an_enhancement_counts_against_the_credit_until_it_is_acknowledged() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.detected == [1])
        cloud.tell(
            pb.StreamFramesResponse(
                command=pb.Command(
                    request_id="r-1", refetch_enhancement=pb.RefetchEnhancement(sequence=1)
                )
            )
        )
        while not recorder.refetches:
            await recorder.ledger.may_go.wait()
        assert [asked.request_id for asked in recorder.refetches] == ["r-1"]
        cloud.hold()

        await uplink.send_enhancement("r-1", 1, b"enhancement")

        assert recorder.ledger.in_flight_bytes == len(b"enhancement")
        cloud.release()
        while recorder.ledger.in_flight_bytes:
            await recorder.ledger.may_go.wait()

    assert cloud.enhancements[0].request_id == "r-1"
    assert cloud.enhancements[0].container == b"enhancement"


async def test_a_nack_of_an_enhancement_after_its_receipt_leaves_the_frame() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        cloud.last_stage = pb.STAGE_PERSISTED
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.persisted == [1])

        await uplink.send_enhancement("r-1", 1, b"enhancement")
        full = pb.Nack(
            sequence=1, reason=pb.NACK_REASON_QUEUE_FULL, retryable=True, request_id="r-1"
        )
        cloud.tell(pb.StreamFramesResponse(nack=full))
        cloud.tell(pb.StreamFramesResponse(ack=pb.Ack(sequence=1, stage=pb.STAGE_DETECTED)))
        await recorder.wait_until(lambda: bool(recorder.detected))

    assert (recorder.detected, recorder.lost) == ([1], [])
    assert recorder.ledger.in_flight_bytes == 0


async def test_a_command_that_the_edge_does_not_know_is_refused() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.tell(pb.StreamFramesResponse(command=pb.Command(request_id="of-the-future")))
        await cloud.wait_until(lambda: bool(cloud.refusals))

    assert cloud.refusals[0].request_id == "of-the-future"


async def test_frames_that_wait_for_their_turn_when_the_edge_stops_are_kept() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud(credit_bytes=1000) as cloud,
        running(uplink := make_uplink(cloud.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.hold()
        await uplink.send(make_ledger_frame(1))
        waiting = [asyncio.create_task(uplink.send(make_ledger_frame(n))) for n in (2, 3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert [frame.sequence for frame in recorder.ledger.unpersisted] == [1, 2, 3]


async def test_a_stream_that_is_left_while_a_frame_is_written_does_not_cancel_its_sender() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud(credit_bytes=10**8) as cloud,
        throttled_proxy(cloud.address, 20_000) as proxy,
        running(uplink := make_uplink(proxy.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        sending = asyncio.create_task(_send_many(uplink, (1, 2, 3), 3 * 10**6))
        await asyncio.sleep(0.2)
        assert not sending.done(), "the transport takes all of it: the test shows nothing"
        told = [event.sequence for event in recorder.of(Sent)]
        on_their_way = [frame.sequence for frame in recorder.ledger.unpersisted]

        cloud.tell(pb.StreamFramesResponse(drain=pb.Drain(reconnect_after_ms=60_000, grace_ms=100)))
        await recorder.wait_until(lambda: LinkState.DOWN in [state for state, _ in recorder.links])
        proxy.cut()  # else the write ends with the keepalive's patience
        await sending

    assert told == on_their_way, "each may be answered before its writer goes on"
    assert [frame.sequence for frame in recorder.ledger.unpersisted] == [1, 2, 3]


async def test_a_drain_reconnects_after_the_time_that_the_cloud_named() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(uplink := make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)

        cloud.tell(pb.StreamFramesResponse(drain=pb.Drain(reconnect_after_ms=30)))
        await recorder.wait_until(lambda: len(cloud.hellos) == 2 and recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.detected == [1])

    assert any("about to stop" in detail for _, detail in recorder.links)


async def test_a_cut_link_is_mended_without_losing_a_frame() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud() as cloud,
        throttled_proxy(cloud.address, 1e6) as proxy,
        running(uplink := make_uplink(proxy.address, recorder)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        for sequence in range(1, 21):
            if sequence in (7, 14):
                proxy.cut()
            await uplink.send(make_ledger_frame(sequence, 5000))
        # Not for the results: those of persisted frames may be lost with the link.
        await cloud.wait_until(lambda: set(cloud.sequences) == set(range(1, 21)))

    assert recorder.lost == []
    assert proxy.connections >= 2


async def _send_many(
    uplink: Uplink, sequences: range | tuple[int, ...], size_bytes: int = 1000
) -> None:
    for sequence in sequences:
        await uplink.send(make_ledger_frame(sequence, size_bytes))


async def test_each_stream_without_an_answer_is_given_twice_as_long() -> None:
    recorder = UplinkRecorder()
    lived = []
    async with (
        FakeCloud() as cloud,
        running(uplink := make_uplink(cloud.address, recorder, answer_seconds=0.2)),
    ):
        cloud.last_stage = pb.STAGE_UNSPECIFIED  # as if the frame were still on the line
        await recorder.wait_until(lambda: recorder.is_up)
        await uplink.send(make_ledger_frame(1))
        for _ in range(4):
            await recorder.wait_until(lambda: recorder.is_up)
            begin = time.monotonic()
            await recorder.wait_until(lambda: not recorder.is_up)
            lived.append(time.monotonic() - begin)
        cloud.last_stage = pb.STAGE_DETECTED
        await recorder.wait_until(lambda: recorder.detected == [1])

    assert lived[3] > 0.2 * 2**3 * 0.9


async def test_a_slow_line_delivers_what_stands_on_it_for_longer_than_an_answer_may_take() -> None:
    recorder = UplinkRecorder()
    async with (
        FakeCloud() as cloud,
        throttled_proxy(cloud.address, 20_000) as proxy,  # 0.8 s a frame
        running(uplink := make_uplink(proxy.address, recorder, answer_seconds=0.2)),
    ):
        await recorder.wait_until(lambda: recorder.is_up)
        await _send_many(uplink, (1, 2, 3), 16_000)
        await recorder.wait_until(lambda: recorder.persisted == [1, 2, 3])
        streams = len(cloud.hellos)
        await _send_many(uplink, (4, 5, 6), 16_000)
        await recorder.wait_until(lambda: recorder.detected[-3:] == [4, 5, 6])

    assert len(cloud.hellos) == streams, "the line is known, so its streams last"


async def test_a_method_that_was_there_before_is_asked_for_again() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud, running(make_uplink(cloud.address, recorder)):
        await recorder.wait_until(lambda: recorder.is_up)
        cloud.hello_refusals = [grpc.StatusCode.UNIMPLEMENTED] * 2
        cloud.break_streams()
        await recorder.wait_until(lambda: len(cloud.hellos) == 4 and recorder.is_up)


async def test_a_cloud_that_never_knew_the_method_ends_the_uplink() -> None:
    async with FakeCloud() as cloud:
        cloud.hello_refusals = [grpc.StatusCode.UNIMPLEMENTED]
        with pytest.raises(RefusedError, match="UNIMPLEMENTED"):
            await make_uplink(cloud.address, UplinkRecorder()).run()


async def test_two_edges_of_one_name_throw_each_other_out_ever_more_rarely() -> None:
    recorder = UplinkRecorder()
    async with FakeCloud() as cloud:
        uplink = make_uplink(cloud.address, recorder, reconnect_max_seconds=60.0)
        async with running(uplink):
            while len(recorder.detected) < 8:
                await recorder.wait_until(lambda: recorder.is_up)
                frame = make_ledger_frame(len(recorder.detected) + 1)
                await uplink.send(frame)
                await _detected(recorder, frame)
                cloud.break_streams(grpc.StatusCode.ABORTED)
                await recorder.wait_until(lambda: not recorder.is_up)

    down = [detail for state, detail in recorder.links if state is LinkState.DOWN]
    # uniform up to 0.02 s in the beginning, and up to 2.56 s in the end
    assert max(float(detail.split()[-2]) for detail in down[-3:]) > 0.05


async def _detected(recorder: UplinkRecorder, frame: LedgerFrame) -> None:
    await recorder.wait_until(lambda: frame.sequence in recorder.detected)
