"""Recordings: every picture, at the time that its file says."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest
from PIL import ExifTags, Image

from slimedge.capture.recording import as_recording
from slimedge.capture.source import open_source
from slimedge.errors import CameraError

INPUTS = Path(__file__).parents[3] / "vectors" / "inputs"
FRAMES, FPS = 25, 25
TAKEN = datetime(2019, 5, 4, 3, 2, 1, tzinfo=UTC).timestamp()
CHANGED = 1_500_000_000.0


def times(path: Path, start_unix: float | None = None) -> list[float | None]:
    recording = as_recording(open_source(str(path), picture_fps=4.0), start_unix)
    pictures = list(recording.pictures())
    assert recording.frames == len(pictures)
    assert recording.waits
    assert {picture.due_seconds for picture in pictures} == {None}
    return [picture.taken_unix for picture in pictures]


def dated_video(path: Path, created: str) -> Path:
    with av.open(str(path), "w") as out, av.open(str(INPUTS / "plain.mp4")) as plain:
        out.metadata["creation_time"] = created
        stream = out.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    os.utime(path, (CHANGED, CHANGED))
    return path


def test_a_video_begins_at_its_creation_time(tmp_path: Path) -> None:
    path = dated_video(tmp_path / "a.mp4", "2019-05-04T03:02:01.000000Z")

    assert times(path) == pytest.approx([TAKEN + n / FPS for n in range(FRAMES)], abs=2e-3)


@pytest.mark.parametrize("created", ["", "1970-01-01T00:00:00.000000Z"])
def test_a_video_that_does_not_say_ends_when_its_file_was_changed(
    tmp_path: Path, created: str
) -> None:
    path = dated_video(tmp_path / "a.mp4", created)

    first = times(path)[0]

    assert first == pytest.approx(CHANGED - FRAMES / FPS, abs=2e-3)


def test_a_start_that_is_given_counts(tmp_path: Path) -> None:
    path = dated_video(tmp_path / "a.mp4", "2019-05-04T03:02:01.000000Z")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")

    assert times(path, 7.0)[:2] == pytest.approx([7.0, 7.04], abs=2e-3)
    assert times(tmp_path, 7.0) == [7.0, 7.25]


def test_pictures_keep_the_times_of_exif_or_of_their_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: "2019:05:04 05:02:01",
            ExifTags.Base.OffsetTimeOriginal: "+02:00",
        }
    )
    odd = Image.Exif()
    odd.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "    :  :     :  :  "
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", exif=odd)
    (tmp_path / "c.jpg").write_bytes(b"damaged")
    Image.new("RGB", (8, 8)).save(tmp_path / "d.jpg")
    for path in tmp_path.iterdir():
        os.utime(path, (CHANGED, CHANGED))

    recording = as_recording(open_source(str(tmp_path), picture_fps=2.0), None)
    told: list[str] = []

    assert [p.taken_unix for p in recording.pictures(told.append)] == [TAKEN, CHANGED, CHANGED]
    assert len(told) == 1
    assert "c.jpg" in told[0]


def test_what_is_live_or_broken_is_no_recording(tmp_path: Path) -> None:
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"no video")

    with pytest.raises(CameraError, match="a video file or a directory"):
        as_recording(open_source("rtsp://camera.local/", 1.0), None)
    with pytest.raises(CameraError, match=r"a\.mp4: cannot be played"):
        as_recording(open_source(str(broken), 1.0), None)
