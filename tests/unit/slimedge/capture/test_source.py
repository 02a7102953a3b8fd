"""Sources of pictures: a real video file, a directory, and what is refused."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slimedge.capture.source import LiveVideo, open_source
from slimedge.capture.video import Video
from slimedge.errors import CameraError, CameraLostError

FPS = 10
FRAMES = 5
HW = (48, 64)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "short.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width = HW
        stream.pix_fmt = "yuv420p"
        for index in range(FRAMES):
            image = np.full((*HW, 3), 40 * index + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_video_gives_its_pictures_at_their_own_times(video: Path) -> None:
    pictures = list(open_source(str(video), picture_fps=1.0).pictures())

    assert [p.due_seconds for p in pictures] == pytest.approx([n / FPS for n in range(FRAMES)])
    assert {p.image.shape for p in pictures} == {(*HW, 3)}
    assert all(p.image.dtype == np.uint8 for p in pictures)
    means = [float(p.image.mean()) for p in pictures]
    assert means == pytest.approx([40 * n + 20 for n in range(FRAMES)], abs=4)


def test_a_source_can_be_played_again(video: Path) -> None:
    source = open_source(str(video), picture_fps=1.0)

    assert len(list(source.pictures())) == len(list(source.pictures())) == FRAMES


def test_a_directory_gives_its_pictures_in_order_at_the_given_rate(tmp_path: Path) -> None:
    for name, value in (("b.png", 20), ("a.png", 10), ("c.jpg", 30)):
        Image.new("RGB", (32, 32), (value, value, value)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")

    pictures = list(open_source(str(tmp_path), picture_fps=4.0).pictures())

    assert [p.due_seconds for p in pictures] == [0.0, 0.25, 0.5]
    assert [int(p.image[0, 0, 0]) for p in pictures] == [10, 20, 30]


def test_a_picture_that_cannot_be_read_is_told_by_name_and_passed_over(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    told: list[str] = []

    pictures = list(open_source(str(tmp_path), picture_fps=4.0).pictures(told.append))

    assert [p.due_seconds for p in pictures] == [0.0, 0.5]
    assert len(told) == 1
    assert "b.png: not a picture" in told[0]


def test_a_directory_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()

    with pytest.raises(CameraError, match="none of its 1 pictures"):
        next(open_source(str(tmp_path), 1.0).pictures())


def test_a_directory_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no pictures"):
        next(open_source(str(tmp_path), 1.0).pictures())


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")

    with pytest.raises(CameraError, match=r"notes\.mp4"):
        next(open_source(str(path), 1.0).pictures())


@pytest.mark.parametrize("source", ["no-such-file.mp4", "ftp://host/video", "gopher://x"])
def test_an_unknown_source_is_refused_by_name(source: str) -> None:
    with pytest.raises(CameraError, match=source.partition(":")[0]):
        open_source(source, 1.0)


@pytest.mark.parametrize("source", ["rtsp://127.0.0.1:9/live", "/dev/video0"])
def test_cameras_are_live_and_files_are_not(source: str, tmp_path: Path) -> None:
    assert isinstance(open_source(source, 1.0), LiveVideo)
    assert not isinstance(open_source(str(tmp_path), 1.0), LiveVideo)


def test_a_camera_that_is_not_there_counts_as_lost_and_not_as_unusable() -> None:
    with pytest.raises(CameraLostError):
        next(open_source("/dev/video-that-is-not-there", 1.0).pictures())


def test_a_live_stream_that_ends_counts_as_lost(video: Path) -> None:
    pictures = LiveVideo(Video(str(video), is_live=True)).pictures()

    images = [next(pictures).image for _ in range(FRAMES)]

    assert len(images) == FRAMES
    with pytest.raises(CameraLostError, match="ended"):
        next(pictures)


def test_password_of_a_network_camera_is_not_told() -> None:
    source = open_source("rtsp://viewer:hunter2@127.0.0.1:9/1", picture_fps=1.0)

    with pytest.raises(CameraLostError, match="refused") as caught:
        next(iter(source.pictures()))

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None  # a traceback would tell it
