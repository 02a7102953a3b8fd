"""Sources of pictures: a real video file, a directory, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slimcodec.image import image_bytes
from slimedge.capture.source import open_source
from slimedge.capture.video import Video
from slimedge.errors import CameraError, CameraLostError, CameraRefusedError
from support.http_serving import serving

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


@pytest.mark.parametrize(
    ("source", "file_format", "transport"),
    [
        ("rtsp://127.0.0.1:9/live", None, {"rtsp_transport": "tcp"}),
        ("http://camera/video.m3u8", None, {}),
        ("/dev/video0", "v4l2", {}),
        ("/dev/v4l/by-id/usb-camera-index0", "v4l2", {}),
    ],
)
def test_cameras_are_live_and_take_ffmpegs_options(
    source: str, file_format: str | None, transport: dict[str, str]
) -> None:
    opened = open_source(source, 1.0, options={"probesize": "32"})

    assert isinstance(opened, Video)
    assert opened.is_live
    assert opened.file_format == file_format
    assert opened.options == {**transport, "probesize": "32"}


def test_rtsp_may_go_by_udp() -> None:
    opened = open_source("rtsp://camera/1", 1.0, options={"rtsp_transport": "udp"})

    assert isinstance(opened, Video)
    assert opened.options["rtsp_transport"] == "udp"


def test_files_are_not_live(video: Path) -> None:
    opened = open_source(str(video), 1.0)

    assert isinstance(opened, Video)
    assert not opened.is_live


def test_a_camera_that_is_not_there_counts_as_lost_and_not_as_unusable() -> None:
    with pytest.raises(CameraLostError):
        next(open_source("/dev/video-that-is-not-there", 1.0).pictures())


def test_a_live_stream_that_ends_counts_as_lost(video: Path) -> None:
    pictures = Video(str(video), is_live=True).pictures()

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


@pytest.mark.parametrize("password", ["Se/cr3t", "Se cr3t", "p#ss"])
def test_a_password_that_must_be_encoded_is_refused_at_the_start(password: str) -> None:
    with pytest.raises(CameraError, match="percent-encoded") as caught:
        open_source(f"rtsp://admin:{password}@camera/1", 1.0)

    assert password not in str(caught.value)


@pytest.fixture
def http_camera(video: Path) -> Iterator[str]:
    """Answers `/video` and `/picture`, once asked with the password; says nothing on `/mute`."""
    with av.open(str(video)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    jpeg = image_bytes(frame.astype(np.uint8), ".jpg")
    end = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/mute":
                end.wait(30)
                return
            if self.path == "/private":
                self.send_error(401)
                return
            is_video = self.path == "/video"
            kind = "multipart/x-mixed-replace;boundary=x" if is_video else "image/jpeg"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
            self.wfile.write(3 * (part % (len(jpeg), jpeg)) if is_video else jpeg)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as address:
        yield address
        end.set()


def test_motion_jpeg_over_http_is_a_live_camera(http_camera: str) -> None:
    pictures = open_source(f"{http_camera}/video", 1.0).pictures()

    shown = [next(pictures) for _ in range(3)]

    assert {(p.image.shape, p.due_seconds) for p in shown} == {((*HW, 3), None)}
    with pytest.raises(CameraLostError, match="Input/output error"):
        next(pictures)


def test_hls_over_http_is_live_and_plays_at_its_own_pace(tmp_path: Path) -> None:
    with av.open(
        str(tmp_path / "live.m3u8"), "w", format="hls", options={"hls_time": "0.5"}
    ) as out:
        stream = out.add_stream("mpeg2video", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = (*HW, "yuv420p")
        stream.gop_size = FPS // 2
        for index in range(2 * FPS):
            image = np.full((*HW, 3), 10 * index, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    assert len(list(tmp_path.glob("*.ts"))) > 1
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with serving(handler) as address:
        pictures = open_source(f"{address}/live.m3u8", 1.0).pictures()

        due = [next(pictures).due_seconds for _ in range(2 * FPS)]
        with pytest.raises(CameraLostError, match="ended its stream"):
            next(pictures)

    assert due == pytest.approx([index / FPS for index in range(2 * FPS)], abs=2e-3)


def test_a_snapshot_is_one_picture_and_asked_for_again(http_camera: str) -> None:
    source = open_source(f"{http_camera}/picture", 1.0, snapshot_seconds=2.0)

    assert source.again_seconds == 2.0
    for _ in range(2):
        assert [p.image.shape for p in source.pictures()] == [(*HW, 3)]


def test_a_refused_password_is_told_as_such(http_camera: str) -> None:
    with pytest.raises(CameraRefusedError, match="401.*check user and password"):
        next(open_source(f"{http_camera}/private", 1.0).pictures())


def test_a_camera_that_does_not_answer_is_told_as_such(http_camera: str) -> None:
    with pytest.raises(CameraLostError, match=r"no answer for 0\.2 s"):
        next(open_source(f"{http_camera}/mute", 1.0, timeout_seconds=0.2).pictures())
