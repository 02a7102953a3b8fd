"""What the demo refuses before anything starts, and the port of its page."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from slimcli.demo.plan import HOST, check_point, check_source, known_street, listen
from slimcli.exits import BadUsageError, ExitCode, UnavailableError, exit_code_of
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_toy_codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    root = tmp_path_factory.mktemp("models")
    make_toy_codec(root)
    return load_codec_artifact(root / "toy" / "1")


@pytest.mark.parametrize("source", ["nowhere.mp4", "/dev/video77", "ftp://host/street.mp4"])
def test_a_source_that_is_not_there_is_refused(source: str) -> None:
    with pytest.raises(Exception, match=f"{source[:3]}.*") as refused:
        check_source(source)

    assert exit_code_of(refused.value) is ExitCode.NO_INPUT


def test_a_file_and_a_network_camera_are_taken(tmp_path: Path) -> None:
    (tmp_path / "street.mp4").touch()

    check_source(str(tmp_path / "street.mp4"))
    check_source("rtsp://user:secret@camera.local/stream")


def test_a_level_or_quality_that_the_model_lacks_is_refused(codec: CodecArtifact) -> None:
    check_point(codec, 3, 1.5)

    with pytest.raises(BadUsageError, match="--level 7: toy/1 has levels 0 to 3"):
        check_point(codec, 7, None)
    with pytest.raises(BadUsageError, match="--quality 15: toy/1 has qualities 0 to"):
        check_point(codec, None, 15)


def test_the_page_keeps_its_port_unless_it_is_taken() -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]

        with listen(None, usual=taken) as elsewhere:
            assert elsewhere.getsockname()[1] not in (0, taken)
        with pytest.raises(UnavailableError, match=f"--http-port {taken} is taken"):
            listen(taken, usual=0)

    with listen(None, usual=taken) as page:
        assert page.getsockname()[1] == taken


def test_two_demos_that_start_together_have_two_ports() -> None:
    with listen(None, usual=0) as first:
        port = first.getsockname()[1]

        with listen(None, usual=port) as second:
            assert second.getsockname()[1] != port


def test_only_labels_that_the_detector_knows_are_asked_for() -> None:
    assert known_street(["kite", "car", "person"]) == ("person", "car")
    assert known_street(["thing"]) == ()
