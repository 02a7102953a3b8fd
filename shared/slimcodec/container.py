"""Stage 5 of 12: sections of entropy-coded symbols -> container bytes, and back.

Specification, version 1. Integers are unsigned and little-endian.

    header, 27 bytes
    offset  size  field
         0     4  magic         9B 53 4C 57 (no text file begins so)
         4     1  version       1
         5     1  kind, prior   low nibble: 0 base, 1 enhancement; high nibble: 0 factorized prior
         6     8  fingerprint   of the model: weights, configuration, tables
        14     1  level         the last channel group that a reader has afterwards, 0..15
        15     1  first group   0 for a base, 1..level for an enhancement
        16     2  quality       fixed point 8.8; version 1 has whole numbers only
        18     2  height        of the original picture in pixels, 1..65535
        20     2  width         likewise; height * width <= 2**26
        22     1  sections      level - first group + 1
        23     4  CRC32C        over the 23 bytes before it

    then per section, groups first group..level in order
         0     4  length        of the data in bytes, at most 2**24
         4     4  symbols       number of symbols in the data, 1..2**26
         8     4  CRC32C        over the section's length, symbols and data
        12     -  data          see slimcodec.coder

Nothing follows the last section: trailing bytes are refused, so a container has exactly one form.
A base at level l has the sections 0..l; the enhancement that lifts it to level k has l+1..k. The
sections are the same bytes as in the full stream, so a base and its enhancement together exceed the
full stream by one header. A stream in base or enhancement form is cut between sections only.
"""

import struct
from dataclasses import dataclass

import google_crc32c

from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    NotAContainerError,
    TruncatedContainerError,
    UnsupportedVersionError,
)

MAGIC = b"\x9bSLW"
VERSION = 1
MAX_PIXELS = 1 << 26  # of the original picture; 8192 x 8192
MAX_LEVELS = 16
MAX_QUALITY = 255
MAX_SECTION_BYTES = 1 << 24
MAX_SECTION_SYMBOLS = 1 << 26
FINGERPRINT_BYTES = 8

_KIND_BASE, _KIND_ENHANCEMENT = 0, 1
_PRIOR_FACTORIZED = 0
_HEADER = struct.Struct("<4sBB8sBBHHHB")
_SECTION = struct.Struct("<II")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
SECTION_HEADER_BYTES = _SECTION.size + _CRC.size
MAX_CONTAINER_BYTES = HEADER_BYTES + MAX_LEVELS * (SECTION_HEADER_BYTES + MAX_SECTION_BYTES)


@dataclass(frozen=True)
class Section:
    """The symbols of one channel group."""

    group: int
    symbol_count: int
    data: bytes


@dataclass(frozen=True)
class Container:
    """One picture's symbols for the channel groups `first_group`..`level`."""

    fingerprint: bytes  # 8 bytes
    level: int
    quality: int
    image_hw: tuple[int, int]  # original height and width, pixels
    first_group: int
    sections: tuple[Section, ...]

    @property
    def is_enhancement(self) -> bool:
        """Whether a base is needed to decode this."""
        return self.first_group > 0


def pack_container(container: Container) -> bytes:
    """Return the bytes of a container.

    Raises:
        ContainerLimitError: a field is beyond what the format can say.
        DamagedContainerError: the sections are not the groups `first_group`..`level`.
    """
    _check_fields(container)
    kind = _KIND_ENHANCEMENT if container.is_enhancement else _KIND_BASE
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        kind | _PRIOR_FACTORIZED << 4,
        container.fingerprint,
        container.level,
        container.first_group,
        container.quality << 8,
        *container.image_hw,
        len(container.sections),
    )
    parts = [header, _CRC.pack(google_crc32c.value(header))]
    for section in container.sections:
        prefix = _SECTION.pack(len(section.data), section.symbol_count)
        parts += [prefix, _CRC.pack(google_crc32c.value(prefix + section.data)), section.data]
    return b"".join(parts)


def parse_container(bitstream: bytes) -> Container:
    """Return the checked container; nothing in it needs checking again, save against a model.

    Raises:
        BitstreamError: one of its leaves; see `slimcodec.errors`.
    """
    if bitstream[: len(MAGIC)] != MAGIC[: len(bitstream)] or not bitstream:
        raise NotAContainerError(
            f"not a Slimwire container: begins with {bitstream[:4].hex() or 'nothing'}, "
            f"expected {MAGIC.hex()}"
        )
    if len(bitstream) > len(MAGIC) and bitstream[len(MAGIC)] != VERSION:
        raise UnsupportedVersionError(bitstream[len(MAGIC)], VERSION)
    if len(bitstream) < HEADER_BYTES:
        raise TruncatedContainerError(
            f"container of {len(bitstream)} bytes; its header alone has {HEADER_BYTES}; "
            "fetch it again"
        )
    _check_crc("header", bitstream[: _HEADER.size], bitstream[_HEADER.size : HEADER_BYTES])
    (_, _, kind_prior, fingerprint, level, first_group, quality, height, width, num_sections) = (
        _HEADER.unpack_from(bitstream)
    )
    if kind_prior >> 4 != _PRIOR_FACTORIZED:
        raise UnsupportedVersionError(kind_prior >> 4, _PRIOR_FACTORIZED, "prior")
    if quality & 0xFF:
        raise DamagedContainerError(
            f"quality {quality / 256} is no whole number, as version 1 needs"
        )
    if kind_prior & 0xF != (_KIND_ENHANCEMENT if first_group else _KIND_BASE):
        raise DamagedContainerError(f"kind {kind_prior & 0xF} with first group {first_group}")
    if num_sections != level - first_group + 1:
        raise DamagedContainerError(
            f"{num_sections} sections for the groups {first_group}..{level}"
        )
    container = Container(
        fingerprint, level, quality >> 8, (height, width), first_group, sections=()
    )
    _check_header(container)
    return Container(
        fingerprint,
        level,
        quality >> 8,
        (height, width),
        first_group,
        sections=_parse_sections(bitstream, first_group, num_sections),
    )


def _parse_sections(bitstream: bytes, first_group: int, num_sections: int) -> tuple[Section, ...]:
    sections = []
    position = HEADER_BYTES
    for group in range(first_group, first_group + num_sections):
        start = position + SECTION_HEADER_BYTES
        if len(bitstream) < start:
            raise TruncatedContainerError(
                f"container ends after {len(bitstream)} bytes, before the section of group "
                f"{group}; fetch it again"
            )
        length, symbol_count = _SECTION.unpack_from(bitstream, position)
        _check_section(group, length, symbol_count)
        if len(bitstream) < start + length:
            raise TruncatedContainerError(
                f"section of group {group} has {length} bytes, "
                f"{len(bitstream) - start} are there; fetch it again"
            )
        prefix_end = position + _SECTION.size
        data = bitstream[start : start + length]
        _check_crc(
            f"section of group {group}",
            bitstream[position:prefix_end] + data,
            bitstream[prefix_end:start],
        )
        sections.append(Section(group, symbol_count, data))
        position = start + length
    if position != len(bitstream):
        raise DamagedContainerError(
            f"{len(bitstream) - position} bytes follow the last section; a container has none"
        )
    return tuple(sections)


def _check_crc(what: str, covered: bytes, stored: bytes) -> None:
    (expected,) = _CRC.unpack(stored)
    found = google_crc32c.value(covered)
    if found != expected:
        raise DamagedContainerError(
            f"{what} has CRC32C {found:08x}, its checksum says {expected:08x}; fetch it again"
        )


def _check_fields(container: Container) -> None:
    if len(container.fingerprint) != FINGERPRINT_BYTES:
        raise DamagedContainerError(
            f"fingerprint of {len(container.fingerprint)} bytes, expected {FINGERPRINT_BYTES}"
        )
    _check_header(container)
    groups = [section.group for section in container.sections]
    if groups != list(range(container.first_group, container.level + 1)):
        raise DamagedContainerError(
            f"sections of groups {groups}, expected {container.first_group}..{container.level}"
        )
    for section in container.sections:
        _check_section(section.group, len(section.data), section.symbol_count)


def _check_header(container: Container) -> None:
    height, width = container.image_hw
    if not (1 <= height <= 0xFFFF and 1 <= width <= 0xFFFF and height * width <= MAX_PIXELS):
        raise ContainerLimitError(
            f"picture of {width}x{height}; the format allows 1x1 up to {MAX_PIXELS} pixels with "
            "sides up to 65535; shrink it first"
        )
    if not 0 <= container.first_group <= container.level < MAX_LEVELS:
        raise ContainerLimitError(
            f"groups {container.first_group}..{container.level}; the format allows "
            f"0..{MAX_LEVELS - 1}"
        )
    if not 0 <= container.quality <= MAX_QUALITY:
        raise ContainerLimitError(f"quality {container.quality} not in 0..{MAX_QUALITY}")


def _check_section(group: int, length: int, symbol_count: int) -> None:
    if length > MAX_SECTION_BYTES:
        raise ContainerLimitError(
            f"section of group {group} has {length} bytes, at most {MAX_SECTION_BYTES} are allowed"
        )
    if not 1 <= symbol_count <= MAX_SECTION_SYMBOLS:
        raise ContainerLimitError(
            f"section of group {group} has {symbol_count} symbols, not 1..{MAX_SECTION_SYMBOLS}"
        )
