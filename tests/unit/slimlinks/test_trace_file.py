from pathlib import Path

import pytest

from slimlinks.errors import TraceError
from slimlinks.trace import read_trace


def write(folder: Path, text: str, name: str = "link.txt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_two_columns_are_seconds_and_megabits_per_second(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "10.0 0.8\n11.0 0\n\n13.0 1.6\n", "bus/a.txt"))

    assert (trace.name, trace.family) == ("a.txt", "bus")
    assert trace.times == (0.0, 1.0, 3.0)
    assert trace.bytes_per_second == (100_000.0, 0.0, 200_000.0)
    assert trace.seconds == 4.5  # the last rate holds as long as the middle one of 1 s and 2 s


def test_one_column_is_an_opportunity_for_1500_bytes_each(tmp_path: Path) -> None:
    # two packets in the 2nd millisecond, none until the 5th, one in the 5th and in the 6th
    trace = read_trace(write(tmp_path, "2\n2\n5\n6\n"))

    assert trace.seconds == 0.006
    assert trace.bytes_between(0.0, 0.006) == pytest.approx(4 * 1500)
    assert trace.bytes_between(0.0, 0.001) == 0.0
    assert trace.bytes_between(0.001, 0.002) == pytest.approx(3000)
    assert trace.bytes_between(0.002, 0.004) == 0.0
    assert trace.finish(0.0, 4500) == pytest.approx(0.005)
    assert trace.finish(0.0, 6000 + 3000) == pytest.approx(0.008)  # the round begins again


def test_opportunity_at_0_belongs_to_the_first_millisecond(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "0\n1\n3\n"))

    assert trace.bytes_between(0.0, 0.001) == pytest.approx(3000)
    assert trace.bytes_between(0.0, 0.003) == pytest.approx(4500)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("1 2 3\n", "line 1: `1 2 3`"),
        ("0 1\n1\n", "line 2: `1`"),
        ("5\n6 1\n", "line 2: `6 1`"),
        ("0 1\nx 1\n", "line 2: `x 1`; a trace has two columns"),
        ("0 1\n1 fast\n", "line 2"),
        ("0 1\n0 2\n", "line 2: `0 2`"),
        ("1 1\nnan 2\n", "line 2"),
        ("0 -1\n", "line 1: `0 -1`"),
        ("0 nan\n", "line 1"),
        ("0 1e9\n", "line 1"),
        ("nan 1\n", "line 1"),
        ("0 0\n1 0\n", "carries nothing"),
        ("0\n1.5\n", "line 2: `1.5`"),
        ("-3\n", "line 1"),
        ("7\n6\n", "line 2: `6`"),
        ("99999999999999\n", "line 1"),
    ],
)
def test_malformed_files_are_refused_and_the_line_is_named(
    tmp_path: Path, text: str, says: str
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(TraceError, match="link.txt") as caught:
        read_trace(path)

    assert says in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(path)
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "none.txt")
