"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcli.exits import OutputExistsError
from slimcli.output import new_file, write_bytes


def test_a_file_appears_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"whole", force=False)

    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")

    def fail_halfway() -> None:
        with new_file(target, force=True) as temporary:
            temporary.write_bytes(b"half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()

    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")

    with pytest.raises(OutputExistsError), new_file(target, force=False):
        pytest.fail("the work began")


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"

    def write_too_late() -> None:
        with new_file(target, force=False) as temporary:
            temporary.write_bytes(b"ours")
            target.write_bytes(b"another's")

    with pytest.raises(OutputExistsError):
        write_too_late()

    assert target.read_bytes() == b"another's"


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with new_file(tmp_path / "a.png", force=False) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"")
