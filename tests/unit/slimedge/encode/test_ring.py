"""The ring of recent frames."""

from __future__ import annotations

import numpy as np

from slimedge.encode.stage import FrameRing, KeptFrame

FRAME_BYTES = 4 * 4 * 3 + 10


def make_kept(sequence: int, hw: tuple[int, int] = (4, 4)) -> KeptFrame:
    return KeptFrame(sequence, np.zeros((*hw, 3), np.uint8), bytes(10))


def test_the_oldest_frame_leaves_when_there_are_too_many() -> None:
    ring = FrameRing(max_frames=2, max_bytes=10**6)

    for sequence in (1, 2, 3):
        ring.add(make_kept(sequence))

    assert ring.get(1) is None
    assert ring.oldest == 2


def test_the_oldest_frames_leave_when_the_bytes_are_too_many() -> None:
    ring = FrameRing(max_frames=100, max_bytes=3 * FRAME_BYTES)

    for sequence in range(1, 6):
        ring.add(make_kept(sequence))

    assert [n for n in range(1, 6) if ring.get(n)] == [3, 4, 5]
    assert ring.size_bytes == 3 * FRAME_BYTES


def test_a_frame_larger_than_the_ring_is_not_kept() -> None:
    ring = FrameRing(max_frames=100, max_bytes=FRAME_BYTES)

    ring.add(make_kept(1, hw=(8, 8)))

    assert ring.get(1) is None
    assert (ring.size_bytes, ring.oldest) == (0, None)
