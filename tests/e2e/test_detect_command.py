"""`slimwire detect` on everything that people try first: pictures, folders, videos, cameras."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from slimcli.exits import ExitCode
from slimcodec.image import load_image
from support.command import Outcome, Slimwire
from support.models.toy_artifact import make_image


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five pictures of 96 x 64 pixels, 10 a second."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(make_image(64, 96))))
        container.mux(stream.encode())
    return path


def _rows(outcome: Outcome) -> list[dict[str, object]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_a_picture_goes_through_the_codec(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    container = tmp_path / "a.slim"
    slimwire("encode", picture, "-o", container, "--level", 2, "--quality", 4)

    of_picture = slimwire("detect", picture, "--level", 2, "--quality", 4, "--json")
    of_container = slimwire("detect", container, "--json")
    alone = slimwire("detect", picture, "--uncompressed", "--json")

    [one], [other], [third] = _rows(of_picture), _rows(of_container), _rows(alone)
    assert one["detections"] == other["detections"]
    assert one["bytes"] == other["bytes"] == container.stat().st_size
    assert "bytes" not in third
    assert third["detections"] != one["detections"]


def test_a_folder_a_pattern_and_files_are_one_list(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        shutil.copy(picture, folder / name)
    slimwire("encode", picture, "-o", folder / "c.slim")
    (folder / "notes.txt").write_text("no picture")

    rows = _rows(slimwire("detect", folder, folder / "*.png", picture, "--json"))

    names = [Path(str(row["file"])).name for row in rows]
    assert names == ["a.png", "b.png", "c.slim", "a.png", "b.png", picture.name]


def test_pictures_with_boxes_are_left_in_a_folder(
    slimwire: Slimwire, picture: Path, video: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin" / picture.name
    twin.parent.mkdir()
    shutil.copy(picture, twin)
    out = tmp_path / "out"

    done = slimwire("detect", picture, twin, video, "--limit", 2, "--out", out)
    again = slimwire("detect", picture, "--out", out)

    assert done.code == 0, done.err
    stem = picture.stem
    expected = [f"{stem}.jpg", f"{stem}-2.jpg", "film-000000.jpg", "film-000001.jpg"]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    assert load_image(out / f"{stem}.jpg").shape == (64, 96, 3)
    assert again.code == ExitCode.CANNOT_CREATE


def test_a_video_is_read_picture_by_picture(slimwire: Slimwire, video: Path) -> None:
    rows = _rows(slimwire("detect", video, "--every", 2, "--json"))

    assert [row["frame"] for row in rows] == [0, 2, 4]
    assert [row["seconds"] for row in rows] == pytest.approx([0.0, 0.2, 0.4])


def test_a_video_needs_its_extra(slimwire: Slimwire, picture: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.touch()
    script = "import sys; sys.modules['av'] = None; from slimcli.app import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", script, "detect", str(film)], capture_output=True, check=False
    )

    assert done.returncode == ExitCode.UNAVAILABLE
    assert b"`slimwire detect VIDEO` needs av" in done.stderr


def test_what_fails_is_told_and_the_others_go_on(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.slim"
    slimwire("encode", picture, "-o", damaged)
    damaged.write_bytes(damaged.read_bytes()[:-1])

    outcome = slimwire("detect", "missing.slim", damaged, picture, "--json")

    assert [row["file"] for row in _rows(outcome)] == [str(picture)]
    missing, cut = outcome.err.splitlines()
    assert missing == "error: missing.slim: no such file or directory"
    assert cut.startswith(f"error: {damaged}: ")
    assert outcome.code == ExitCode.NO_INPUT


def test_a_wrong_model_is_told_once(slimwire: Slimwire, picture: Path) -> None:
    outcome = slimwire("detect", picture, picture, "--model", "nobody")

    assert outcome.code == ExitCode.CONFIG
    assert outcome.err.count("no model 'nobody'") == 1


@pytest.mark.parametrize("source", ["empty", "*.png"])
def test_a_folder_or_pattern_without_pictures_is_missing_input(
    slimwire: Slimwire, tmp_path: Path, source: str
) -> None:
    (tmp_path / "empty").mkdir()

    outcome = slimwire("detect", tmp_path / source)

    assert outcome.code == ExitCode.NO_INPUT
    assert "no picture, video or container there" in outcome.err


def test_a_camera_that_is_away_is_told_without_its_password(slimwire: Slimwire) -> None:
    outcome = slimwire("detect", "rtsp://user:secret@127.0.0.1:1/stream")

    assert outcome.code == ExitCode.NO_INPUT
    assert "Connection refused" in outcome.err
    assert "secret" not in outcome.err


def test_a_container_is_not_uncompressed(slimwire: Slimwire, picture: Path, tmp_path: Path) -> None:
    container = tmp_path / "a.slim"
    slimwire("encode", picture, "-o", container)

    outcome = slimwire("detect", container, "--uncompressed")

    assert outcome.code == ExitCode.USAGE


def test_a_container_finds_the_model_that_made_it(
    slimwire: Slimwire, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, shown = tmp_path / "a.slim", tmp_path / "a.png"
    slimwire("encode", picture, "-o", container)
    monkeypatch.delenv("SLIMWIRE_MODEL")  # the one taken by itself is not among the toys

    codes = [
        slimwire("detect", container).code,
        slimwire("decode", container, "-o", shown).code,
        slimwire("upgrade", container, picture, "-o", tmp_path / "b.slim").code,
    ]

    assert codes == [0, 0, 0]


def _pipe(toy_models: Path, given: bytes, *arguments: object) -> tuple[int, bytes, bytes]:
    command = [sys.executable, "-m", "slimcli", *map(str, arguments), "--models", str(toy_models)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_dash_is_standard_input_and_output(toy_models: Path, picture: Path) -> None:
    _, base, _ = _pipe(toy_models, picture.read_bytes(), "encode", "-", "-o", "-", "--model=toy")
    seen = _pipe(toy_models, base, "inspect", "-", "--json")
    found = _pipe(toy_models, base, "detect", "-", "--json", "--min-score", "0.1")
    drawn = _pipe(toy_models, base, "detect", "-", "--json", "--overlay", "-")
    decoded = _pipe(toy_models, base, "decode", "-", "-o", "-")
    rest = _pipe(toy_models, base, "upgrade", "-", picture, "-o", "-")
    twice = _pipe(toy_models, base, "decode", "-", "--with", "-", "-o", "-")

    assert json.loads(seen[1])["bytes"] == len(base)
    assert json.loads(found[1])["detections"]
    assert json.loads(drawn[2])["file"] == "-"
    for _, shown, _ in (drawn, decoded):
        assert load_image(shown).shape == (64, 96, 3)
    assert json.loads(_pipe(toy_models, rest[1], "inspect", "-", "--json")[1])["first_group"] == 1
    assert twice[0] == ExitCode.USAGE
    assert b"which can be read once" in twice[2]


def test_a_device_is_written_to_and_stays(toy_models: Path, picture: Path) -> None:
    code, container, said = _pipe(
        toy_models, b"", "encode", picture, "-o", "/dev/stdout", "--model", "toy"
    )

    assert code == 0
    assert container.startswith(b"\x9bSLW")
    assert b"bits per pixel" in said
    assert Path("/dev/stdout").is_symlink()


def test_an_output_that_cannot_be_is_named_as_it_was_given(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    container = tmp_path / "a.slim"
    slimwire("encode", picture, "-o", container)

    unknown = slimwire("decode", container, "-o", tmp_path / "picture")
    nowhere = slimwire("encode", picture, "-o", tmp_path / "no" / "x.slim", "-f")
    folder = slimwire("encode", picture, "-o", tmp_path, "-f")

    assert unknown.err == "error: unknown suffix '' of a picture; use .png, .jpg or .webp\n"
    assert nowhere.err.startswith(f"error: {tmp_path / 'no' / 'x.slim'}: its folder does not exist")
    assert folder.err == f"error: {tmp_path}: is a directory\n"
