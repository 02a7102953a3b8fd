"""A video or a folder -> a stream file -> boxes, pictures, a video, and what is inside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from slimcli.exits import ExitCode
from slimcodec.image import load_image
from slimcodec.pixels import psnr_db
from support.command import Outcome, Slimwire
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

PICTURES = 12
HW = (64, 96)


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models whose codec has the context prior."""
    root = tmp_path_factory.mktemp("context_models")
    make_toy_codec(root, prior="context")
    make_toy_detector(root)
    return root


@pytest.fixture(scope="module")
def scene() -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """A box moves in the first half of the pictures, then all stands still."""
    pictures = []
    for t in range(PICTURES):
        picture = make_image(*HW)
        x = 8 * min(t, PICTURES // 2)
        picture[20:50, x : x + 30] = np.random.default_rng(1).integers(0, 256, (30, 30, 3))
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, scene: list[np.ndarray[Any, np.dtype[np.uint8]]]
) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    for t, picture in enumerate(scene):
        Image.fromarray(picture).save(path / f"{t:03d}.png")
    return path


@pytest.fixture(scope="module")
def video(
    tmp_path_factory: pytest.TempPathFactory, scene: list[np.ndarray[Any, np.dtype[np.uint8]]]
) -> Path:
    """The scene at 10 pictures a second."""
    path = tmp_path_factory.mktemp("video") / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = HW[1], HW[0], "bgr0"
        for picture in scene:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip(slimwire: Slimwire, folder: Path, tmp_path: Path) -> Path:
    """A stream of the folder with a key every 8 s."""
    path = tmp_path / "clip.slim"
    assert slimwire("encode", folder, "-o", path, "--key-interval", 8).code == 0
    return path


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def _record_ends(slimwire: Slimwire, clip: Path) -> list[int]:
    rows = _rows(slimwire("inspect", clip, "--json"))[:-1]
    return [21 + sum(row["bytes"] for row in rows[: index + 1]) for index in range(len(rows))]


def test_a_folder_becomes_a_stream_of_keys_changes_and_what_stands_still(
    slimwire: Slimwire, clip: Path
) -> None:
    found = _rows(slimwire("detect", clip, "--json", "--min-score", 0.1))

    assert [row["frame"] for row in found] == list(range(1, PICTURES + 1))
    assert [row["time_seconds"] for row in found] == list(range(PICTURES))
    kinds = ["intra", *["inter"] * 6, "unchanged", "intra", *["unchanged"] * 3]
    assert [row["kind"] for row in found] == kinds
    for row in found:
        assert set(row) == {
            *("file", "frame", "time_seconds", "kind", "bytes", "activity", "detections")
        }
        assert row["detections"]
        expected = {"intra": row["activity"] == 1, "unchanged": row["activity"] == 0}
        assert expected.get(row["kind"], 0 < row["activity"] < 1)
    assert sum(row["bytes"] for row in found) + 21 == clip.stat().st_size
    for before, row in pairwise(found):
        if row["kind"] == "unchanged":
            assert row["detections"] == before["detections"]
            assert row["bytes"] < 40


def test_what_is_unchanged_is_not_detected_again(
    slimwire: Slimwire, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimdetect.detector import Detector

    asked: list[Any] = []
    detect = Detector.detect_latents

    def counted(*given: Any) -> Any:
        asked.append(given)
        return detect(*given)

    monkeypatch.setattr(Detector, "detect_latents", counted)

    rows = _rows(slimwire("detect", clip, "--json"))

    assert len(asked) == sum(row["kind"] != "unchanged" for row in rows) == 8


def test_a_video_is_thinned_and_its_frames_keep_their_numbers(
    slimwire: Slimwire, video: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.slim"

    said = slimwire("encode", video, "-o", clip, "--fps", 5, "--level", 1, "--quality", 3)
    whole = slimwire("encode", video, "-o", tmp_path / "whole.slim")

    rows = _rows(slimwire("detect", clip, "--json"))
    assert [row["frame"] for row in rows] == [1, 3, 5, 7, 9, 11]
    assert [row["time_seconds"] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert f"1 intra, 3 inter, 2 unchanged; {clip.stat().st_size:,} bytes in 1.0 s" in said.out
    assert "12" in slimwire("inspect", tmp_path / "whole.slim").out
    assert whole.code == 0


def test_pictures_and_videos_come_out(
    slimwire: Slimwire, folder: Path, tmp_path: Path, scene: list[Any]
) -> None:
    clip, out, film = tmp_path / "clip.slim", tmp_path / "out", tmp_path / "film.mp4"
    slimwire("encode", folder, "-o", clip, "--level", 3, "--quality", 5, "--fps", 4)

    codes = [slimwire("decode", clip, "-o", target).code for target in (out, film)]
    again = [slimwire("decode", clip, "-o", target) for target in (out, film)]

    assert codes == [0, 0]
    assert [outcome.code for outcome in again] == [ExitCode.CANNOT_CREATE] * 2
    assert [p.name for p in sorted(out.iterdir())] == [f"{t:06d}.png" for t in range(1, 13)]
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([t / 4 for t in range(PICTURES)])
    for t, frame in enumerate(frames):
        decoded = load_image(out / f"{t + 1:06d}.png")
        assert psnr_db(decoded, scene[t]) > 18
        assert psnr_db(frame.to_ndarray(format="rgb24").astype(np.uint8), decoded) > 25


def test_a_third_lost_leaves_a_stream_of_which_all_can_be_decoded(
    slimwire: Slimwire, folder: Path, tmp_path: Path
) -> None:
    clips = [tmp_path / "a.slim", tmp_path / "b.slim"]
    for clip in clips:
        said = slimwire("encode", folder, "-o", clip, "--loss", 0.3)

    detected = slimwire("detect", clips[0], "--json")

    assert detected.code == 0, detected.err
    lost = int(said.out.split(" lost")[0].rsplit(" ", 1)[1])
    assert 0 < lost == PICTURES - len(_rows(detected))
    assert clips[0].read_bytes() == clips[1].read_bytes()


def test_keys_may_be_finer_and_what_stands_still_is_refined(
    slimwire: Slimwire, folder: Path, tmp_path: Path
) -> None:
    clip, fine = tmp_path / "clip.slim", ("--key-level", 3, "--key-quality", 5)
    slimwire("encode", folder, "-o", clip, "--quality", 1, *fine, "--refine-after", 2)

    *records, summary = _rows(slimwire("inspect", clip, "--json"))
    found = _rows(slimwire("detect", clip, "--json"))

    points = {
        (row["kind"], row["frame"] is None): (row["level"], row["quality"]) for row in records
    }
    assert points[("intra", False)] == points[("inter", True)] == (3, 5)
    assert points[("inter", False)] == (0, 1)
    assert [row["kind"] for row in records if row["frame"] == PICTURES] == ["unchanged"]
    assert [row["frame"] for row in found] == list(range(1, PICTURES + 1))
    assert summary["bytes"] == clip.stat().st_size
    assert sum(row["bytes"] for row in found) + 21 == summary["bytes"]  # refinements with the next
    for row in records[1:]:
        assert row["depth"] == records[row["reference"] - 1]["depth"] + 1
    assert "refined" in slimwire("inspect", clip).out


def test_inspect_without_the_model_tells_what_the_bytes_say(
    slimwire: Slimwire, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()

    outcome = slimwire("inspect", clip, "--json", "--models", tmp_path / "none")
    text = slimwire("inspect", clip, "--models", tmp_path / "none")

    *records, summary = _rows(outcome)
    assert (outcome.code, text.code) == (0, 0)
    assert [row["kind"] for row in records].count("intra") == 2
    assert all(len(row["reference_digest"]) == 10 for row in records if row["kind"] == "inter")
    assert summary["model"] is None


def test_a_damaged_record_costs_what_depends_on_it(slimwire: Slimwire, clip: Path) -> None:
    whole, ends = _rows(slimwire("detect", clip, "--json")), _record_ends(slimwire, clip)
    data = bytearray(clip.read_bytes())
    data[ends[4] - 6] ^= 1  # in the fifth record's container; the ninth is the next key
    clip.write_bytes(data)

    outcome = slimwire("detect", clip, "--json")
    inspected = slimwire("inspect", clip, "--json")

    assert outcome.code == inspected.code == ExitCode.BAD_DATA
    assert _rows(outcome) == [*whole[:4], *whole[8:]]
    errors = outcome.err.splitlines()
    assert errors == inspected.err.splitlines()
    assert errors[0].startswith(f"error: {clip}: record 5: container has CRC32C")
    for number, line in enumerate(errors[1:], 6):
        assert line.startswith(f"error: {clip}: record {number}: container needs the frame")
    assert len(errors) == 4


def test_a_cut_stream_gives_what_is_whole(slimwire: Slimwire, clip: Path, tmp_path: Path) -> None:
    clip.write_bytes(clip.read_bytes()[:-5])

    detected = slimwire("detect", clip, "--json")
    decoded = slimwire("decode", clip, "-o", tmp_path / "out")

    for outcome in (detected, decoded):
        assert outcome.code == ExitCode.BAD_DATA
        assert outcome.err.startswith(f"error: {clip}: record 12: the stream ends within it")
    assert len(_rows(detected)) == len(list((tmp_path / "out").iterdir())) == PICTURES - 1


def test_a_stream_that_grows_is_followed(slimwire: Slimwire, clip: Path, tmp_path: Path) -> None:
    data, growing = clip.read_bytes(), tmp_path / "growing.slim"
    cut = _record_ends(slimwire, clip)[2] + 2
    growing.write_bytes(data[:cut])

    def grow() -> None:
        time.sleep(0.3)
        with growing.open("ab") as file:
            file.write(data[cut:-3])

    writer = threading.Thread(target=grow)
    writer.start()
    outcome = slimwire("detect", growing, "--json", "--follow", 5)
    writer.join()

    assert (outcome.code, outcome.err) == (0, "")  # the last record may still be written
    assert len(_rows(outcome)) == PICTURES - 1


def test_streams_go_through_pipes(toy_models: Path, folder: Path) -> None:
    def pipe(given: bytes, *arguments: object) -> bytes:
        command = [sys.executable, "-m", "slimcli", *map(str, arguments), f"--models={toy_models}"]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    clip = pipe(b"", "encode", folder, "-o", "-", "--model=toy")

    assert clip.startswith(b"\x9bSLS")
    assert len(pipe(clip, "detect", "-", "--json").splitlines()) == PICTURES
    assert json.loads(pipe(clip, "inspect", "-", "--json").splitlines()[-1])["records"] == PICTURES
    assert pipe(clip, "decode", "-", "-o", "-").startswith(b"\x1a\x45\xdf\xa3")  # Matroska


def test_a_file_is_told_by_its_magic(slimwire: Slimwire, clip: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "clip.png"
    shutil.copy(clip, renamed)

    assert len(_rows(slimwire("detect", renamed, "--json"))) == PICTURES
    assert slimwire("detect", clip, "--uncompressed").code == ExitCode.USAGE


def test_a_frames_fault_ends_that_frame_only(
    slimwire: Slimwire, folder: Path, tmp_path: Path
) -> None:
    pictures, clip = tmp_path / "pictures", tmp_path / "clip.slim"
    shutil.copytree(folder, pictures)
    Image.fromarray(make_image(50, 50)).save(pictures / "002.png")
    (pictures / "004.png").write_bytes(b"no picture")

    outcome = slimwire("encode", pictures, "-o", clip)

    assert outcome.code == ExitCode.BAD_DATA
    small, bad = outcome.err.splitlines()
    assert small == f"error: {pictures}, picture 3: is not of 96x64 pixels, as the first one"
    assert "004.png: not a picture" in bad
    frames = [row["frame"] for row in _rows(slimwire("detect", clip, "--json"))]
    assert frames == [n for n in range(1, PICTURES + 1) if n not in (3, 5)]


def test_nothing_is_overwritten_or_made_of_nothing(
    slimwire: Slimwire, clip: Path, folder: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    before = clip.read_bytes()

    again = slimwire("encode", folder, "-o", clip)
    nothing = slimwire("encode", empty, "-o", tmp_path / "nothing.slim")

    assert (again.code, nothing.code) == (ExitCode.CANNOT_CREATE, ExitCode.NO_INPUT)
    assert clip.read_bytes() == before
    assert not (tmp_path / "nothing.slim").exists()


def test_boxes_are_drawn_into_every_frame(slimwire: Slimwire, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "boxes"

    outcome = slimwire("detect", clip, "--out", out, "--every", 2, "--limit", 3)

    assert outcome.code == 0, outcome.err
    assert [p.name for p in sorted(out.iterdir())] == [f"clip-{n:06d}.jpg" for n in (1, 3, 5)]
    assert "clip.slim, picture 3: " in outcome.out
    assert " bytes, inter" in outcome.out


def test_a_codec_without_the_context_prior_makes_streams_of_keys(
    slimwire: Slimwire, folder: Path, tmp_path: Path
) -> None:
    models, clip = tmp_path / "models", tmp_path / "clip.slim"
    make_toy_codec(models)
    make_toy_detector(models)

    slimwire("encode", folder, "-o", clip, "--models", models)
    rows = _rows(slimwire("detect", clip, "--json", "--models", models))

    assert [row["kind"] for row in rows] == ["intra"] * PICTURES
    assert all(row["activity"] == 1 for row in rows)
