"""Files that older versions of the edge left behind read the same; `golden` was written by them."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import google_crc32c
import pytest

from slimedge.frame import FrameHeader
from slimedge.gap import Gap, GapReason
from slimedge.memory.spool import Spool, SpooledFrame

GOLDEN = Path(__file__).with_name("golden") / "spool_1.spool"  # a column for each field
FIRST, SECOND = 1_790_000_000_000_001, 1_790_000_600_000_002  # epochs of two starts
GAP = Gap(GapReason.CAMERA_LOST, 1_790_000_010.0, 1_790_000_020.5, epoch=FIRST, number=7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(GOLDEN, tmp_path / "camera.spool"))


def header_of(epoch: int, sequence: int, container: bytes, own_epoch: int) -> FrameHeader:
    return FrameHeader(
        sequence=sequence,
        capture_time_unix_us=1_790_000_000_250_000 + 1_000_000 * sequence,
        capture_time_mono_us=1_000_125_000 + 1_000_000 * sequence if epoch == own_epoch else 0,
        container_crc32c=google_crc32c.value(container),
        traceparent="" if sequence == 5 else f"00-{sequence:032x}-{sequence:016x}-01",
    )


def frames_of(spool: Spool) -> list[SpooledFrame]:
    found: list[SpooledFrame] = []
    while (kept := spool.next_frame(found[-1].place if found else 0)) is not None:
        found.append(kept)
    return found


@pytest.mark.parametrize("own_epoch", [SECOND, SECOND + 1])
def test_frames_and_gaps_of_an_old_file_come_out_as_they_went_in(
    path: Path, own_epoch: int
) -> None:
    spool = Spool(path, own_epoch, max_bytes=2**20)

    expected = []
    for epoch, sequence in ((FIRST, 1), (FIRST, 2), (FIRST, 5), (SECOND, 1), (SECOND, 3)):
        container = bytes((sequence * 37 + i) % 256 for i in range(100 * sequence))
        expected.append((epoch, header_of(epoch, sequence, container, own_epoch), container))
    assert [(kept.epoch, kept.header, kept.container) for kept in frames_of(spool)] == expected
    assert spool.frames == len(expected)
    assert spool.next_gap(0) == GAP
    assert spool.alive_unix == 1_790_000_700.0
    spool.close()


def test_new_frames_follow_the_old_ones_which_age_from_the_last_sign_of_life(path: Path) -> None:
    spool = Spool(path, SECOND + 1, max_bytes=2**20, max_age_seconds=60 + 636, mono=lambda: 5.0)
    container = b"new"
    header = header_of(SECOND, 9, container, SECOND)

    gaps = spool.put(header, container)

    assert [(gap.reason, gap.first_sequence) for gap in gaps] == [
        (GapReason.EXPIRED, 1),
        (GapReason.EXPIRED, 2),
    ]
    assert [kept.header.sequence for kept in frames_of(spool)] == [5, 1, 3, 9]
    spool.close()


def test_a_move_that_was_interrupted_goes_on_at_the_next_start(path: Path) -> None:
    Spool(path, SECOND, max_bytes=2**20).close()
    moved = sqlite3.connect(path)
    moved.executescript(  # as if the last two had not been moved yet
        """CREATE TABLE frames (place INTEGER PRIMARY KEY AUTOINCREMENT,
            epoch, sequence, kept_at, capture_time_unix, capture_time_mono, crc32c,
            traceparent, container);
        INSERT INTO frames SELECT place, epoch, sequence, kept_at, 1790000001.25, 1001.125, 0, '',
            container FROM kept WHERE place > 3;
        DELETE FROM kept WHERE place > 3;"""
    )
    moved.close()

    spool = Spool(path, SECOND, max_bytes=2**20)

    assert [(kept.epoch, kept.header.sequence) for kept in frames_of(spool)] == [
        (FIRST, 1),
        (FIRST, 2),
        (FIRST, 5),
        (SECOND, 1),
        (SECOND, 3),
    ]
    spool.close()


def test_a_header_of_a_newer_edge_reads_without_what_is_unknown(path: Path) -> None:
    Spool(path, SECOND, max_bytes=2**20).close()
    file = sqlite3.connect(path)
    file.execute("""UPDATE kept SET header = json_set(header, '$.of_the_future', 1)""")
    file.commit()
    file.close()

    spool = Spool(path, SECOND, max_bytes=2**20)

    assert len(frames_of(spool)) == 5
    spool.close()


@pytest.mark.parametrize("header", ["", "{", "{}", "[1]", '{"sequence": "many"}'])
def test_a_damaged_header_is_a_damaged_file(path: Path, header: str) -> None:
    Spool(path, SECOND, max_bytes=2**20).close()
    file = sqlite3.connect(path)
    file.execute("UPDATE kept SET header = ?", (header,))
    file.commit()
    file.close()

    spool = Spool(path, SECOND, max_bytes=2**20)

    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        spool.next_frame(0)
    spool.close()
