"""Videos as the field has them: matrices, covers, pixels, damage, clocks."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from slimedge.capture.video import Picture, Video
from slimedge.errors import CameraError

INPUTS = Path(__file__).parents[3] / "vectors" / "inputs"


def _refuse(reason: str) -> None:
    raise AssertionError(reason)


def _play(name: str) -> list[Picture]:
    return list(Video(str(INPUTS / name)).pictures(_refuse))


@pytest.mark.parametrize(
    ("name", "shown"), [("mirrored.mp4", np.fliplr), ("upside_down_flag.mp4", np.flipud)]
)
def test_what_the_display_matrix_mirrors_is_mirrored(name: str, shown: object) -> None:
    assert callable(shown)
    stored = _play("plain.mp4")[0].image

    assert np.array_equal(_play(name)[0].image, shown(stored))


def test_frames_and_their_threads_are_given_up_at_once() -> None:
    gc.disable()
    try:
        pictures = Video(str(INPUTS / "plain.mp4")).pictures(_refuse)
        threads = [len(list(Path("/proc/self/task").iterdir())) for _ in pictures]
    finally:
        gc.enable()

    assert len(threads) > 20
    assert max(threads[1:]) <= threads[0] + 4


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_what_the_display_matrix_turns_is_turned(tmp_path: Path, quarters: int) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as out, av.open(str(INPUTS / "plain.mp4")) as plain:
        stream = out.add_stream_from_template(plain.streams.video[0])
        stream.set_display_rotation(90 * quarters)
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)

    turned = next(Video(str(path)).pictures(_refuse)).image

    assert np.array_equal(turned, np.rot90(_play("plain.mp4")[0].image, quarters))


@pytest.mark.parametrize(
    ("name", "count", "hw"),
    [("cover_first.mp4", 25, (96, 160)), ("preview_first.mkv", 8, (192, 320))],
)
def test_the_largest_stream_is_played_and_no_cover(
    name: str, count: int, hw: tuple[int, int]
) -> None:
    pictures = _play(name)

    assert len(pictures) == count
    assert pictures[0].image.shape == (*hw, 3)


@pytest.mark.parametrize(
    ("aspect", "hw"), [((4, 3), (96, 213)), ((1, 2), (192, 160)), ((100, 1), (96, 160))]
)
def test_pixels_become_square_unless_their_shape_is_absurd(
    tmp_path: Path, aspect: tuple[int, int], hw: tuple[int, int]
) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        image: NDArray[np.uint8] = np.zeros((96, 160, 3), np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))

    [picture] = Video(str(path)).pictures(_refuse)

    assert picture.image.shape == (*hw, 3)


def test_frames_that_the_decoder_knows_to_be_damaged_are_dropped_and_told() -> None:
    video = str(INPUTS / "damaged.h264")
    told: list[str] = []

    whole = list(Video(video).pictures(told.append))

    assert (len(whole), len(told)) == (15, 8)
    assert len(list(Video(video, keep_damaged=True).pictures(_refuse))) == 23


@pytest.mark.parametrize(("name", "count"), [("clock_back.ts", 24), ("gap_one_hour.mkv", 25)])
def test_a_clock_that_jumps_is_bridged_and_told(
    name: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    video = Video(str(INPUTS / name))
    due = [picture.due_seconds for picture in video.pictures(_refuse)]
    assert len(list(video.pictures(_refuse))) == count  # as one that loops; it is told once

    assert due == pytest.approx([index / 25 for index in range(count)], abs=1e-3)
    assert caplog.text.count("its clock jumps") == 1


def test_a_file_of_sound_or_covers_alone_has_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))

    with pytest.raises(CameraError, match="no video stream"):
        next(Video(str(path)).pictures(_refuse))
