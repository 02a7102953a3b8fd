"""The command loses no file by accident; how files are written whole: `slimcodec.whole_file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcli.streams import refuse_existing, write_bytes


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"before")

    with pytest.raises(FileExistsError, match="--force"):
        refuse_existing(tmp_path / "a.bin", force=False)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    refuse_existing(target, force=False)
    target.write_bytes(b"another's")

    with pytest.raises(FileExistsError):
        write_bytes(target, b"ours", force=False)

    assert target.read_bytes() == b"another's"


def test_force_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"before")

    write_bytes(tmp_path / "a.bin", b"after", force=True)

    assert (tmp_path / "a.bin").read_bytes() == b"after"


@pytest.mark.parametrize("force", [False, True])
def test_a_device_needs_no_force_and_is_never_replaced(force: bool) -> None:
    write_bytes(Path("/dev/null"), b"gone", force=force)

    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_refused_as_a_folder(tmp_path: Path, force: bool) -> None:
    with pytest.raises(IsADirectoryError):
        refuse_existing(tmp_path, force=force)


def test_a_missing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        refuse_existing(tmp_path / "nodir" / "a.bin", force=False)
