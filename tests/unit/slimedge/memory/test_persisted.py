"""What was told PERSISTED becomes a gap when the cloud's store is another one."""

from __future__ import annotations

from slimedge.frame import FrameHeader
from slimedge.gap import Gap, GapReason
from slimedge.memory.persisted import PersistedFrames


def header(sequence: int) -> FrameHeader:
    return FrameHeader(
        sequence=sequence,
        capture_time_unix_us=1_000_000 * sequence,
        capture_time_mono_us=0,
        container_crc32c=0,
    )


def test_frames_of_a_lost_store_are_one_gap_for_each_start() -> None:
    persisted = PersistedFrames()
    assert persisted.enter("first") == []
    for sequence in (5, 3, 8):
        persisted.add(0, header(sequence), 100)
    persisted.add(7, header(2), 50)

    assert persisted.enter("second") == [
        Gap(GapReason.STORE_LOST, 3.0, 8.0, 3, 300, first_sequence=3, last_sequence=8),
        Gap(GapReason.STORE_LOST, 2.0, 2.0, 1, 50, first_sequence=2, last_sequence=2, epoch=7),
    ]
    assert persisted.enter("third") == []


def test_the_same_store_and_one_that_does_not_say_are_no_loss() -> None:
    persisted = PersistedFrames()
    persisted.enter("")
    persisted.add(0, header(1), 100)

    assert persisted.enter("first") == persisted.enter("") == persisted.enter("first") == []
    assert len(persisted.enter("second")) == 1
