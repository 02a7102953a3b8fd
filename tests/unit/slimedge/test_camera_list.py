"""A YAML list of cameras: what is common, what is each one's, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimedge.camera_list import load_cameras
from slimops.errors import SettingsError

TWO = """
cameras:
  - {id: gate, source: gate.mp4, max_fps: 2, budget_bytes: 500}
  - {id: yard, source_file: SOURCE}
"""


def write(folder: Path, content: str) -> dict[str, str]:
    """The environment that names such a list."""
    (folder / "source").write_text("rtsp://me:secret@yard/1\n")
    (folder / "cameras.yml").write_text(content.replace("SOURCE", str(folder / "source")))
    return {"EDGE_CAMERAS": str(folder / "cameras.yml")}


def test_what_a_camera_does_not_say_the_environment_says_for_all(tmp_path: Path) -> None:
    environ = {**write(tmp_path, TWO), "EDGE_MAX_FPS": "5", "EDGE_SOURCE": "other.mp4"}

    gate, yard = load_cameras({"cloud_address": "127.0.0.1:1"}, environ=environ)

    assert (gate.camera_id, gate.source, gate.max_fps) == ("gate", "gate.mp4", 2.0)
    assert (yard.camera_id, yard.source, yard.max_fps) == ("yard", "rtsp://me:secret@yard/1", 5.0)
    assert {camera.cloud_address for camera in (gate, yard)} == {"127.0.0.1:1"}
    assert gate.origins["max_fps"] == f"{tmp_path}/cameras.yml: gate.max_fps"


def test_amounts_of_the_process_are_shared_by_those_without_one_of_their_own(
    tmp_path: Path,
) -> None:
    amounts = {"EDGE_CPU_SHARE": "0.5", "EDGE_RING_BYTES": "4000001", "EDGE_BUDGET_BYTES": "900"}

    gate, yard = load_cameras(environ=write(tmp_path, TWO) | amounts)

    assert gate.cpu_share == yard.cpu_share == 0.25
    assert gate.ring_bytes == yard.ring_bytes == 2_000_001
    assert (gate.budget_bytes, yard.budget_bytes) == (500, 900)
    assert load_cameras(environ=write(tmp_path, TWO))[1].cpu_share is None


def test_without_a_list_there_is_one_camera(tmp_path: Path) -> None:
    (camera,) = load_cameras({"source": "a.mp4"}, environ={})

    assert (camera.camera_id, camera.ring_bytes) == ("camera", 256 * 2**20)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("cameras: [{id: gate, source: a, max_fsp: 1}]", r": gate\.max_fsp: unknown.*max_fps\?"),
        ("cameras: [{id: gate, source: a, max_fps: 0}]", r": gate\.max_fps: .*greater than 0"),
        ("cameras: [{id: a/b, source: a}]", r": a/b\.id: .*match pattern"),
        ("cameras: [{id: gate, camera_id: b, source: a}]", r": gate\.camera_id: is called id"),
        ("cameras: [{id: gate}]", r": gate\.source: is missing"),
        ("cameras: [{id: 1, source: a}, {id: 1, source: b}]", r": 1\.id: is there twice"),
        ("cameras: [{source: a}]", "camera 1: expected settings"),
        ("cameras: [gate]", "camera 1: expected settings"),
        ("cameras: [{id: gate, source: a, http_port: 1}]", r"gate\.http_port: .*EDGE_HTTP_PORT"),
        ("cameras: []", "expected `cameras:` with a list"),
        ("cams: [{id: gate}]", "expected `cameras:` with a list"),
        ("cameras: [{id: gate, id: yard}]", "line 1: id is there twice"),
    ],
)
def test_what_is_wrong_is_named_by_file_camera_and_key(
    tmp_path: Path, content: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=rf"cameras\.yml.*{problem}"):
        load_cameras(environ=write(tmp_path, content))


def test_every_problem_is_told_and_a_common_one_once(tmp_path: Path) -> None:
    environ = {**write(tmp_path, TWO), "EDGE_MAX_FPS": "0", "EDGE_RING": "1"}

    with pytest.raises(SettingsError) as caught:
        load_cameras({"source": "b.mp4"}, environ=environ)

    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        str(tmp_path / "cameras.yml"),  # an option says the source, too
        "EDGE_RING",
        "max_fps (EDGE_MAX_FPS)",
    ]
