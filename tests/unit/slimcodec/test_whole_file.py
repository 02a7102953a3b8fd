"""Files are written whole or not at all; what is no file is written straight."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from slimcodec.whole_file import is_replaceable, whole_file, write_whole


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_halfway(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"half of it")
        raise ZeroDivisionError


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.bin", b"whole")
    write_whole(tmp_path / "a.txt", "grün\n")

    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "grün\n"
    assert names_in(tmp_path) == ["a.bin", "a.txt"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")

    with whole_file(target) as file:
        file.write(b"after")
        file.flush()
        assert target.read_bytes() == b"before"

    assert target.read_bytes() == b"after"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")

    with pytest.raises(ZeroDivisionError):
        stop_halfway(target)

    assert target.read_bytes() == b"before"
    assert names_in(tmp_path) == ["a.bin"]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("n" * 255), b"whole")

    assert (tmp_path / ("n" * 255)).read_bytes() == b"whole"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "a.bin"
    link = tmp_path / "link"
    link.symlink_to("there/a.bin")
    if exists:
        target.write_bytes(b"before")

    write_whole(link, b"after")

    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    assert names_in(target.parent) == ["a.bin"]


def test_the_mode_of_a_file_that_is_replaced_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.touch(mode=0o600)

    write_whole(target, b"after")

    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_bytes() == b"after"


def test_a_pipe_is_written_straight_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()

    with whole_file(pipe) as file:
        file.write(b"????")
        file.seek(0)  # as writers of archives do
        file.write(b"late")
    reader.join()

    assert received == [b"late"]
    assert pipe.is_fifo()


def test_a_device_is_written_straight_and_stays() -> None:
    write_whole(Path("/dev/null"), b"gone")

    assert Path("/dev/null").is_char_device()


def test_a_failure_sends_nothing_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        stop_halfway(Path("/dev/stdout"))

    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1"])
def test_a_redirected_standard_output_is_appended_to_not_replaced(
    tmp_path: Path, path: str
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    program = (
        "import pathlib, sys; from slimcodec.whole_file import write_whole;"
        "write_whole(pathlib.Path(sys.argv[1]), 'after\\n')"
    )

    with log.open("ab") as out:
        inode = os.fstat(out.fileno()).st_ino
        subprocess.run([sys.executable, "-c", program, path], stdout=out, check=True)

    assert log.read_bytes() == b"before\nafter\n"
    assert log.stat().st_ino == inode


def test_a_link_to_standard_output_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "out"
    link.symlink_to("/dev/stdout")

    assert not is_replaceable(link)


def test_a_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path, b"")

    assert caught.value.filename == str(tmp_path)


def test_a_missing_folder_is_refused_by_the_name_that_was_given(tmp_path: Path) -> None:
    path = tmp_path / "nodir" / "a.bin"

    with pytest.raises(FileNotFoundError, match="its folder does not exist") as caught:
        write_whole(path, b"")

    assert caught.value.filename == str(path)


def test_a_file_where_a_folder_belongs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError) as caught:
        write_whole(tmp_path / "file" / "a.bin", b"")

    assert caught.value.filename == str(tmp_path / "file" / "a.bin")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "a", b"")


def test_what_the_disk_refuses_names_the_target() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(Path("/dev/full"), b"too much")

    assert caught.value.filename == "/dev/full"


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "a.bin"):
        (tmp_path / "source").read_bytes()

    assert caught.value.filename == str(tmp_path / "source")
