"""What waited in the spool goes out behind live frames, over a real stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from slimcontrol.budget import Budget, BudgetAccount
from slimedge.event import Backfilled, LinkState
from slimedge.gap import Gap, GapReason
from slimedge.link.backfill import Backfill
from slimedge.link.uplink import Uplink
from slimedge.memory.spool import Spool
from slimedge.memory.spool_worker import SpoolWorker
from slimwire.v1 import ingest_pb2 as pb
from support.edge.edge_uplink import (
    EPOCH,
    UplinkRecorder,
    make_ledger_frame,
    make_spool_worker,
    make_uplink,
)
from support.edge.fake_cloud import FakeCloud

EARLIER_EPOCH = 3


@dataclass(frozen=True)
class Sender:
    """An uplink with a spool, and who is told."""

    uplink: Uplink
    spool: SpoolWorker
    recorder: UplinkRecorder


@asynccontextmanager
async def sending(
    address: str,
    path: Path,
    deadline_seconds: float = 0.0,
    answer_seconds: float = 30.0,
) -> AsyncIterator[Sender]:
    recorder = UplinkRecorder()
    spool = make_spool_worker(recorder, path)
    uplink = make_uplink(address, recorder, spool=spool, deadline_seconds=deadline_seconds)
    backfill = Backfill(
        spool,
        recorder.ledger,
        uplink,
        recorder.controller,
        BudgetAccount(None, lambda: recorder.ledger.sent_bytes, time.monotonic),
        recorder,
        time.monotonic,
        answer_seconds,
    )
    tasks = [asyncio.create_task(part.run()) for part in (spool, uplink, backfill)]
    try:
        await recorder.wait_until(lambda: recorder.is_up)
        yield Sender(uplink, spool, recorder)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await spool.close()


def fill(path: Path, *sequences: int) -> None:
    """What an earlier start of the edge left behind."""
    spool = Spool(path, EARLIER_EPOCH, max_bytes=10**7)
    for sequence in sequences:
        frame = make_ledger_frame(sequence)
        spool.put(frame.header, frame.container)
    spool.add_gap(Gap(GapReason.SPOOL_FULL, 5.0, 9.5, 40, 4000, 1, 40, EARLIER_EPOCH))
    spool.close()


def is_spool_empty(path: Path) -> bool:
    spool = Spool(path, 99)
    try:
        return spool.next_frame(0) is None and spool.next_gap(0) is None
    finally:
        spool.close()


async def test_an_earlier_starts_frames_and_gaps_are_sent_under_their_own_names(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cam-1.spool"
    fill(path, 41, 42, 43)
    async with FakeCloud() as cloud, sending(cloud.address, path) as sender:
        recorder = sender.recorder
        await recorder.wait_until(lambda: len(recorder.of(Backfilled)) == 3)

    assert cloud.persisted[EARLIER_EPOCH] == {41, 42, 43}
    assert [(frame.epoch, frame.sequence) for frame in cloud.frames] == [
        (EARLIER_EPOCH, 41),
        (EARLIER_EPOCH, 42),
        (EARLIER_EPOCH, 43),
    ]
    assert {frame.lane for frame in cloud.frames} == {pb.LANE_BACKFILL}
    assert {frame.deadline_ms for frame in cloud.frames} == {0}
    assert {frame.capture_time_mono_us for frame in cloud.frames} == {0}
    assert cloud.damaged_sequences == []
    (gap,) = cloud.gaps
    assert (gap.epoch, gap.reason) == (EARLIER_EPOCH, pb.GAP_REASON_SPOOL_FULL)
    assert (gap.from_time_unix_us, gap.to_time_unix_us) == (5_000_000, 9_500_000)
    assert (gap.dropped_frames, gap.dropped_bytes) == (40, 4000)
    assert (gap.first_sequence, gap.last_sequence) == (1, 40)
    assert is_spool_empty(path)


async def test_live_frames_go_first_and_only_one_kept_frame_is_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "cam-1.spool"
    fill(path, *range(41, 61))
    async with FakeCloud() as cloud:
        cloud.hold()
        async with sending(cloud.address, path) as sender:
            cloud.release()
            await cloud.wait_until(lambda: len(cloud.frames) >= 2)
            cloud.hold()
            for sequence in range(1, 6):
                await sender.uplink.send(make_ledger_frame(sequence))
            await cloud.wait_until(lambda: {1, 2, 3, 4, 5} <= set(cloud.sequences))
            waiting = [frame for frame in cloud.frames if frame.lane == pb.LANE_BACKFILL]
            cloud.release()
            recorder = sender.recorder
            await recorder.wait_until(lambda: len(recorder.of(Backfilled)) == 20)

    assert len(waiting) <= 4, "none was sent behind the live ones while they were on their way"
    assert cloud.persisted[EPOCH] == {1, 2, 3, 4, 5}
    assert cloud.persisted[EARLIER_EPOCH] == set(range(41, 61))


async def test_a_stream_that_breaks_leaves_late_frames_to_the_backfill(tmp_path: Path) -> None:
    path = tmp_path / "cam-1.spool"
    async with FakeCloud() as cloud, sending(cloud.address, path, deadline_seconds=60) as sender:
        recorder = sender.recorder
        cloud.last_stage = pb.STAGE_RECEIVED
        await sender.uplink.send(make_ledger_frame(1, age_seconds=100))
        await sender.uplink.send(make_ledger_frame(2))
        await recorder.wait_until(lambda: recorder.received == [1, 2])

        cloud.last_stage = pb.STAGE_DETECTED
        cloud.break_streams()
        await recorder.wait_until(lambda: bool(recorder.of(Backfilled)))
        await recorder.wait_until(lambda: 2 in recorder.detected)

    again = [(frame.sequence, frame.lane, frame.epoch) for frame in cloud.frames[2:]]
    assert sorted(again) == [(1, pb.LANE_BACKFILL, 0), (2, pb.LANE_LIVE, 0)]
    assert list(cloud.hellos[1].unpersisted_sequences) == [1, 2]
    assert recorder.lost == []
    assert is_spool_empty(path)


async def test_what_the_cloud_has_no_room_for_is_kept_and_sent_later(tmp_path: Path) -> None:
    path = tmp_path / "cam-1.spool"
    async with FakeCloud() as cloud, sending(cloud.address, path) as sender:
        cloud.nacks = {
            1: pb.Nack(
                sequence=1, reason=pb.NACK_REASON_QUEUE_FULL, retryable=True, retry_after_ms=50
            )
        }
        await sender.uplink.send(make_ledger_frame(1))
        recorder = sender.recorder
        await recorder.wait_until(lambda: bool(recorder.of(Backfilled)))

    assert [frame.lane for frame in cloud.frames] == [pb.LANE_LIVE, pb.LANE_BACKFILL]
    assert sender.recorder.lost == []


async def test_what_the_cloud_refuses_for_good_becomes_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "cam-1.spool"
    fill(path, 41)
    async with FakeCloud() as cloud:
        cloud.nacks = {41: pb.Nack(sequence=41, reason=pb.NACK_REASON_MODEL, epoch=EARLIER_EPOCH)}
        async with sending(cloud.address, path) as sender:
            await cloud.wait_until(lambda: len(cloud.gaps) == 2)
            while await sender.spool.next_gap(0) is not None:  # until its answer is here
                await asyncio.sleep(0.01)

    refused = cloud.gaps[1]
    assert (refused.reason, refused.epoch) == (pb.GAP_REASON_REFUSED, EARLIER_EPOCH)
    assert (refused.first_sequence, refused.dropped_frames) == (41, 1)
    assert cloud.sequences == [41]
    assert is_spool_empty(path)


async def test_a_gap_without_an_answer_stops_no_frames_and_is_told_again(tmp_path: Path) -> None:
    """A cloud whose store is full says nothing to a gap."""
    path = tmp_path / "cam-1.spool"
    fill(path, 41)
    async with FakeCloud() as cloud:
        cloud.unanswered_gaps = 1
        async with sending(cloud.address, path, answer_seconds=0.1) as sender:
            recorder = sender.recorder
            await recorder.wait_until(lambda: bool(recorder.of(Backfilled)))
            while await sender.spool.next_gap(0) is not None:
                sender.spool.arrived.set()  # spares the test the pause of an idle spool
                await asyncio.sleep(0.01)

    assert [gap.gap_number for gap in cloud.gaps] == 2 * [cloud.gaps[0].gap_number]
    assert is_spool_empty(path)


async def test_a_credit_of_nothing_stops_frames_until_there_is_another(tmp_path: Path) -> None:
    async with FakeCloud() as cloud, sending(cloud.address, tmp_path / "s") as sender:
        recorder = sender.recorder
        cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=0)))
        while recorder.ledger.credit_bytes:
            await recorder.ledger.may_go.wait()
        sent = asyncio.create_task(sender.uplink.send(make_ledger_frame(1)))
        cloud.tell(_budget("b-0"))
        while recorder.budget.budget is None:
            await recorder.ledger.may_go.wait()
        assert cloud.frames == []

        cloud.tell(pb.StreamFramesResponse(credit=pb.Credit(credit_bytes=50_000)))
        await sent
        await recorder.wait_until(lambda: recorder.detected == [1])


async def test_a_budget_is_taken_and_accepted(tmp_path: Path) -> None:
    async with FakeCloud() as cloud, sending(cloud.address, tmp_path / "s") as sender:
        cloud.tell(_budget("b-1"))
        await cloud.wait_until(lambda: cloud.acceptances == ["b-1"])

    assert sender.recorder.budget.budget == Budget(1000, 60)


async def test_a_drain_hears_what_is_outstanding_before_it_leaves(tmp_path: Path) -> None:
    async with FakeCloud() as cloud, sending(cloud.address, tmp_path / "s") as sender:
        recorder = sender.recorder
        cloud.last_stage = pb.STAGE_RECEIVED
        await sender.uplink.send(make_ledger_frame(1))
        await recorder.wait_until(lambda: recorder.received == [1])

        cloud.tell(pb.StreamFramesResponse(drain=pb.Drain(reconnect_after_ms=20, grace_ms=20_000)))
        cloud.tell(pb.StreamFramesResponse(ack=pb.Ack(sequence=1, stage=pb.STAGE_PERSISTED)))
        await recorder.wait_until(lambda: len(cloud.hellos) == 2 and recorder.is_up)

    assert recorder.persisted == [1]
    assert cloud.sequences == [1], "it was not sent again"
    assert [state for state, _ in recorder.links].count(LinkState.DOWN) == 1


def _budget(request_id: str) -> pb.StreamFramesResponse:
    budget = pb.ByteBudget(container_bytes=1000, period_seconds=60)
    return pb.StreamFramesResponse(
        command=pb.Command(request_id=request_id, set_budget=pb.SetBudget(byte_budget=budget))
    )
