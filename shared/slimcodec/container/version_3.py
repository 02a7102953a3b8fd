"""Version 3, that of the context prior (`slimcodec.context`).

Integers are unsigned and little-endian, streams are nested. A base is coded alone ("intra") or
against a reference ("inter"): a frame whose symbols the reader has.

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
         -     -  data          steps as in slimcodec.entropy.steps

    then
         0     4  CRC32C        over all before it

An inter container in which nothing changed has sections without data. Base and enhancement together
exceed the full stream by one header and checksum at most. An inter container whose reference is the
same picture's base may take the place of that one's enhancement, as an intra one may.
"""

import struct
from dataclasses import replace

import google_crc32c

from slimcodec.container.fields import (
    CRC,
    MAGIC,
    PRIORS,
    QUALITY_STEPS,
    REFERENCE_BYTES,
    Container,
    Section,
    check_crc,
    check_header,
    to_fixed,
)
from slimcodec.errors import (
    DamagedContainerError,
    MissingReferenceError,
    TruncatedContainerError,
    UnsupportedVersionError,
)

_HEAD = struct.Struct("<4sBBBH")
_ORIGIN = struct.Struct("<8sHH")  # of an intra base
_ENHANCEMENT, _INTER = 1, 4  # bits of the kind
_MAX_LENGTH_BYTES = 4


def pack_version_3(container: Container) -> bytes:
    """Return the bytes of a checked container of version 3."""
    kind = container.is_enhancement * _ENHANCEMENT | container.is_inter * _INTER
    head = _HEAD.pack(
        MAGIC,
        3,
        kind | PRIORS.index("context") << 4,
        container.level | container.first_group << 4,
        to_fixed(container.quality),
    )
    of = container.reference or _ORIGIN.pack(container.fingerprint, *container.image_hw)
    data = [section.data for section in container.sections]
    if container.is_inter and not container.is_enhancement:
        data.insert(0, container.changes)
    parts = [head, of]
    for part in data[:-1]:
        parts += [pack_leb128(len(part)), part]
    packed = b"".join([*parts, data[-1]])
    return packed + CRC.pack(google_crc32c.value(packed))


def parse_version_3(
    bitstream: bytes, fingerprint: bytes | None, image_hw: tuple[int, int] | None
) -> Container:
    """Return the container of bytes that begin as one of version 3; see `parse_container`."""
    if len(bitstream) < _HEAD.size + REFERENCE_BYTES + CRC.size:
        raise TruncatedContainerError(
            f"container of {len(bitstream)} bytes, shorter than any of version 3; fetch it again"
        )
    body = bitstream[: -CRC.size]
    check_crc("container", body, bitstream[-CRC.size :])
    _, _, kind_prior, levels, quality = _HEAD.unpack_from(body)
    kind, prior = kind_prior & 0xF, kind_prior >> 4
    if prior != PRIORS.index("context") or kind & ~(_ENHANCEMENT | _INTER):
        raise UnsupportedVersionError(
            f"container of version 3 with kind {kind} and prior {prior}; update the reader"
        )
    level, first_group, is_inter = levels & 0xF, levels >> 4, bool(kind & _INTER)
    if bool(kind & _ENHANCEMENT) != (first_group > 0):
        raise DamagedContainerError(f"kind {kind} with first group {first_group}")
    position, reference = _HEAD.size, None
    if kind:
        reference = body[position : position + REFERENCE_BYTES]
        position += REFERENCE_BYTES
        if fingerprint is None or image_hw is None:
            raise MissingReferenceError(
                f"container needs the frame with the symbols {reference.hex()}; decode that first "
                "and give it along"
            )
    else:
        if len(body) < position + _ORIGIN.size:
            raise TruncatedContainerError(f"container of {len(bitstream)} bytes; fetch it again")
        fingerprint, height, width = _ORIGIN.unpack_from(body, position)
        image_hw = height, width
        position += _ORIGIN.size
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
    check_header(container)
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
