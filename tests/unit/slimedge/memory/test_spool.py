"""What waits on disk: nothing changes it, nothing leaves it unrecorded, whatever happens to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimedge.frame import FrameHeader
from slimedge.gap import Gap, GapReason
from slimedge.memory.spool import MAX_GAPS, Spool
from support.edge.edge_uplink import make_ledger_frame

NOW = 1_800_000_000.0  # wall clock, seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@dataclass(frozen=True)
class Packed:
    """A frame as an edge makes it."""

    header: FrameHeader
    container: bytes


def pack(sequence: int, size_bytes: int = 1000) -> Packed:
    frame = make_ledger_frame(sequence, size_bytes)
    return Packed(frame.header, frame.container)


def put(spool: Spool, frame: Packed) -> list[Gap]:
    return spool.put(frame.header, frame.container)


def content_of(spool: Spool) -> list[tuple[int, Packed]]:
    found, place = [], 0
    while (kept := spool.next_frame(place)) is not None:
        found.append((kept.epoch, Packed(kept.header, kept.container)))
        place = kept.place
    return found


def gaps_of(spool: Spool) -> list[Gap]:
    found: list[Gap] = []
    while (gap := spool.next_gap(found[-1].number if found else 0)) is not None:
        found.append(gap)
    return found


def test_a_frame_comes_out_as_it_went_in_and_keeps_its_name_after_a_restart(path: Path) -> None:
    frames = [pack(n, 100 * n) for n in (1, 2, 5)]
    first = Spool(path, 7, max_bytes=10**6)
    for frame in frames:
        put(first, frame)
    assert content_of(first) == [(7, frame) for frame in frames]
    first.close()

    second = Spool(path, 8, max_bytes=10**6)
    put(second, pack(1, 50))

    assert second.frames == 4
    kept = content_of(second)
    assert [(epoch, frame.header.sequence) for epoch, frame in kept] == [
        (7, 1),
        (7, 2),
        (7, 5),
        (8, 1),
    ]
    assert kept[0][1].container == frames[0].container
    assert kept[0][1].header.capture_time_unix == frames[0].header.capture_time_unix
    assert kept[0][1].header.capture_time_mono == 0.0, "the clock of another boot means nothing"
    assert kept[3][1].header.capture_time_mono > 0
    second.close()


@given(
    sizes=st.lists(st.integers(1, 9000), max_size=40),
    max_bytes=st.integers(8_000, 60_000),
    persisted=st.sets(st.integers(1, 40)),
)
def test_every_frame_is_kept_or_forgotten_on_purpose_or_in_a_gap(
    sizes: list[int], max_bytes: int, persisted: set[int]
) -> None:
    spool = Spool(None, 7, max_bytes=max_bytes)
    told, forgotten = 0, 0
    for sequence, size_bytes in enumerate(sizes, start=1):
        told += len(put(spool, pack(sequence, size_bytes)))
        assert spool.used_bytes <= max_bytes
        if sequence in persisted:
            before = spool.frames
            spool.forget(7, sequence)
            forgotten += before - spool.frames

    gaps = gaps_of(spool)
    assert spool.frames == len(content_of(spool))
    assert spool.frames + forgotten + sum(gap.frames for gap in gaps) == len(sizes)
    assert told == sum(gap.frames for gap in gaps)
    kept = {frame.header.sequence for _, frame in content_of(spool)}
    for gap in gaps:
        assert not kept & set(range(gap.first_sequence, gap.last_sequence + 1))
    spool.close()


def test_the_oldest_leave_a_full_spool_and_are_one_gap(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=60_000)
    frames = [pack(n, 3000) for n in range(1, 31)]

    for frame in frames:
        put(spool, frame)

    lost = 30 - spool.frames
    assert 10 < spool.frames < 20
    assert [frame.header.sequence for _, frame in content_of(spool)] == list(range(lost + 1, 31))
    (gap,) = gaps_of(spool)
    assert (gap.reason, gap.frames, gap.size_bytes) == (GapReason.SPOOL_FULL, lost, 3000 * lost)
    assert (gap.first_sequence, gap.last_sequence) == (1, lost)
    assert gap.from_unix == frames[0].header.capture_time_unix
    assert gap.to_unix == frames[lost - 1].header.capture_time_unix
    spool.close()
    assert path.stat().st_size <= 60_000


def refer(frame: Packed, reference_sequence: int) -> Packed:
    return replace(frame, header=replace(frame.header, reference_sequence=reference_sequence))


def test_a_frame_leaves_with_the_one_that_it_needs(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=60_000)
    keys = range(1, 31, 5)
    frames = [refer(pack(n, 3000), 0 if n in keys else n - 1) for n in range(1, 31)]

    for frame in frames:
        put(spool, frame)

    left = [frame.header.sequence for _, frame in content_of(spool)]
    assert left[0] in keys[1:]
    assert left == list(range(left[0], 31))
    (gap,) = gaps_of(spool)
    assert (gap.reason, gap.last_sequence) == (GapReason.SPOOL_FULL, left[0] - 1)
    spool.close()


def test_another_store_costs_what_needs_a_frame_that_is_not_here(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=10**6)
    for sequence, needed in (11, 4), (12, 11), (13, 0), (14, 13), (15, 14), (16, 12), (17, 0):
        put(spool, refer(pack(sequence), needed))

    lost = spool.lose_dependents()

    assert [gap.first_sequence for gap in lost] == [11, 12, 16]
    assert {gap.reason for gap in lost} == {GapReason.STORE_LOST}
    assert [frame.header.sequence for _, frame in content_of(spool)] == [13, 14, 15, 17]
    assert spool.frames == 4
    spool.close()


@dataclass
class Mono:
    """A monotonic clock that is set by hand; another boot's begins anew."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds


def test_what_was_kept_for_too_long_while_edges_ran_is_given_up(path: Path) -> None:
    first = Spool(path, 7, max_bytes=10**6, max_age_seconds=60, mono=(mono := Mono(500.0)))
    put(first, pack(1))
    mono.seconds += 40
    put(first, pack(2))
    first.mark_alive(NOW)
    first.close()

    second = Spool(path, 8, max_bytes=10**6, max_age_seconds=60, mono=(mono := Mono(3.0)))
    mono.seconds += 19
    put(second, pack(1))
    kept = second.frames
    mono.seconds += 2
    put(second, pack(2))

    assert kept == 3
    assert [(epoch, frame.header.sequence) for epoch, frame in content_of(second)] == [
        (7, 2),
        (8, 1),
        (8, 2),
    ]
    assert [(gap.reason, gap.frames) for gap in gaps_of(second)] == [(GapReason.EXPIRED, 1)]
    second.close()


@pytest.mark.parametrize("is_read_only", [False, True])
def test_the_number_of_frames_is_that_of_the_file(path: Path, is_read_only: bool) -> None:
    spool = Spool(path, 7, max_bytes=20_000)
    for sequence in (1, 2, 2, *range(3, 20)):  # one of them twice, and more than there is room for
        put(spool, pack(sequence))
        assert spool.frames == len(content_of(spool))
    if is_read_only:
        spool.go_read_only()

    for sequence in (1, 18, 18, 19):  # one that was given up, and one twice
        spool.forget(7, sequence)
        assert spool.frames == len(content_of(spool)) > 0
    spool.close()


def test_an_empty_spool_gives_its_disk_back(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=10**6)
    for sequence in range(1, 101):
        put(spool, pack(sequence, 5000))

    for sequence in range(1, 101):
        spool.forget(7, sequence)
    spool.close()

    assert path.stat().st_size < 20_000


def test_a_gap_that_grew_since_it_was_sent_is_kept_for_another_time(path: Path) -> None:
    spool = Spool(path, 7)
    sent = spool.add_gap(Gap(GapReason.CAMERA_LOST, NOW, NOW + 5, epoch=7))

    grown = spool.add_gap(Gap(GapReason.CAMERA_LOST, NOW + 5, NOW + 9, epoch=7))
    spool.forget_gap(sent)

    assert gaps_of(spool) == [grown]
    assert (grown.number, grown.from_unix, grown.to_unix) == (sent.number, NOW, NOW + 9)
    spool.forget_gap(grown)
    assert gaps_of(spool) == []
    again = spool.add_gap(Gap(GapReason.CAMERA_LOST, NOW + 9, NOW + 12, epoch=7))
    assert again.number > sent.number
    spool.close()


def test_gaps_are_bounded_and_count_on() -> None:
    spool = Spool(None, 7)
    for index in range(MAX_GAPS + 10):
        spool.add_gap(Gap(GapReason.EXPIRED, NOW + 9 * index, NOW + 9 * index + 1, 2, epoch=7))

    gaps = gaps_of(spool)
    assert len(gaps) == MAX_GAPS
    assert sum(gap.frames for gap in gaps) == 2 * (MAX_GAPS + 10)
    assert gaps[-1].to_unix == NOW + 9 * (MAX_GAPS + 9) + 1


def test_two_clock_steps_stay_two_records() -> None:
    spool = Spool(None, 7)
    spool.add_gap(Gap(GapReason.CLOCK, NOW, NOW - 50, epoch=7))
    spool.add_gap(Gap(GapReason.CLOCK, NOW - 50, NOW, epoch=7))

    assert [(gap.from_unix, gap.to_unix) for gap in gaps_of(spool)] == [
        (NOW, NOW - 50),
        (NOW - 50, NOW),
    ]


def test_a_second_process_is_kept_out(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=10**6)

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Spool(path, 8, max_bytes=10**6)

    spool.close()


_PUTS = """
import resource, sqlite3, sys
from pathlib import Path
from slimedge.memory.spool import Spool
from support.edge.edge_uplink import make_ledger_frame
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
spool = Spool(Path(sys.argv[1]), 7, max_bytes=10**9)
try:
    for sequence in range(1, int(sys.argv[2]) + 1):
        frame = make_ledger_frame(sequence, 3000)
        spool.put(frame.header, frame.container)
        sys.stdout.write(f"{sequence}\\n")
        sys.stdout.flush()
except sqlite3.Error as exc:
    sys.stdout.write(f"{type(exc).__name__}: {exc}\\n")
sys.stdin.read()
"""


def start_putting(path: Path, count: int, *, max_file_bytes: int = 10**9) -> subprocess.Popen[str]:
    """A process that puts frames, says the sequence of each, and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", _PUTS, str(path), str(count), str(max_file_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )


def test_what_was_put_outlives_kill_9(path: Path) -> None:
    process = start_putting(path, 10**6)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.communicate()

    spool = Spool(path, 8, max_bytes=10**9)

    sequences = [frame.header.sequence for _, frame in content_of(spool)]
    assert sequences[: len(said)] == said
    assert len(sequences) <= len(said) + 1
    spool.close()


def test_a_full_disk_loses_nothing_that_was_put_and_serves_again_with_room(
    tiny_disk: Path,
) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    spool = Spool(tiny_disk / "spool.db", 7, max_bytes=10**9)
    last = 0

    def put_many() -> None:
        nonlocal last
        for sequence in range(1, 1000):
            put(spool, pack(sequence, 3000))
            last = sequence

    with pytest.raises(sqlite3.OperationalError, match="full"):
        put_many()

    lost = sum(gap.frames for gap in gaps_of(spool))  # as room grew less
    kept = [frame.header.sequence for _, frame in content_of(spool)]
    assert kept == list(range(lost + 1, last + 1))
    ballast.unlink()
    put(spool, pack(last + 1, 3000))
    assert len(kept) > 10
    assert spool.frames == len(kept) + 1
    spool.close()


def test_what_a_disk_that_takes_nothing_owes_is_settled_when_it_can_be(path: Path) -> None:
    spool = Spool(path, 7, max_bytes=10**6)
    for sequence in (1, 2, 3):
        put(spool, pack(sequence))
    first = spool.add_gap(Gap(GapReason.CAMERA_LOST, NOW, NOW + 5, epoch=7))

    spool.go_read_only()
    spool.forget(7, 2)
    spool.forget_gap(first)
    second = spool.add_gap(Gap(GapReason.DISK, NOW, NOW + 5, epoch=7))
    with pytest.raises(sqlite3.OperationalError):
        put(spool, pack(4))
    meanwhile = [frame.header.sequence for _, frame in content_of(spool)], gaps_of(spool)
    spool.settle(5.0)
    put(spool, pack(4))
    spool.close()

    assert meanwhile == ([1, 3], [second])
    again = Spool(path, 8, max_bytes=10**6)
    assert [frame.header.sequence for _, frame in content_of(again)] == [1, 3, 4]
    assert gaps_of(again) == [second]
    again.close()


def test_a_twentieth_of_the_disk_is_left_to_others(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool.db", 7, max_bytes=10**9)
    spool._db.execute("PRAGMA wal_autocheckpoint=1")  # noqa: SLF001  # the log is small here
    for sequence in range(1, 300):
        put(spool, pack(sequence, 3000))

    assert 20 < spool.frames < 120
    assert {gap.reason for gap in gaps_of(spool)} == {GapReason.SPOOL_FULL}
    spool.close()


def test_a_limit_on_file_sizes_raises_and_the_file_is_whole_afterwards(path: Path) -> None:
    process = start_putting(path, 1000, max_file_bytes=300_000)
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or lines[-1].isdecimal():
        lines.append(process.stdout.readline().strip())
    process.communicate()

    assert lines[-1].startswith("OperationalError")
    spool = Spool(path, 8, max_bytes=10**9)
    assert [f.header.sequence for _, f in content_of(spool)] == [int(line) for line in lines[:-1]]
    spool.close()
