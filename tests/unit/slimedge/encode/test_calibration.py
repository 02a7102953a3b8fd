"""What encoding takes: from the profile, from an earlier start, or measured at this one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.encode import EncodedImage
from slimcodec.model.manifest import Calibration, Device, EncodeTiming, Profile, ProfilePoint
from slimedge.encode.calibration import (
    MAX_SIZES,
    REPEATS,
    EncodeCalibration,
    warm_up,
)
from slimedge.encode.worker import EncodedFrame

MODEL = bytes.fromhex("0123456789abcdef")
HERE = Device("a processor", 2)
POINTS = ((0, 2.0), (1, 2.0))
PICTURE = np.zeros((60, 80, 3), np.uint8)
PROFILED = {0: 0.010, 1: 0.040}  # seconds of a picture of PICTURE's size


class FakeWorker:
    """Takes the seconds that it is told for each level, and counts what it encodes."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.encoded: list[int] = []

    async def encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        self.encoded.append(level)
        container = EncodedImage(b"x" * 10, level, quality, (60, 80), 0.0)
        return EncodedFrame(image, container, self.seconds[level])


def make_profile(device: str = HERE.processor, threads: int | None = HERE.threads) -> Profile:
    height, width = PICTURE.shape[:2]
    timings = tuple(
        EncodeTiming(level=level, height=height, width=width, encode_seconds=seconds)
        for level, seconds in PROFILED.items()
    )
    calibration = Calibration(device=device, threads=threads, timings=timings)
    point = ProfilePoint(level=0, quality=0, bpp=0.1)
    return Profile(points=(point,), pictures=1, calibration=calibration)


async def run_warm_up(calibration: EncodeCalibration, worker: FakeWorker) -> dict[int, float]:
    results = await warm_up(worker.encode, calibration, PICTURE, POINTS)
    return {frame.encoded.level: seconds for frame, seconds in results}


async def test_the_profile_of_this_device_is_taken_without_more_runs(tmp_path: Path) -> None:
    calibration = EncodeCalibration(MODEL, make_profile(), HERE, tmp_path)
    worker = FakeWorker({0: 0.012, 1: 0.050})

    seconds = await run_warm_up(calibration, worker)

    assert seconds == pytest.approx(PROFILED)
    assert worker.encoded == [0, 0, 1, 1]
    assert not list(tmp_path.iterdir())  # nothing new was learnt


@pytest.mark.parametrize(
    "profile",
    [None, make_profile(device="another"), make_profile(threads=8), make_profile(threads=None)],
    ids=["no profile", "another processor", "other threads", "threads not said"],
)
async def test_another_device_is_measured_and_known_at_the_next_start(
    profile: Profile | None, tmp_path: Path
) -> None:
    first = EncodeCalibration(MODEL, profile, HERE, tmp_path / "not yet there")
    worker = FakeWorker({0: 0.3, 1: 0.9})

    measured = await run_warm_up(first, worker)
    again = EncodeCalibration(MODEL, profile, HERE, tmp_path / "not yet there")
    next_worker = FakeWorker({0: 0.31, 1: 0.95})
    known = await run_warm_up(again, next_worker)

    assert first.source == again.source == "an earlier start"
    assert measured == known == {0: 0.3, 1: 0.9}
    assert len(worker.encoded) == 4 + 2 * REPEATS
    assert len(next_worker.encoded) == 4
    assert not list(tmp_path.rglob("*.part"))


async def test_seconds_that_the_device_does_not_keep_to_are_measured_again(tmp_path: Path) -> None:
    calibration = EncodeCalibration(MODEL, make_profile(), HERE, tmp_path)

    # the same processor with a quarter of the time, as in a container with a CPU limit
    seconds = await run_warm_up(calibration, FakeWorker({0: 0.040, 1: 0.160}))

    assert seconds == {0: 0.040, 1: 0.160}
    assert EncodeCalibration(MODEL, make_profile(), HERE, tmp_path).at(
        PICTURE.shape[0] * PICTURE.shape[1], [0, 1]
    ) == pytest.approx({0: 0.040, 1: 0.160})


async def test_one_level_that_was_held_up_once_changes_nothing(tmp_path: Path) -> None:
    calibration = EncodeCalibration(MODEL, make_profile(), HERE, tmp_path)
    calibration.keep((60, 80), {0: 0.010, 1: 0.020, 2: 0.040})
    points = [(level, 2.0) for level in range(3)]

    held_up = FakeWorker({0: 0.100, 1: 0.021, 2: 0.038})
    results = await warm_up(held_up.encode, calibration, PICTURE, points)

    assert [seconds for _, seconds in results] == pytest.approx([0.010, 0.020, 0.040])
    assert held_up.encoded == [0, 0, 1, 1, 2, 2]


async def test_a_folder_that_cannot_be_written_costs_only_the_next_measurement(
    tmp_path: Path,
) -> None:
    occupied = tmp_path / "a file, no folder"
    occupied.write_text("")

    calibration = EncodeCalibration(MODEL, None, HERE, occupied)
    seconds = await run_warm_up(calibration, FakeWorker({0: 0.3, 1: 0.9}))

    assert seconds == {0: 0.3, 1: 0.9}
    assert EncodeCalibration(MODEL, None, HERE, occupied).at(4800, [0]) is None
    assert occupied.read_text() == ""


@pytest.mark.parametrize("content", ["", "{", '{"device": 7}', "[]"])
async def test_a_damaged_cache_is_measured_over(content: str, tmp_path: Path) -> None:
    EncodeCalibration(MODEL, None, HERE, tmp_path).keep((60, 80), {0: 0.5})
    (path,) = tmp_path.iterdir()
    path.write_text(content)

    calibration = EncodeCalibration(MODEL, None, HERE, tmp_path)
    unknown = calibration.at(4800, [0])
    await run_warm_up(calibration, FakeWorker({0: 0.3, 1: 0.9}))

    assert unknown is None
    assert json.loads(path.read_text())["device"] == HERE.processor


def test_devices_and_models_do_not_share_a_cache(tmp_path: Path) -> None:
    EncodeCalibration(MODEL, None, HERE, tmp_path).keep((60, 80), {0: 0.5})

    for model, device in (
        (MODEL, Device("a processor", 1)),
        (MODEL, Device("another", 2)),
        (bytes(8), HERE),
    ):
        assert EncodeCalibration(model, None, device, tmp_path).at(4800, [0]) is None
    assert EncodeCalibration(MODEL, None, HERE, tmp_path).at(4800, [0]) == {0: 0.5}


def test_the_cache_keeps_other_levels_and_drops_the_oldest_sizes(tmp_path: Path) -> None:
    calibration = EncodeCalibration(MODEL, None, HERE, tmp_path)
    calibration.keep((10, 10), {0: 0.1, 1: 0.2})
    calibration.keep((10, 10), {1: 0.3})

    both = calibration.at(100, [0, 1])
    for height in range(11, 11 + MAX_SIZES):
        calibration.keep((height, 10), {0: 0.1 + height})

    (path,) = tmp_path.iterdir()
    sizes = {timing["height"] for timing in json.loads(path.read_text())["timings"]}
    assert both == {0: 0.1, 1: 0.3}
    assert sizes == set(range(11, 11 + MAX_SIZES))


async def test_without_points_there_is_nothing_to_warm_up() -> None:
    calibration = EncodeCalibration(MODEL, None, HERE, None)

    assert await warm_up(FakeWorker({}).encode, calibration, PICTURE, ()) == []
