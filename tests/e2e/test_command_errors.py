"""What a person reads when something is wrong, and what a script gets as exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slimcli.exits import ExitCode
from support.command import Slimwire
from support.models.toy_artifact import make_toy_codec, make_toy_detector


@pytest.fixture
def container(slimwire: Slimwire, picture: Path, tmp_path: Path) -> Path:
    path = tmp_path / "a.slim"
    assert slimwire("encode", picture, "-o", path, "--level", 1).code == 0
    return path


def _truncate(data: bytes) -> bytes:
    return data[:-7]


def _damage(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _from_the_future(data: bytes) -> bytes:
    return data[:4] + bytes([9]) + data[5:]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: b"\x89PNG" + data, "not a Slimwire container"),
        (lambda data: b"", "not a Slimwire container"),
        (_truncate, "fetch it again"),
        (_damage, "checksum"),
        (_from_the_future, "container version 9; this build reads up to 3; update the reader"),
        (lambda data: data + b"x", "follow the last section"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "detect", "decode"])
def test_bad_bytes_are_refused_in_words(
    slimwire: Slimwire,
    container: Path,
    tmp_path: Path,
    command: str,
    spoil: Callable[[bytes], bytes],
    said: str,
) -> None:
    container.write_bytes(spoil(container.read_bytes()))
    output = ("-o", tmp_path / "out.png") if command == "decode" else ()
    if command == "detect" and said == "not a Slimwire container":
        said = "neither a container, a stream nor a picture"

    outcome = slimwire(command, container, *output)

    assert outcome.code == ExitCode.BAD_DATA
    assert outcome.err.startswith(f"error: {container}: ")
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out.png").exists()


def test_of_two_containers_the_damaged_one_is_named(
    slimwire: Slimwire, container: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "enhancement.slim"
    damaged.write_bytes(_damage(container.read_bytes()))

    outcome = slimwire("decode", container, "--with", damaged, "-o", tmp_path / "out.png")

    assert outcome.code == ExitCode.BAD_DATA
    assert outcome.err.startswith(f"error: {damaged}: ")


def test_a_container_of_another_model_names_both(
    slimwire: Slimwire, container: Path, tmp_path: Path
) -> None:
    make_toy_codec(tmp_path / "other", seed=1)
    make_toy_detector(tmp_path / "other")

    outcome = slimwire("detect", container, "--models", tmp_path / "other")

    assert outcome.code == ExitCode.BAD_DATA
    assert "container made with model" in outcome.err
    assert "this decoder has model" in outcome.err


def test_a_file_that_is_not_there_is_missing_input(slimwire: Slimwire) -> None:
    outcome = slimwire("inspect", "nowhere.slim")

    assert outcome.code == ExitCode.NO_INPUT
    assert outcome.err == "error: nowhere.slim: no such file or directory\n"


def test_what_is_no_picture_is_bad_data(slimwire: Slimwire, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")

    outcome = slimwire("encode", text, "-o", tmp_path / "a.slim")

    assert outcome.code == ExitCode.BAD_DATA
    assert "not a picture" in outcome.err


def test_an_unknown_model_is_a_wrong_configuration(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    outcome = slimwire("encode", picture, "-o", tmp_path / "a.slim", "--model", "nobody")

    assert outcome.code == ExitCode.CONFIG
    assert "no model 'nobody'" in outcome.err
    assert "there is toy" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--level", "7"], "levels 0..3"),
        (["--quality", "7"], "qualities 0..5"),
        (["--level", "-1"], "see `slimwire encode --help`"),
        (["--colour"], "No such option"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    slimwire: Slimwire, picture: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    outcome = slimwire("encode", picture, "-o", tmp_path / "a.slim", *arguments)

    assert outcome.code == ExitCode.USAGE
    assert said in outcome.err


def test_an_enhancement_cannot_stand_alone(
    slimwire: Slimwire, container: Path, picture: Path, tmp_path: Path
) -> None:
    slimwire("upgrade", container, picture, "-o", tmp_path / "more.slim")

    outcome = slimwire("decode", tmp_path / "more.slim", "-o", tmp_path / "out.png")

    assert outcome.code == ExitCode.BAD_DATA
    assert "enhancement" in outcome.err


def test_nothing_is_overwritten_unless_forced(
    slimwire: Slimwire, container: Path, picture: Path
) -> None:
    before = container.read_bytes()

    refused = slimwire("encode", picture, "-o", container, "--quality", 0)
    kept = container.read_bytes()
    forced = slimwire("encode", picture, "-o", container, "--quality", 0, "--force")

    assert refused.code == ExitCode.CANNOT_CREATE
    assert "use --force" in refused.err
    assert kept == before
    assert forced.code == 0
    assert container.read_bytes() != before


def test_an_overlay_is_for_one_picture(slimwire: Slimwire, container: Path, tmp_path: Path) -> None:
    outcome = slimwire("detect", container, container, "--overlay", tmp_path / "o.png")

    assert outcome.code == ExitCode.USAGE


def test_tracebacks_are_for_those_who_ask(
    slimwire: Slimwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMWIRE_DEBUG", "1")

    with pytest.raises(FileNotFoundError):
        slimwire("inspect", "nowhere.slim")


def test_no_arguments_show_the_help(slimwire: Slimwire) -> None:
    outcome = slimwire()

    assert outcome.code == ExitCode.USAGE
    assert "encode" in outcome.out + outcome.err
    assert "error:" not in outcome.err
