"""Files of class names."""

from pathlib import Path

import pytest

from slimdetect import NamesError, load_names


def test_names_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.names"
    path.write_bytes("person\r\n traffic light \nVélo\n\n".encode())

    assert load_names(path, classes=3) == ("person", "traffic light", "Vélo")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no names"),
        (b"a\nb\n", "holds 2 names; the detector has 3 classes"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a" * (2**20 + 1), "is larger than"),
    ],
)
def test_a_file_that_gives_no_such_names_is_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(data)

    with pytest.raises(NamesError, match=message) as caught:
        load_names(path, classes=3)

    assert caught.value.path == path
