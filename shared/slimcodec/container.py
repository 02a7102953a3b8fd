"""Sections of entropy-coded symbols -> container bytes, and back.

Specification, versions 1 and 2. Integers are unsigned and little-endian.

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
                                coded y; coded symbols as in slimcodec.entropy.coder

Nested streams: a base at level l has the sections of the groups 0..l; the enhancement that lifts it
to level k has l+1..k. The sections are the same bytes as in the full stream, so a base and its
enhancement together exceed the full stream by one header. A stream in base or enhancement form is
cut between sections only.

Separate streams: one section, group = level, holds all channels of that level. An enhancement is
the whole stream of its level; it names the base that it takes the place of, and needs none of it.

A container of whole quality, nested streams and factorized prior has version 1, any other of these
version 2. Nothing follows the last section: trailing bytes are refused. So a container has exactly
one form.

Version 3 is that of the context prior (`slimcodec.context`), streams are nested. A base is coded
alone ("intra") or against a reference ("inter"): a frame whose symbols the reader has.

    header, 21 bytes without a reference, 14 with one
    offset  size  field
         0     4  magic
         4     1  version       3
         5     1  kind, prior   bit 0: 0 base, 1 enhancement; bit 2: 0 intra, 1 inter; high nibble 2
         6     1  level, first group    low and high nibble
         7     2  quality       fixed point 8.8
      intra base
         9     8  fingerprint
        17     2  height
        19     2  width
      enhancement, inter
         9     5  reference     begin of the SHA-256 of the symbols that the reader must have: of an
                                enhancement those of its base, of an inter base those of its
                                reference (`slimcodec.symbols`); model and size are theirs

    then the sections: an inter base has first that of its changes, then as above one for each group
         0   1-4  length        LEB128, not of the last section, which ends before the checksum
         -     -  data          steps as in slimcodec.entropy.coder

    then
         0     4  CRC32C        over all before it

An inter container in which nothing changed has sections without data. Base and enhancement together
exceed the full stream by one header and checksum at most.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import google_crc32c

from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    MissingReferenceError,
    NotAContainerError,
    TruncatedContainerError,
    UnsupportedVersionError,
)

MAGIC = b"\x9bSLW"
VERSION = 3  # the latest
MAX_PIXELS = 1 << 26  # of the original picture; 8192 x 8192
MAX_LEVELS = 16
MAX_QUALITY = 255
QUALITY_STEPS = 256  # fixed-point steps between two trained qualities
MAX_SECTION_BYTES = 1 << 24
MAX_SECTION_SYMBOLS = 1 << 26
FINGERPRINT_BYTES = 8
REFERENCE_BYTES = 5

Streams = Literal["nested", "separate"]
Prior = Literal["factorized", "hyperprior", "context"]

_STREAMS: Sequence[Streams] = ("nested", "separate")  # by their number in the header
_PRIORS: Sequence[Prior] = ("factorized", "hyperprior", "context")
_HEADER = struct.Struct("<4sBB8sBBHHHB")
_SECTION = struct.Struct("<II")
_CRC = struct.Struct("<I")
_HYPER_LENGTH = struct.Struct("<I")
_HEAD_3 = struct.Struct("<4sBBBH")
_ORIGIN_3 = struct.Struct("<8sHH")  # of an intra base
_ENHANCEMENT, _INTER = 1, 4  # bits of version 3's kind
_MAX_LENGTH_BYTES = 4
HEADER_BYTES = _HEADER.size + _CRC.size
SECTION_HEADER_BYTES = _SECTION.size + _CRC.size


def round_quality(quality: float) -> float:
    """Return the nearest multiple of 1/256, ties to even.

    Whoever takes a quality from outside rounds it once; a float holds what is left exactly, so both
    ends see the same number.
    """
    return round(quality * QUALITY_STEPS) / QUALITY_STEPS


def to_fixed(quality: float) -> int:
    """Return a rounded quality in 8.8 fixed point.

    Raises:
        ValueError: it was not rounded.
    """
    fixed = quality * QUALITY_STEPS
    if fixed != round(fixed):
        raise ValueError(f"quality {quality} is no multiple of 1/{QUALITY_STEPS}; round_quality it")
    return round(fixed)


@dataclass(frozen=True)
class Section:
    """The symbols of one channel group (nested streams) or of one level (separate ones)."""

    group: int
    symbol_count: int  # of y; 0 in version 3, where size and changes tell it
    data: bytes


@dataclass(frozen=True)
class Container:
    """One picture's symbols: those that lift a reader of level `first_group` - 1 to `level`."""

    fingerprint: bytes  # 8 bytes
    level: int
    quality: float  # a multiple of 1/256
    image_hw: tuple[int, int]  # original height and width, pixels
    first_group: int
    sections: tuple[Section, ...]
    streams: Streams = "nested"
    prior: Prior = "factorized"
    # with the context prior:
    reference: bytes | None = None  # the digest of what the reader must have, 5 bytes
    is_inter: bool = False
    changes: bytes = b""  # of an inter base: which places changed

    @property
    def is_enhancement(self) -> bool:
        """Whether this follows a base."""
        return self.first_group > 0

    @property
    def groups(self) -> range:
        """The groups that have a section here."""
        return section_groups(self.streams, self.first_group, self.level)

    @property
    def version(self) -> int:
        """The only version that this container is written in."""
        if self.prior == "context":
            return 3
        is_old = self.streams == "nested" and self.prior == "factorized"
        return 1 if is_old and self.quality == int(self.quality) else 2


def section_groups(streams: Streams, first_group: int, level: int) -> range:
    """Return the groups whose sections a container has."""
    return range(first_group if streams == "nested" else level, level + 1)


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


def pack_container(container: Container) -> bytes:
    """Return the bytes of a container.

    Raises:
        ContainerLimitError: a field is beyond what the format can say.
        DamagedContainerError: the sections are not those of the container's groups.
    """
    _check_fields(container)
    if container.version == 3:
        return _pack_3(container)
    streams, prior = _STREAMS.index(container.streams), _PRIORS.index(container.prior)
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
    parts = [header, _CRC.pack(google_crc32c.value(header))]
    for section in container.sections:
        prefix = _SECTION.pack(len(section.data), section.symbol_count)
        parts += [prefix, _CRC.pack(google_crc32c.value(prefix + section.data)), section.data]
    return b"".join(parts)


def parse_container(
    bitstream: bytes, fingerprint: bytes | None = None, image_hw: tuple[int, int] | None = None
) -> Container:
    """Return the checked container; nothing in it needs checking again, save against a model.

    Args:
        bitstream: From anywhere.
        fingerprint, image_hw: Those of the frame that it needs; taken where it has none of its own.

    Raises:
        BitstreamError: one of its leaves; see `slimcodec.errors`.
    """
    if bitstream[: len(MAGIC)] != MAGIC[: len(bitstream)] or not bitstream:
        raise NotAContainerError(
            f"not a Slimwire container: begins with {bitstream[:4].hex() or 'nothing'}, "
            f"expected {MAGIC.hex()}"
        )
    if len(bitstream) > len(MAGIC) and not 1 <= bitstream[len(MAGIC)] <= VERSION:
        raise UnsupportedVersionError(
            f"container version {bitstream[len(MAGIC)]}; this build reads up to {VERSION}; "
            "update the reader"
        )
    if bitstream[len(MAGIC) :][:1] == b"\3":
        return _parse_3(bitstream, fingerprint, image_hw)
    if len(bitstream) < HEADER_BYTES:
        raise TruncatedContainerError(
            f"container of {len(bitstream)} bytes; its header alone has {HEADER_BYTES}; "
            "fetch it again"
        )
    _check_crc("header", bitstream[: _HEADER.size], bitstream[_HEADER.size : HEADER_BYTES])
    (_, version, kind_prior, fingerprint, level, first_group, quality, height, width, sections) = (
        _HEADER.unpack_from(bitstream)
    )
    kind, prior = kind_prior & 0xF, kind_prior >> 4
    if prior >= len(_PRIORS):
        raise UnsupportedVersionError(
            f"container prior {prior}; this build reads up to {len(_PRIORS) - 1}; update the reader"
        )
    if kind >> 1 >= len(_STREAMS) or kind & 1 != (first_group > 0):
        raise DamagedContainerError(f"kind {kind} with first group {first_group}")
    container = Container(
        fingerprint,
        level,
        quality / QUALITY_STEPS,
        (height, width),
        first_group,
        sections=(),
        streams=_STREAMS[kind >> 1],
        prior=_PRIORS[prior],
    )
    _check_header(container)
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


def _pack_3(container: Container) -> bytes:
    kind = container.is_enhancement * _ENHANCEMENT | container.is_inter * _INTER
    head = _HEAD_3.pack(
        MAGIC,
        3,
        kind | _PRIORS.index("context") << 4,
        container.level | container.first_group << 4,
        to_fixed(container.quality),
    )
    of = container.reference or _ORIGIN_3.pack(container.fingerprint, *container.image_hw)
    data = [section.data for section in container.sections]
    if container.is_inter and not container.is_enhancement:
        data.insert(0, container.changes)
    parts = [head, of]
    for part in data[:-1]:
        parts += [pack_leb128(len(part)), part]
    packed = b"".join([*parts, data[-1]])
    return packed + _CRC.pack(google_crc32c.value(packed))


def _parse_3(
    bitstream: bytes, fingerprint: bytes | None, image_hw: tuple[int, int] | None
) -> Container:
    if len(bitstream) < _HEAD_3.size + REFERENCE_BYTES + _CRC.size:
        raise TruncatedContainerError(
            f"container of {len(bitstream)} bytes, shorter than any of version 3; fetch it again"
        )
    body = bitstream[: -_CRC.size]
    _check_crc("container", body, bitstream[-_CRC.size :])
    _, _, kind_prior, levels, quality = _HEAD_3.unpack_from(body)
    kind, prior = kind_prior & 0xF, kind_prior >> 4
    if prior != _PRIORS.index("context") or kind & ~(_ENHANCEMENT | _INTER):
        raise UnsupportedVersionError(
            f"container of version 3 with kind {kind} and prior {prior}; update the reader"
        )
    level, first_group, is_inter = levels & 0xF, levels >> 4, bool(kind & _INTER)
    if bool(kind & _ENHANCEMENT) != (first_group > 0):
        raise DamagedContainerError(f"kind {kind} with first group {first_group}")
    position, reference = _HEAD_3.size, None
    if kind:
        reference = body[position : position + REFERENCE_BYTES]
        position += REFERENCE_BYTES
        if fingerprint is None or image_hw is None:
            raise MissingReferenceError(
                f"container needs the frame with the symbols {reference.hex()}; decode that first "
                "and give it along"
            )
    else:
        if len(body) < position + _ORIGIN_3.size:
            raise TruncatedContainerError(f"container of {len(bitstream)} bytes; fetch it again")
        fingerprint, height, width = _ORIGIN_3.unpack_from(body, position)
        image_hw = height, width
        position += _ORIGIN_3.size
    container = Container(
        fingerprint,
        level,
        quality / QUALITY_STEPS,
        image_hw,
        first_group,
        sections=(),
        prior="context",
        reference=reference,
        is_inter=is_inter,
    )
    _check_header(container)
    groups, data = list(container.groups), []
    count = len(groups) + (is_inter and not first_group)
    for _ in range(count - 1):
        length, position = _parse_length(body, position)
        data.append(body[position : position + length])
        position += length
        if position > len(body):
            raise DamagedContainerError(f"a section of {length} bytes ends beyond the container")
    data.append(body[position:])
    changes = data.pop(0) if count > len(groups) else b""
    sections = tuple(Section(group, 0, part) for group, part in zip(groups, data, strict=True))
    return replace(container, sections=sections, changes=changes)


def pack_leb128(value: int) -> bytes:
    """Return seven bits a byte, the lowest first; all bytes but the last have their eighth set."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def _parse_length(body: bytes, position: int) -> tuple[int, int]:
    """The LEB128 number there, and where it ends."""
    length = 0
    for place, octet in enumerate(body[position : position + _MAX_LENGTH_BYTES]):
        length |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            if place and not octet:
                break
            return length, position + place + 1
    raise DamagedContainerError("a section's length is in no form that an encoder writes")


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
    if groups != list(container.groups):
        raise DamagedContainerError(
            f"sections of groups {groups}, expected {list(container.groups)}"
        )
    if container.version < 3:
        for section in container.sections:
            _check_section(section.group, len(section.data), section.symbol_count)
    elif (container.reference is None) == (container.is_enhancement or container.is_inter):
        raise DamagedContainerError("a base alone has no reference, any other has one")


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
    quality = container.quality
    if not (0 <= quality <= MAX_QUALITY and quality == round_quality(quality)):
        raise ContainerLimitError(
            f"quality {quality}; the format allows 0..{MAX_QUALITY} in steps of 1/{QUALITY_STEPS}"
        )


def _check_section(group: int, length: int, symbol_count: int) -> None:
    if length > MAX_SECTION_BYTES:
        raise ContainerLimitError(
            f"section of group {group} has {length} bytes, at most {MAX_SECTION_BYTES} are allowed"
        )
    if not 1 <= symbol_count <= MAX_SECTION_SYMBOLS:
        raise ContainerLimitError(
            f"section of group {group} has {symbol_count} symbols, not 1..{MAX_SECTION_SYMBOLS}"
        )
