"""The place in a recording up to which nothing is left to be sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slimedge.errors import CameraError
from slimedge.event import Acked, Captured, LossReason, Lost, Skipped, SkipReason, Stage
from slimedge.memory.bookmark import Bookmark
from slimedge.settings import EdgeSettings


@pytest.fixture
def settings(tmp_path: Path) -> EdgeSettings:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"a video")
    return EdgeSettings(source=str(source), camera_id="gate")


def open_at(tmp_path: Path, settings: EdgeSettings, start_unix: float | None = None) -> Bookmark:
    return Bookmark.open(tmp_path / "state", settings, start_unix)


def persisted(sequence: int) -> Acked:
    return Acked(sequence, Stage.PERSISTED, 0.1)


def test_the_next_start_goes_on_behind_what_the_cloud_has_without_a_hole(
    tmp_path: Path, settings: EdgeSettings
) -> None:
    bookmark = open_at(tmp_path, settings)
    for event in (
        persisted(1),
        Acked(2, Stage.RECEIVED, 0.1),
        persisted(3),
        Lost(4, LossReason.TOO_LARGE),
        Lost(2, LossReason.STOPPED),
    ):
        bookmark.notify(event)
    assert open_at(tmp_path, settings).frames == 1

    bookmark.notify(Acked(2, Stage.DETECTED, 0.1))  # which implies PERSISTED
    bookmark.notify(persisted(2))
    bookmark.notify(Skipped(5, SkipReason.ENCODE_FAILED))

    again = open_at(tmp_path, settings)
    assert (again.frames, again.epoch) == (5, bookmark.epoch)
    assert bookmark.refused == 2
    assert Bookmark.open(tmp_path / "state", settings, None, again=True).frames == 0


def test_a_recording_is_whole_when_nothing_of_it_is_left(
    tmp_path: Path, settings: EdgeSettings
) -> None:
    bookmark = open_at(tmp_path, settings)
    for event in (Captured(1, (4, 4)), Captured(2, (4, 4)), persisted(1)):
        bookmark.notify(event)

    before = bookmark.is_whole
    bookmark.notify(persisted(2))
    assert (before, bookmark.is_whole) == (False, True)
    assert open_at(tmp_path, settings).is_whole


def test_another_file_camera_cloud_or_setting_is_another_recording(
    tmp_path: Path, settings: EdgeSettings
) -> None:
    first = open_at(tmp_path, settings)
    changes = ({"camera_id": "door"}, {"cloud_address": "[::1]:1"}, {"level": 1}, {"max_edge": 64})
    others = [open_at(tmp_path, settings.model_copy(update=change)) for change in changes]
    others.append(open_at(tmp_path, settings, start_unix=1.0))
    os.utime(settings.source, (1.0, 1.0))
    others.append(open_at(tmp_path, settings))
    (tmp_path / "folder").mkdir()
    in_folder = settings.model_copy(update={"source": str(tmp_path / "folder")})
    others.append(open_at(tmp_path, in_folder))
    (tmp_path / "folder" / "a.png").touch()
    others.append(open_at(tmp_path, in_folder))

    epochs = {bookmark.epoch for bookmark in (first, *others)}
    assert len(epochs) == 1 + len(others)
    assert max(epochs) < 2**48, "a live edge's is a time, and larger"


def test_a_place_that_is_lost_or_cannot_be_kept_costs_only_time(
    tmp_path: Path, settings: EdgeSettings
) -> None:
    bookmark = open_at(tmp_path, settings)
    bookmark.notify(persisted(1))
    bookmark.path.write_text("")

    again = open_at(tmp_path, settings)

    assert (again.frames, again.epoch) == (0, bookmark.epoch)
    bookmark.path.unlink()
    bookmark.path.mkdir()
    for sequence in (2, 3):
        bookmark.notify(persisted(sequence))
    assert bookmark.frames == 3


def test_an_absent_recording_is_named(tmp_path: Path, settings: EdgeSettings) -> None:
    absent = settings.model_copy(update={"source": str(tmp_path / "b.mp4")})

    with pytest.raises(CameraError, match=r"b\.mp4: No such file"):
        open_at(tmp_path, absent)
