"""The spool beside the event loop: a disk that fails costs the spool, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from slimedge.event import LossReason, Lost, SpoolChanged, Spooled
from slimedge.gap import Gap, GapReason
from slimedge.memory.ledger import LedgerFrame
from slimedge.memory.spool import Spool
from slimedge.memory.spool_worker import SpoolWorker
from support.edge.edge_recorder import EdgeRecorder
from support.edge.edge_uplink import make_ledger_frame

EPOCH = 7
NOW = 1_800_000_000.0  # wall clock, seconds


@asynccontextmanager
async def working(
    path: Path | None,
    recorder: EdgeRecorder,
    *,
    max_bytes: int = 10**7,
    held: bool = True,
    unix: Callable[[], float] = lambda: NOW,
    alive_seconds: float = 60.0,
) -> AsyncIterator[SpoolWorker]:
    worker = SpoolWorker(
        path,
        EPOCH,
        max_bytes=max_bytes,
        max_age_seconds=3600,
        is_held=lambda _: held,
        observer=recorder,
        first_retry_seconds=0.01,
        alive_seconds=alive_seconds,
        unix=unix,
    )
    running = asyncio.create_task(worker.run())
    if path is not None:
        await recorder.wait_until(lambda: bool(recorder.of(SpoolChanged)))
    try:
        yield worker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.close()


async def keep(worker: SpoolWorker, recorder: EdgeRecorder, frame: LedgerFrame) -> None:
    worker.keep(frame)
    await recorder.wait_until(
        lambda: frame.sequence in [event.sequence for event in recorder.of(Spooled)]
    )


async def offer(worker: SpoolWorker, recorder: EdgeRecorder, sequences: Iterable[int]) -> None:
    """Frames that are kept or lost, all at once."""
    frames = [make_ledger_frame(sequence, 3000) for sequence in sequences]
    for frame in frames:
        worker.keep(frame)
    await recorder.wait_until(lambda: all(frame.spooled is not False for frame in frames))


async def test_what_was_kept_is_there_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gate.spool"
    frame, recorder = make_ledger_frame(3), EdgeRecorder()
    async with working(path, recorder) as worker:
        await keep(worker, recorder, frame)
        worker.record(Gap(GapReason.CAMERA_LOST, 1.0, 2.0, epoch=EPOCH))
        assert await worker.sequences(10) == [3]
    assert frame.spooled is True

    async with working(path, EdgeRecorder()) as worker:
        kept = await worker.next_frame(0)
        gap = await worker.next_gap(0)

    assert kept is not None
    assert (kept.epoch, kept.container) == (EPOCH, frame.container)
    assert gap is not None
    assert (gap.reason, gap.from_unix, gap.to_unix) == (GapReason.CAMERA_LOST, 1.0, 2.0)


async def test_the_time_without_an_edge_is_a_gap(tmp_path: Path) -> None:
    gaps = []
    for now in (NOW, NOW + 0.5, NOW + 3600, NOW - 3600):
        recorder = EdgeRecorder()
        unix = itertools.repeat(now).__next__
        async with working(tmp_path / "s", recorder, unix=unix) as worker:
            gap = await worker.next_gap(0)
            if gap is not None:
                worker.forget_gap(gap)
        gaps.append(gap)

    before_the_first, killed_and_back_at_once, gap, clock_is_behind = gaps
    assert before_the_first is clock_is_behind is None
    assert killed_and_back_at_once is not None
    assert (killed_and_back_at_once.from_unix, killed_and_back_at_once.to_unix) == (NOW, NOW + 0.5)
    assert gap is not None
    assert (gap.reason, gap.epoch) == (GapReason.STOPPED, EPOCH)
    assert (gap.from_unix, gap.to_unix) == (NOW + 0.5, NOW + 3600)


async def test_a_step_of_the_wall_clock_gives_nothing_up(tmp_path: Path) -> None:
    """Not while the edge runs, nor while it is off: there, nobody can tell it from a long time."""
    days = 4 * 86_400.0
    sequences = itertools.count(1)
    for start, now in enumerate((NOW, NOW + days, NOW - days, 10.0)):
        clock, recorder = itertools.cycle((now, now + days, now - days)), EdgeRecorder()
        async with working(tmp_path / "s", recorder, unix=clock.__next__) as worker:
            for _ in range(6):
                await keep(worker, recorder, make_ledger_frame(next(sequences)))

            assert worker.frames == 6 * (start + 1)


async def test_a_killed_edge_has_left_signs_of_life(tmp_path: Path) -> None:
    path, dead = tmp_path / "gate.spool", tmp_path / "dead.spool"
    times = itertools.count(NOW, 10)
    async with working(
        path, EdgeRecorder(), unix=lambda: next(times), alive_seconds=0.001
    ) as worker:
        while next(times) < NOW + 1000:
            await worker.next_frame(0)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{dead}{suffix}")

    spool = Spool(dead, 8)
    assert spool.alive_unix is not None
    assert NOW + 100 < spool.alive_unix < next(times)
    spool.close()


async def test_an_ack_that_comes_while_a_frame_is_being_kept_does_not_empty_the_copy(
    tmp_path: Path,
) -> None:
    recorder = EdgeRecorder()
    async with working(tmp_path / "gate.spool", recorder) as worker:
        frame = make_ledger_frame(1)
        container = frame.container
        worker.keep(frame)
        frame.container = b""  # PERSISTED
        kept = await worker.next_frame(0)

    assert kept is not None
    assert kept.container == container


async def test_without_a_folder_gaps_are_kept_in_memory_and_frames_are_not() -> None:
    recorder = EdgeRecorder()
    async with working(None, recorder) as worker:
        frame = make_ledger_frame(1)
        worker.keep(frame)
        worker.record(Gap(GapReason.LINK_DOWN, 1.0, 2.0, 5, epoch=EPOCH))
        gap = await worker.next_gap(0)

        assert not worker.is_up
        assert frame.spooled is None
        assert await worker.next_frame(0) is None
        assert gap is not None
        assert gap.frames == 5
        worker.forget_gap(gap)
        assert await worker.next_gap(0) is None


async def test_a_file_that_is_no_spool_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gate.spool"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    recorder = EdgeRecorder()
    async with working(path, recorder) as worker:
        await keep(worker, recorder, make_ledger_frame(1))

    assert recorder.of(SpoolChanged)[0].is_up
    assert path.with_suffix(".damaged").read_bytes().startswith(b"this is not")
    assert "set aside" in caplog.text


async def test_a_full_spool_tells_what_it_gave_up(tmp_path: Path) -> None:
    recorder = EdgeRecorder()
    async with working(tmp_path / "gate.spool", recorder, max_bytes=50_000) as worker:
        for sequence in range(1, 31):
            await keep(worker, recorder, make_ledger_frame(sequence, 3000))
        frames = worker.frames

    lost = recorder.of(Lost)
    assert {event.reason for event in lost} == {LossReason.SPOOL_FULL}
    assert [event.sequence for event in lost] == list(range(1, 31 - frames))


async def test_a_full_disk_is_said_once_and_used_again_when_it_has_room(
    tiny_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EdgeRecorder()
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    async with working(tiny_disk / "gate.spool", recorder, held=False) as worker:
        sequences = itertools.count(1)
        while worker.is_up:
            await offer(worker, recorder, itertools.islice(sequences, 10))
        assert LossReason.DISK in [event.reason for event in recorder.of(Lost)]
        kept_before = worker.frames
        ballast.unlink()
        await recorder.wait_until(lambda: recorder.of(SpoolChanged)[-1].is_up)
        last = make_ledger_frame(10_000, 3000)
        while last.spooled is not True:
            worker.keep(last)
            await asyncio.sleep(0.01)

        assert worker.frames >= kept_before + 1
        gaps, number = [], 0
        while (gap := await worker.next_gap(number)) is not None:
            gaps.append(gap)
            number = gap.number
    # those lost while the file is settled may begin another; before that room grew less
    assert {gap.reason for gap in gaps} <= {GapReason.DISK, GapReason.SPOOL_FULL}
    assert sum(gap.frames for gap in gaps) == len(recorder.of(Lost))
    changes = [event.is_up for event in recorder.of(SpoolChanged)]
    assert changes[:2] == [True, False]
    assert [record.message for record in caplog.records].count(
        "no spool: frames of an outage are lost"
    ) == 1


def fill(disk: Path) -> None:
    """Another program takes what is left of a disk."""
    with suppress(OSError), (disk / "other").open("ab", buffering=0) as file:
        while file.write(bytes(1024)):
            pass


async def test_a_full_disk_is_read_and_emptied_though_it_cannot_grow(tiny_disk: Path) -> None:
    recorder = EdgeRecorder()
    path = tiny_disk / "gate.spool"
    async with working(path, recorder, held=False) as worker:
        for sequence in range(1, 11):
            await keep(worker, recorder, make_ledger_frame(sequence, 3000))
        fill(tiny_disk)
        while worker.is_up:
            sequence += 1
            worker.keep(make_ledger_frame(sequence, 3000))
            await asyncio.sleep(0.01)
        kept = worker.frames

        sent = []
        while (frame := await worker.next_frame(0)) is not None:
            sent.append(frame.header.sequence)
            worker.forget(EPOCH, frame.header.sequence)
        assert sent[:10] == list(range(1, 11))
        assert len(sent) == kept
        await recorder.wait_until(lambda: recorder.of(SpoolChanged)[-1].is_up)
        gaps, number = [], 0
        while (gap := await worker.next_gap(number)) is not None:
            gaps.append(gap)
            number = gap.number
        await keep(worker, recorder, make_ledger_frame(10_000, 3000))

        assert worker.frames == 1
    assert sum(gap.frames for gap in gaps) == len(recorder.of(Lost)) > 0


async def test_the_next_start_reads_what_lies_on_a_full_disk(tiny_disk: Path) -> None:
    path, recorder = tiny_disk / "gate.spool", EdgeRecorder()
    async with working(path, recorder, unix=lambda: NOW) as worker:
        for sequence in range(1, 11):
            await keep(worker, recorder, make_ledger_frame(sequence, 3000))
        worker.record(Gap(GapReason.CAMERA_LOST, 1.0, 2.0, epoch=EPOCH))
    fill(tiny_disk)

    async with working(path, EdgeRecorder(), unix=lambda: NOW + 60) as worker:
        frame, gap = await worker.next_frame(0), await worker.next_gap(0)
        assert gap is not None
        while (absence := await worker.next_gap(gap.number)) is None:
            await asyncio.sleep(0.01)

    assert frame is not None
    assert frame.header.sequence == 1
    assert gap.reason is GapReason.CAMERA_LOST
    assert (absence.reason, absence.from_unix, absence.to_unix) == ("stopped", NOW, NOW + 60)
