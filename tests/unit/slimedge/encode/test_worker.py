"""Scaling down, and the first guess of the encoder's time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from slimedge.encode.calibration import guess_encode_seconds
from slimedge.encode.worker import MAX_UNANSWERED_BYTES, EncodeWorker, scaled_hw, shrink
from support.models.toy_artifact import make_image, make_toy_codec


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


@pytest.mark.parametrize(
    ("image_hw", "max_edge", "expected_hw"),
    [
        ((480, 640), None, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((640, 480), 320, (320, 240)),
        ((1, 1000), 100, (1, 100)),
    ],
)
def test_a_picture_is_scaled_down_and_keeps_its_shape(
    image_hw: tuple[int, int], max_edge: int | None, expected_hw: tuple[int, int]
) -> None:
    image = np.full((*image_hw, 3), 77, np.uint8)

    scaled = shrink(image, max_edge)

    assert scaled.shape == (*expected_hw, 3)
    assert scaled.dtype == np.uint8
    assert np.unique(scaled).tolist() == [77]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(32, 200))
def test_the_size_is_known_before_scaling(height: int, width: int, edge: int) -> None:
    scaled = shrink(np.zeros((height, width, 3), np.uint8), edge)

    assert scaled.shape[:2] == scaled_hw((height, width), edge)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 90_000))
def test_a_picture_is_scaled_down_to_the_pixels_that_the_cloud_takes(
    height: int, width: int, limit: int
) -> None:
    h, w = scaled_hw((height, width), 200, limit)

    assert h * w <= max(limit, h, w)  # a side has one pixel at least
    assert (h, w) == scaled_hw((height, width), 200) or h * w > limit - h - w - 1


def test_a_heavier_level_is_guessed_to_take_longer() -> None:
    assert guess_encode_seconds(16.0) > guess_encode_seconds(0.6) > 0


@pytest.mark.parametrize(("max_bytes", "is_held"), [(1, False), (MAX_UNANSWERED_BYTES, True)])
async def test_symbols_of_unanswered_frames_are_held_within_so_many_bytes(
    tmp_path: Path, thread: Executor, max_bytes: int, is_held: bool
) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path, prior="context"))
    worker = EncodeWorker(
        Encoder(codec, OpenVinoRuntime(1)), None, max_unanswered_bytes=max_bytes, thread=thread
    )
    for number in (1, 2):
        image = make_image(64, 96, seed=number)
        await worker.encode_next(image, (0, 2), float(number), number, 8)

    worker.answered(1, is_stored=True)
    await worker.encode(image, 0, 2)  # behind it on the same thread

    assert worker.will_refer is is_held
    worker.answered(2, is_stored=True)
    await worker.encode(image, 0, 2)
    assert worker.will_refer, "the newest is held whatever its size"


async def test_cameras_take_turns_on_one_thread(tmp_path: Path, thread: Executor) -> None:
    encoder = Encoder(load_codec_artifact(make_toy_codec(tmp_path)), OpenVinoRuntime(1))
    image, done = make_image(64, 96, seed=1), []

    async def work(camera: str, frames: int) -> None:
        worker = EncodeWorker(encoder, None, thread=thread)
        for _ in range(frames):
            await worker.encode(image, 0, 2)
            done.append(camera)

    await asyncio.gather(work("greedy", 9), work("a", 3), work("b", 3))

    assert done[:9] == ["greedy", "a", "b"] * 3
