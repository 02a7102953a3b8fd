"""Versions 1 and 2: sections with checksums of their own.

Integers are unsigned and little-endian.

    header, 27 bytes
    offset  size  field
         0     4  magic         9B 53 4C 57 (no text file begins so)
         4     1  version       1 or 2, see below
         5     1  kind, prior   bit 0: 0 base, 1 enhancement; bit 1: 0 nested, 1 separate streams;
                                high nibble: 0 factorized prior, 1 hyperprior
         6     8  fingerprint   of the model: weights, configuration, tables
        14     1  level         the level that a reader has afterwards, 0..15
        15     1  first group   0 for a base, 1..level for an enhancement: the base's level + 1
        16     2  quality       fixed point 8.8, in steps between trained qualities; at most 255.0
        18     2  height        of the original picture in pixels, 1..65535
        20     2  width         likewise; height * width <= 2**26
        22     1  sections      nested: level - first group + 1; separate: 1
        23     4  CRC32C        over the 23 bytes before it

    then per section, in the order of their groups
         0     4  length        of the data in bytes, at most 2**24
         4     4  symbols       number of symbols in the data, 1..2**26, those of y alone
         8     4  CRC32C        over the section's length, symbols and data
        12     -  data          factorized: coded y; hyperprior: u32 length of coded z, coded z,
                                coded y; coded symbols as in slimcodec.entropy.whole

Nested streams: a base at level l has the sections of the groups 0..l; the enhancement that lifts it
to level k has l+1..k. The sections are the same bytes as in the full stream, so a base and its
enhancement together exceed the full stream by one header. A stream in base or enhancement form is
cut between sections only.

Separate streams: one section, group = level, holds all channels of that level. An enhancement is
the whole stream of its level; it names the base that it takes the place of, and needs none of it.

A container of whole quality, nested streams and factorized prior has version 1, any other of these
version 2. Nothing follows the last section: trailing bytes are refused. So a container has exactly
one form.
"""

import struct
from dataclasses import replace

import google_crc32c

from slimcodec.container.fields import (
    CRC,
    MAGIC,
    PRIORS,
    QUALITY_STEPS,
    STREAMS,
    Container,
    Section,
    check_crc,
    check_header,
    check_section,
    to_fixed,
)
from slimcodec.errors import (
    DamagedContainerError,
    TruncatedContainerError,
    UnsupportedVersionError,
)

_HEADER = struct.Struct("<4sBB8sBBHHHB")
_SECTION = struct.Struct("<II")
_HYPER_LENGTH = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + CRC.size
SECTION_HEADER_BYTES = _SECTION.size + CRC.size


def pack_version_2(container: Container) -> bytes:
    """Return the bytes of a checked container of version 1 or 2."""
    streams, prior = STREAMS.index(container.streams), PRIORS.index(container.prior)
    header = _HEADER.pack(
        MAGIC,
        container.version,
        container.is_enhancement | streams << 1 | prior << 4,
        container.fingerprint,
        container.level,
        container.first_group,
        to_fixed(container.quality),
        *container.image_hw,
        len(container.sections),
    )
    parts = [header, CRC.pack(google_crc32c.value(header))]
    for section in container.sections:
        prefix = _SECTION.pack(len(section.data), section.symbol_count)
        parts += [prefix, CRC.pack(google_crc32c.value(prefix + section.data)), section.data]
    return b"".join(parts)


def parse_version_2(bitstream: bytes) -> Container:
    """Return the container of bytes that begin as one of version 1 or 2; see `parse_container`."""
    if len(bitstream) < HEADER_BYTES:
        raise TruncatedContainerError(
            f"container of {len(bitstream)} bytes; its header alone has {HEADER_BYTES}; "
            "fetch it again"
        )
    check_crc("header", bitstream[: _HEADER.size], bitstream[_HEADER.size : HEADER_BYTES])
    (_, version, kind_prior, fingerprint, level, first_group, quality, height, width, sections) = (
        _HEADER.unpack_from(bitstream)
    )
    kind, prior = kind_prior & 0xF, kind_prior >> 4
    if prior >= len(PRIORS):
        raise UnsupportedVersionError(
            f"container prior {prior}; this build reads up to {len(PRIORS) - 1}; update the reader"
        )
    if kind >> 1 >= len(STREAMS) or kind & 1 != (first_group > 0):
        raise DamagedContainerError(f"kind {kind} with first group {first_group}")
    container = Container(
        fingerprint,
        level,
        quality / QUALITY_STEPS,
        (height, width),
        first_group,
        sections=(),
        streams=STREAMS[kind >> 1],
        prior=PRIORS[prior],
    )
    check_header(container)
    if version != container.version:
        raise DamagedContainerError(
            f"version {version} with quality {container.quality:g}, {container.streams} streams "
            f"and {container.prior} prior, which are written in version {container.version}"
        )
    if sections != len(container.groups):
        raise DamagedContainerError(
            f"{sections} sections of {container.streams} streams for the groups "
            f"{first_group}..{level}"
        )
    return replace(container, sections=_parse_sections(bitstream, container.groups))


def _parse_sections(bitstream: bytes, groups: range) -> tuple[Section, ...]:
    sections = []
    position = HEADER_BYTES
    for group in groups:
        start = position + SECTION_HEADER_BYTES
        if len(bitstream) < start:
            raise TruncatedContainerError(
                f"container ends after {len(bitstream)} bytes, before the section of group "
                f"{group}; fetch it again"
            )
        length, symbol_count = _SECTION.unpack_from(bitstream, position)
        check_section(group, length, symbol_count)
        if len(bitstream) < start + length:
            raise TruncatedContainerError(
                f"section of group {group} has {length} bytes, "
                f"{len(bitstream) - start} are there; fetch it again"
            )
        prefix_end = position + _SECTION.size
        data = bitstream[start : start + length]
        check_crc(
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


def join_hyper(z_data: bytes, y_data: bytes) -> bytes:
    """Return the data of a hyperprior's section."""
    return _HYPER_LENGTH.pack(len(z_data)) + z_data + y_data


def split_hyper(section: Section) -> tuple[bytes, bytes]:
    """Return the coded z and the coded y of a hyperprior's section.

    Raises:
        DamagedContainerError: z does not end within the section.
    """
    start = _HYPER_LENGTH.size
    if len(section.data) < start:
        raise DamagedContainerError(f"section of group {section.group} has no length of its z")
    (length,) = _HYPER_LENGTH.unpack_from(section.data)
    if start + length > len(section.data):
        raise DamagedContainerError(
            f"section of group {section.group} has {len(section.data)} bytes and ends within its "
            f"z of {length}"
        )
    return section.data[start : start + length], section.data[start + length :]
