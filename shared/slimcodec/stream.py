"""Containers of one camera <-> a stream file, which is read while it grows.

Specification, version 1. Integers are unsigned; those of a fixed size are little-endian, the others
LEB128 in as few bytes as they need.

    header, 21 bytes
    offset  size  field
         0     4  magic         9B 53 4C 53 (no text file begins so)
         4     1  version       1
         5     8  fingerprint   of the model of all containers
        13     2  height        of all pictures in pixels
        15     2  width
        17     4  CRC32C        over the 17 bytes before it

    then records, in the order in which their containers were made
         0   1-4  length        of the container in bytes
         -   1-8  time          in the source, microseconds
         -   1-5  number        of the frame in the source, from 1 on; 0: no frame of its own, but
                                places that stood still, made finer for the frames after it
         -     2  check         CRC32C over the bytes of the record before it, lower half
         -     -  container     of any version, see `slimcodec.container`; it begins with its magic

An inter container needs a frame that was at most 32 records before it, and any may be missing: what
needs it cannot be decoded, all others can. Times and numbers are whole in each record, so a damaged
one moves no other. Where a record's head is damaged, the reader looks for the next place where a
head, its check and a container's magic follow each other.
"""

import io
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c

from slimcodec.container import MAGIC as CONTAINER_MAGIC
from slimcodec.container import Container, pack_leb128, parse_container
from slimcodec.errors import NotAContainerError, StreamError, UnsupportedVersionError

MAGIC = b"\x9bSLS"
VERSION = 1

_HEADER = struct.Struct("<4sB8sHH")
_CRC = struct.Struct("<I")
_CHECK_BYTES = 2
_FIELD_BYTES = (4, 8, 5)  # of length, time and number, at most
_LONGEST_HEAD = sum(_FIELD_BYTES) + _CHECK_BYTES
_SHORTEST_RECORD = _LONGEST_HEAD + len(CONTAINER_MAGIC)  # what it has beside is more
_MICROSECONDS = 1_000_000
HEADER_BYTES = _HEADER.size + _CRC.size
_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class StreamHeader:
    """What all frames of a stream have in common."""

    fingerprint: bytes  # of the model, 8 bytes
    image_hw: tuple[int, int]  # pixels


@dataclass(frozen=True)
class Record:
    """One container of a stream."""

    index: int  # from 1 on
    seconds: float  # in the source
    number: int | None  # of the frame in the source, from 1 on; None: it only refines
    container: bytes
    num_bytes: int  # of the whole record


class StreamWriter:
    """Writes a stream, each record at once and whole."""

    def __init__(self, file: BinaryIO, header: StreamHeader) -> None:
        self._file = file
        self.num_bytes = 0  # so far
        packed = _HEADER.pack(MAGIC, VERSION, header.fingerprint, *header.image_hw)
        self._write(packed + _CRC.pack(google_crc32c.value(packed)))

    def write(self, seconds: float, number: int | None, container: bytes) -> None:
        """Write a record; the arguments are those of `Record`."""
        micros = round(seconds * _MICROSECONDS)
        head = b"".join(pack_leb128(value) for value in (len(container), micros, number or 0))
        self._write(head + _check_of(head) + container)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self.num_bytes += len(data)


class StreamReader:
    """Reads a stream from its begin; it needs no seeking.

    Args:
        file: A file, a pipe, bytes in memory.
        begun: What was read of it before.
        patience_seconds: Where the file ends, wait for more until none came for so long.

    Raises:
        NotAContainerError: it is no stream.
        UnsupportedVersionError: it is one of the future.
        StreamError: its header is damaged or not there.
    """

    def __init__(
        self, file: io.BufferedIOBase, begun: bytes = b"", patience_seconds: float = 0.0
    ) -> None:
        self._file, self._buffer = file, bytearray(begun)
        self._patience_seconds = patience_seconds
        is_whole = self._has(HEADER_BYTES)
        head = bytes(self._buffer[:HEADER_BYTES])
        if not head.startswith(MAGIC):
            raise NotAContainerError(f"not a Slimwire stream: begins with {head[:4].hex()}")
        if len(head) > len(MAGIC) and head[len(MAGIC)] != VERSION:
            raise UnsupportedVersionError(
                f"stream version {head[len(MAGIC)]}; this build reads {VERSION}; update the reader"
            )
        if not is_whole or _CRC.pack(google_crc32c.value(head[: _HEADER.size])) != head[-4:]:
            raise StreamError("the stream's header is cut or damaged; fetch it again")
        _, _, fingerprint, height, width = _HEADER.unpack_from(head)
        self.header = StreamHeader(fingerprint, (height, width))
        del self._buffer[:HEADER_BYTES]

    def records(self, tell: Callable[[str], None]) -> Iterator[Record]:
        """Yield what comes. A stream that is waited for may end within a record.

        Args:
            tell: Takes which record was passed over, and why.
        """
        index = 1
        while self._has(_SHORTEST_RECORD):
            head = _parse_head(self._buffer)
            if head is None:
                tell(f"record {index}: its head is damaged; reading goes on at the next whole one")
                while self._has(_SHORTEST_RECORD) and _parse_head(self._buffer) is None:
                    del self._buffer[0]
                index += 1
                continue
            length, micros, number, size = head
            end = size + length
            if not self._has(end):
                break
            container = bytes(self._buffer[size:end])
            del self._buffer[:end]
            yield Record(index, micros / _MICROSECONDS, number or None, container, end)
            index += 1
        if self._buffer and not self._patience_seconds:
            tell(f"record {index}: the stream ends within it; those before it are whole")

    def parse(self, record: Record) -> Container:
        """Return the container of a record, checked as `parse_container` does.

        Raises:
            BitstreamError: it is damaged, or of another model or size than the stream.
        """
        header = self.header
        container = parse_container(record.container, header.fingerprint, header.image_hw)
        if (container.fingerprint, container.image_hw) != (header.fingerprint, header.image_hw):
            h, w = container.image_hw
            raise StreamError(
                f"container of model {container.fingerprint.hex()}, {w}x{h} pixels, in a stream of "
                f"{header.fingerprint.hex()}, {header.image_hw[1]}x{header.image_hw[0]}"
            )
        return container

    def _has(self, count: int) -> bool:
        """Whether so many bytes are there; they are waited for."""
        quiet_since = time.monotonic()
        while len(self._buffer) < count:
            if part := self._file.read1(_CHUNK_BYTES):
                self._buffer += part
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since < self._patience_seconds:
                time.sleep(_POLL_SECONDS)
            else:
                return False
        return True


def _parse_head(buffer: bytearray) -> tuple[int, int, int, int] | None:
    """Length, time and number at the begin of a buffer that is long enough for any, and where the
    container begins; None: there is no whole head.
    """
    fields, position = [], 0
    for most in _FIELD_BYTES:
        value = 0
        for place in range(most):
            octet = buffer[position]
            position += 1
            value |= (octet & 0x7F) << 7 * place
            if octet < 0x80:
                if place and not octet:
                    return None
                break
        else:
            return None
        fields.append(value)
    head, size = buffer[:position], position + _CHECK_BYTES
    if _check_of(bytes(head)) != buffer[position:size]:
        return None
    if buffer[size : size + len(CONTAINER_MAGIC)] != CONTAINER_MAGIC:
        return None
    length, micros, number = fields
    return length, micros, number, size


def _check_of(head: bytes) -> bytes:
    return _CRC.pack(google_crc32c.value(head))[:_CHECK_BYTES]
