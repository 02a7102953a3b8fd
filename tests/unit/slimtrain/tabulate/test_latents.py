"""Which frames of a video become latents."""

import numpy as np
from numpy.typing import NDArray

from slimtrain.tabulate.latents import latents_of_video


def mean_of(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """In place of g_a: one number for each picture (1, 3, H, W)."""
    return {"y": inputs["x"].mean(axis=(1, 2, 3), keepdims=True)}


def test_a_gap_in_a_video_is_not_made_up_for_by_frames_close_together() -> None:
    times = [*np.arange(0, 1, 0.04), *np.arange(10, 11, 0.04)]  # 25 frames/s, none for nine seconds
    frames = [(time, np.full((32, 32, 3), 5 * index, np.uint8)) for index, time in enumerate(times)]

    latents = latents_of_video(mean_of, "gate.mp4", frames, fps=5, limit=60)

    assert len(latents) <= 2 * 5 + 1
