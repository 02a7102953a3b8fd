"""Which frames of a video are taken."""

import numpy as np
import pytest

from slimcli.frames import TimedImage, at_rate

IMAGE = np.zeros((8, 12, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "asked", "numbers"),
    [
        (25.0, 5.0, [1, 6, 11, 16, 21]),
        (25.0, 1.0, [1, 26, 51]),
        (10.0, 10.0, [1, 2, 3, 4, 5]),
        (13.4, 10.0, [1, 3, 4, 6, 7]),
    ],
)
def test_frames_are_taken_when_they_are_due(given: float, asked: float, numbers: list[int]) -> None:
    frames = [TimedImage(n + 1, n / given, IMAGE) for n in range(60)]

    assert [frame.number for frame in at_rate(frames, asked)][:5] == numbers


def test_a_gap_is_not_made_up_for_by_frames_close_together() -> None:
    times = [*np.arange(0, 1, 0.04), *np.arange(10, 11, 0.04)]  # 25 frames/s, none for nine seconds
    frames = [TimedImage(n + 1, seconds, IMAGE) for n, seconds in enumerate(times)]

    assert len(list(at_rate(frames, 5))) <= 2 * 5 + 1
