import struct
from dataclasses import replace

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcodec.container import (
    HEADER_BYTES,
    MAX_PIXELS,
    MAX_SECTION_BYTES,
    SECTION_HEADER_BYTES,
    Container,
    Section,
    Streams,
    pack_container,
    parse_container,
    section_groups,
)
from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    NotAContainerError,
    TruncatedContainerError,
    UnsupportedVersionError,
)

FINGERPRINT = bytes(range(8))


def make_container(first_group: int = 0, level: int = 1, streams: Streams = "nested") -> Container:
    groups = section_groups(streams, first_group, level)
    sections = tuple(Section(g, 10 + g, bytes([g]) * g) for g in groups)
    return Container(FINGERPRINT, level, 3, (480, 641), first_group, sections, streams)


def seal(bitstream: bytes) -> bytes:
    """Repair the header's checksum."""
    return bitstream[:23] + struct.pack("<I", google_crc32c.value(bitstream[:23])) + bitstream[27:]


def with_bytes(bitstream: bytes, offset: int, new: bytes) -> bytes:
    return bitstream[:offset] + new + bitstream[offset + len(new) :]


@st.composite
def containers(draw: st.DrawFn) -> Container:
    level = draw(st.integers(0, 15))
    first_group = draw(st.integers(0, level))
    h = draw(st.integers(1, 65535))
    streams: Streams = draw(st.sampled_from(("nested", "separate")))
    return Container(
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        level=level,
        quality=draw(st.integers(0, 255 * 256)) / 256,
        image_hw=(h, draw(st.integers(1, min(65535, MAX_PIXELS // h)))),
        first_group=first_group,
        sections=tuple(
            Section(group, draw(st.integers(1, 2**26)), draw(st.binary(max_size=40)))
            for group in section_groups(streams, first_group, level)
        ),
        streams=streams,
        prior=draw(st.sampled_from(("factorized", "hyperprior"))),
    )


@given(containers())
def test_any_container_comes_back(container: Container) -> None:
    assert parse_container(pack_container(container)) == container


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_container(noise: bytes) -> None:
    with pytest.raises(NotAContainerError):
        parse_container(b"\x00" + noise)


def test_bytes_are_as_the_specification_says() -> None:
    data = b"\x07\x08\x09"
    container = Container(FINGERPRINT, 2, 5, (300, 200), 2, (Section(2, 77, data),))

    header = (
        b"\x9bSLW" + b"\x01" + b"\x01" + FINGERPRINT + b"\x02\x02" + b"\x00\x05"
        + b"\x2c\x01" + b"\xc8\x00" + b"\x01"
    )  # fmt: skip
    prefix = b"\x03\x00\x00\x00" + b"\x4d\x00\x00\x00"
    expected = (
        header
        + struct.pack("<I", google_crc32c.value(header))
        + prefix
        + struct.pack("<I", google_crc32c.value(prefix + data))
        + data
    )

    assert pack_container(container) == expected
    assert (HEADER_BYTES, SECTION_HEADER_BYTES) == (27, 12)


def test_header_of_version_2_is_as_the_specification_says() -> None:
    container = Container(
        FINGERPRINT, 2, 4.5, (300, 200), 1, (Section(2, 77, b""),), "separate", "hyperprior"
    )

    header = pack_container(container)[:23]

    assert header == (
        b"\x9bSLW" + b"\x02" + b"\x13" + FINGERPRINT + b"\x02\x01" + b"\x80\x04"
        + b"\x2c\x01" + b"\xc8\x00" + b"\x01"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "version"),
    [
        ({}, 1),
        ({"quality": 3.0}, 1),
        ({"quality": 3 + 1 / 256}, 2),
        ({"prior": "hyperprior"}, 2),
    ],
)
def test_version_is_the_lowest_that_can_say_it(change: dict[str, object], version: int) -> None:
    container = replace(make_container(), **change)  # type: ignore[arg-type]  # any field, by name

    assert pack_container(container)[4] == version
    assert pack_container(make_container(streams="separate", first_group=1))[4] == 2


def test_only_a_container_without_group_0_is_an_enhancement() -> None:
    assert not make_container(first_group=0).is_enhancement
    assert make_container(first_group=1).is_enhancement


@pytest.mark.parametrize("bitstream", [b"", b"\xff\xd8\xff\xe0 JPEG", b"\x9bSLX" + bytes(40)])
def test_other_bytes_are_not_a_container(bitstream: bytes) -> None:
    with pytest.raises(NotAContainerError, match="9b534c57"):
        parse_container(bitstream)


def test_future_version_is_refused_with_both_versions_named() -> None:
    bitstream = with_bytes(pack_container(make_container()), 4, b"\x07")

    with pytest.raises(UnsupportedVersionError, match=r"version 7.*up to 3.*update"):
        parse_container(seal(bitstream))


def test_unknown_prior_is_refused() -> None:
    bitstream = with_bytes(pack_container(make_container()), 5, b"\x30")

    with pytest.raises(UnsupportedVersionError, match="prior 3"):
        parse_container(seal(bitstream))


@pytest.mark.parametrize(
    ("offset", "new", "error"),
    [
        (5, b"\x01", DamagedContainerError),  # an enhancement that has group 0
        (4, b"\x00", UnsupportedVersionError),
        (4, b"\x02", DamagedContainerError),  # what version 1 can say, in version 2
        (5, b"\x02", DamagedContainerError),  # separate streams in version 1
        (5, b"\x10", DamagedContainerError),  # a hyperprior in version 1
        (5, b"\x20", DamagedContainerError),  # a context prior in version 1
        (5, b"\x04", DamagedContainerError),  # a kind that there is not
        (4, b"\x02\x02", DamagedContainerError),  # separate streams with a section too many
        (14, b"\x10", ContainerLimitError),  # a level beyond the limit
        (14, b"\x02", DamagedContainerError),  # a level with too few sections
        (15, b"\x02", DamagedContainerError),  # first group beyond the level
        (16, b"\x80", DamagedContainerError),  # quality 3.5 in version 1
        (18, b"\0\0", ContainerLimitError),  # height 0
        (18, b"\xff\xff\xff\xff", ContainerLimitError),  # 65535 x 65535
        (22, b"\x03", DamagedContainerError),  # more sections than groups
        (22, b"\x00", DamagedContainerError),
    ],
)
def test_contradictory_header_is_refused_although_its_checksum_is_right(
    offset: int, new: bytes, error: type[Exception]
) -> None:
    bitstream = seal(with_bytes(pack_container(make_container()), offset, new))

    with pytest.raises(error):
        parse_container(bitstream)


@pytest.mark.parametrize(
    ("length", "symbols"), [(MAX_SECTION_BYTES + 1, 1), (2**32 - 1, 1), (1, 0)]
)
def test_section_beyond_its_limits_is_refused_before_its_data_is_read(
    length: int, symbols: int
) -> None:
    bitstream = with_bytes(
        pack_container(make_container()), HEADER_BYTES, struct.pack("<II", length, symbols)
    )

    with pytest.raises(ContainerLimitError, match="group 0"):
        parse_container(bitstream)


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(DamagedContainerError, match="1 bytes follow"):
        parse_container(pack_container(make_container()) + b"\0")


def test_truncated_container_is_refused() -> None:
    bitstream = pack_container(make_container())

    for length in range(5, len(bitstream)):
        with pytest.raises(TruncatedContainerError):
            parse_container(bitstream[:length])


def test_largest_picture_of_the_format_is_accepted_and_the_next_is_not() -> None:
    container = make_container()

    largest = replace(container, image_hw=(8192, 8192))
    assert parse_container(pack_container(largest)) == largest
    with pytest.raises(ContainerLimitError, match=r"8193x8192.*67108864.*shrink"):
        pack_container(replace(container, image_hw=(8192, 8193)))


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": b"short"},
        {"level": 16},
        {"quality": 256},
        {"quality": -1},
        {"quality": float("nan")},
        {"quality": float("inf")},
        {"quality": 3.3},
        {"streams": "separate"},
        {"first_group": 1},
        {"sections": ()},
        {"sections": (Section(0, 0, b""), Section(1, 1, b""))},
        {"sections": (Section(1, 1, b""), Section(0, 1, b""))},
    ],
)
def test_what_the_format_cannot_say_is_not_packed(change: dict[str, object]) -> None:
    with pytest.raises((ContainerLimitError, DamagedContainerError)):
        pack_container(replace(make_container(), **change))  # type: ignore[arg-type]  # wrong on purpose
