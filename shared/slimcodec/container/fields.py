"""What a container of any version holds, and the limits of it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import google_crc32c

from slimcodec.errors import ContainerLimitError, DamagedContainerError

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

STREAMS: Sequence[Streams] = ("nested", "separate")  # by their number in the header
PRIORS: Sequence[Prior] = ("factorized", "hyperprior", "context")
CRC = struct.Struct("<I")


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


def check_fields(container: Container) -> None:
    """Refuse a container that the format cannot say, before it is packed."""
    if len(container.fingerprint) != FINGERPRINT_BYTES:
        raise DamagedContainerError(
            f"fingerprint of {len(container.fingerprint)} bytes, expected {FINGERPRINT_BYTES}"
        )
    check_header(container)
    groups = [section.group for section in container.sections]
    if groups != list(container.groups):
        raise DamagedContainerError(
            f"sections of groups {groups}, expected {list(container.groups)}"
        )
    if container.version < 3:
        for section in container.sections:
            check_section(section.group, len(section.data), section.symbol_count)
    elif (container.reference is None) == (container.is_enhancement or container.is_inter):
        raise DamagedContainerError("a base alone has no reference, any other has one")


def check_header(container: Container) -> None:
    """Refuse fields beyond the limits."""
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


def check_section(group: int, length: int, symbol_count: int) -> None:
    """Refuse a section of versions 1 and 2 beyond the limits."""
    if length > MAX_SECTION_BYTES:
        raise ContainerLimitError(
            f"section of group {group} has {length} bytes, at most {MAX_SECTION_BYTES} are allowed"
        )
    if not 1 <= symbol_count <= MAX_SECTION_SYMBOLS:
        raise ContainerLimitError(
            f"section of group {group} has {symbol_count} symbols, not 1..{MAX_SECTION_SYMBOLS}"
        )


def check_crc(what: str, covered: bytes, stored: bytes) -> None:
    """Refuse bytes of which a stored CRC32C is not theirs."""
    (expected,) = CRC.unpack(stored)
    found = google_crc32c.value(covered)
    if found != expected:
        raise DamagedContainerError(
            f"{what} has CRC32C {found:08x}, its checksum says {expected:08x}; fetch it again"
        )
