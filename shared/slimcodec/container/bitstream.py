"""Containers <-> bytes, by their version."""

from slimcodec.container.fields import MAGIC, VERSION, Container, check_fields
from slimcodec.container.version_2 import pack_version_2, parse_version_2
from slimcodec.container.version_3 import pack_version_3, parse_version_3
from slimcodec.errors import NotAContainerError, UnsupportedVersionError


def pack_container(container: Container) -> bytes:
    """Return the bytes of a container.

    Raises:
        ContainerLimitError: a field is beyond what the format can say.
        DamagedContainerError: the sections are not those of the container's groups.
    """
    check_fields(container)
    if container.version == 3:
        return pack_version_3(container)
    return pack_version_2(container)


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
        return parse_version_3(bitstream, fingerprint, image_hw)
    return parse_version_2(bitstream)


def has_checksum(bitstream: bytes) -> bool:
    """Whether the last 4 bytes of a container are to be a CRC-32C of all before them."""
    return bitstream[len(MAGIC) :][:1] >= b"\3"
