"""Stream files: whole, growing, through a pipe, cut and damaged."""

import io
import os
import threading
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcodec.container import MAGIC as CONTAINER_MAGIC
from slimcodec.container import Container, Section, pack_container
from slimcodec.errors import (
    BitstreamError,
    NotAContainerError,
    StreamError,
    UnsupportedVersionError,
)
from slimcodec.stream import HEADER_BYTES, MAGIC, Record, StreamHeader, StreamReader, StreamWriter

HEADER = StreamHeader(b"8 octets", (72, 120))
TIMES = (0.0, 0.2, 3.000001, 40_000.5)
NUMBERS = (1, 6, None, 1_000_001)


def container(fill: int, header: StreamHeader = HEADER) -> bytes:
    section = Section(0, 0, bytes([fill]) * (100 * fill))
    return pack_container(
        Container(header.fingerprint, 0, 2.0, header.image_hw, 0, (section,), prior="context")
    )


def whole() -> tuple[bytes, list[int]]:
    """A stream of four records, and where each begins."""
    file = io.BytesIO()
    writer = StreamWriter(file, HEADER)
    begins = []
    for index, (seconds, number) in enumerate(zip(TIMES, NUMBERS, strict=True)):
        begins.append(file.tell())
        writer.write(seconds, number, container(index + 1))
    return file.getvalue(), begins


def read(data: bytes) -> tuple[list[Record], list[str]]:
    told: list[str] = []
    return list(StreamReader(io.BytesIO(data)).records(told.append)), told


def test_what_was_written_is_read() -> None:
    data, begins = whole()

    reader = StreamReader(io.BytesIO(data))
    records = list(reader.records(pytest.fail))

    assert reader.header == HEADER
    assert begins[0] == HEADER_BYTES == 21
    assert [r.index for r in records] == [1, 2, 3, 4]
    assert tuple(r.number for r in records) == NUMBERS
    assert [r.seconds for r in records] == pytest.approx(TIMES, abs=5e-7)
    assert [r.container for r in records] == [container(i) for i in (1, 2, 3, 4)]
    assert sum(r.num_bytes for r in records) + HEADER_BYTES == len(data)
    assert [reader.parse(r).quality for r in records] == [2.0] * 4
    assert [r.num_bytes - len(r.container) for r in records] == [5, 8, 9, 13]


def test_golden_bytes_are_those_of_the_specification() -> None:
    file = io.BytesIO()

    StreamWriter(file, HEADER).write(0.3, 2, b"\x9bSLW and so on")

    expected = "9b534c53013820 6f6374657473 4800 7800 2305f19c 0e e0a712 02 b9c7".replace(" ", "")
    assert file.getvalue() == bytes.fromhex(expected) + b"\x9bSLW and so on"


def test_a_growing_file_is_waited_for(tmp_path: Path) -> None:
    path, (data, begins) = tmp_path / "clip.slim", whole()
    path.write_bytes(data[: begins[1] + 3])
    taken: list[Record] = []
    told: list[str] = []
    with path.open("rb") as file, path.open("ab") as growing:
        records = StreamReader(file, patience_seconds=0.3).records(told.append)
        taken.append(next(records))
        growing.write(data[begins[1] + 3 : -1])
        growing.flush()
        taken += records

    assert [record.index for record in taken] == [1, 2, 3]
    assert told == []  # it may still be written


def test_a_pipe_that_gives_a_byte_at_a_time_is_enough() -> None:
    data, _ = whole()
    source, sink = os.pipe()

    def trickle() -> None:
        with os.fdopen(sink, "wb", buffering=0) as pipe:
            for octet in data:
                pipe.write(bytes([octet]))

    thread = threading.Thread(target=trickle)
    thread.start()
    with os.fdopen(source, "rb") as file:
        begun = file.read(len(MAGIC))
        records = list(StreamReader(file, begun).records(pytest.fail))
    thread.join()

    assert [record.number for record in records] == list(NUMBERS)


def test_a_cut_stream_gives_the_records_before_the_cut() -> None:
    data, begins = whole()
    for size in range(HEADER_BYTES, len(data)):
        records, told = read(data[:size])

        complete = sum(size >= end for end in [*begins[1:], len(data)])
        assert len(records) == complete
        is_clean = size in begins
        assert told == (
            []
            if is_clean
            else [f"record {complete + 1}: the stream ends within it; those before it are whole"]
        )


@given(position=st.integers(HEADER_BYTES, 1100), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_damage_costs_one_record_and_is_told(position: int, flip: int) -> None:
    data, begins = whole()
    assert len(data) > 1100
    damaged = bytearray(data)
    damaged[position] ^= flip
    hit = sum(position >= begin for begin in begins)

    told: list[str] = []
    reader, kept = StreamReader(io.BytesIO(damaged)), []
    for record in reader.records(told.append):
        try:
            reader.parse(record)
        except BitstreamError:
            told.append(f"record {record.index}: ")
        else:
            kept.append(record)

    assert [record.number for record in kept] == [
        number for index, number in enumerate(NUMBERS, 1) if index != hit
    ]
    assert [record.seconds for record in kept] == pytest.approx(
        [seconds for index, seconds in enumerate(TIMES, 1) if index != hit], abs=5e-7
    )
    assert told[0].startswith(f"record {hit}: ")


@given(order=st.lists(st.integers(0, 3), max_size=9))
@settings(deadline=None, max_examples=50)
def test_records_come_as_they_lie_also_twice_and_in_another_order(order: list[int]) -> None:
    data, begins = whole()
    ends = [*begins[1:], len(data)]
    parts = [data[a:b] for a, b in zip(begins, ends, strict=True)]

    records, told = read(data[:HEADER_BYTES] + b"".join(parts[i] for i in order))

    assert [record.number for record in records] == [NUMBERS[i] for i in order]
    assert [record.container for record in records] == [container(i + 1) for i in order]
    assert [record.index for record in records] == list(range(1, len(order) + 1))
    assert told == []


def head_of(*fields: bytes) -> bytes:
    """A head whose check is right, and a container's magic."""
    head = b"".join(fields)
    crc: int = google_crc32c.value(head)
    return head + crc.to_bytes(4, "little")[:2] + CONTAINER_MAGIC


@pytest.mark.parametrize("length", [b"\xe8\x07", b"\xff\xff\xff\x7f"])  # 1,000 and the most
def test_length_beyond_the_end_gives_nothing_and_is_told(length: bytes) -> None:
    data, begins = whole()

    records, told = read(data[: begins[1]] + head_of(length, b"\0", b"\1") + bytes(100))

    assert [record.index for record in records] == [1]
    assert told == ["record 2: the stream ends within it; those before it are whole"]


@pytest.mark.parametrize(
    "fields",
    [
        (b"\xff\xff\xff\xff\x01", b"\0", b"\1"),
        (b"\x84\x80\0", b"\0", b"\1"),
        (b"\x04", b"\x80" * 8 + b"\1", b"\1"),
        (b"\x04", b"\0", b"\x81\0"),
    ],
)
def test_numbers_that_no_writer_writes_are_damage(fields: tuple[bytes, ...]) -> None:
    data, begins = whole()
    strange = head_of(*fields)

    records, told = read(data[: begins[1]] + strange + data[begins[2] :])

    assert [record.number for record in records] == [NUMBERS[0], NUMBERS[2], NUMBERS[3]]
    assert told == ["record 2: its head is damaged; reading goes on at the next whole one"]


@given(junk=st.binary(max_size=300), at=st.integers(0, 4))
@settings(deadline=None, max_examples=150)
def test_foreign_bytes_between_records_hide_none(junk: bytes, at: int) -> None:
    data, begins = whole()
    place = [*begins, len(data)][at]

    records, _ = read(data[:place] + junk + data[place:])

    assert [record.number for record in records] == list(NUMBERS)


def test_other_files_and_headers_are_refused() -> None:
    data, _ = whole()

    with pytest.raises(NotAContainerError, match="504b0304"):
        StreamReader(io.BytesIO(b"PK\3\4" * 10))
    with pytest.raises(NotAContainerError):
        StreamReader(io.BytesIO(b""))
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        StreamReader(io.BytesIO(MAGIC + b"\2" + data[5:]))
    with pytest.raises(StreamError, match="cut or damaged"):
        StreamReader(io.BytesIO(data[:15]))
    with pytest.raises(StreamError, match="cut or damaged"):
        StreamReader(io.BytesIO(data[:10] + b"?" + data[11:]))


def test_a_container_of_another_model_or_size_does_not_belong() -> None:
    file = io.BytesIO()
    writer = StreamWriter(file, HEADER)
    writer.write(0, 1, container(1, StreamHeader(b"another!", (72, 120))))
    writer.write(0, 2, container(1, StreamHeader(b"8 octets", (72, 121))))
    reader = StreamReader(io.BytesIO(file.getvalue()))

    for record in reader.records(pytest.fail):
        with pytest.raises(StreamError, match="in a stream of"):
            reader.parse(record)
