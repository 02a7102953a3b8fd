"""What leaves and enters this edge on its way to the cloud, as a metered link counts it.

gRPC does not show its socket, so it is found among those of the process by a mark: gRPC gives it
the channel's `grpc.keepalive_timeout_ms` as TCP_USER_TIMEOUT, and each stream has another. The
kernel then tells what passed (`TCP_INFO`): bytes in both directions with HTTP/2, TLS, keepalive and
what was sent twice, and segments, acknowledgements too, each of which has headers of IP and TCP.
Linux only; elsewhere nothing is measured, and the account goes by containers alone.

Source: `struct tcp_info` in the kernel's include/uapi/linux/tcp.h.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SOCKETS = Path("/proc/self/fd")
_TCP_INFO = getattr(socket, "TCP_INFO", None)  # None: not this system's
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
# bytes_received, segs_out, segs_in; bytes_sent, which has what was sent again, too
_READ = struct.Struct("=128xQII56xQ")
_IP_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}
_TCP_BYTES = 32  # with the time stamps that all of today's systems send


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of IP packets."""

    sent_bytes: int = 0
    received_bytes: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.sent_bytes + other.sent_bytes, self.received_bytes + other.received_bytes
        )

    def __sub__(self, other: "Traffic") -> "Traffic":
        return self + Traffic(-other.sent_bytes, -other.received_bytes)

    @property
    def total_bytes(self) -> int:
        """In both directions."""
        return self.sent_bytes + self.received_bytes


NO_TRAFFIC = Traffic()


class SocketMeter:
    """Reads one socket of this process, which others open, use and close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._inode = os.fstat(descriptor).st_ino
        self._last = Traffic()

    def read(self) -> Traffic:
        """What has passed; once it is closed, what had when it was read last."""
        try:
            if os.fstat(self._descriptor).st_ino == self._inode:  # else the number is another's
                self._last = _traffic_of(self._descriptor)
        except OSError:
            pass
        return self._last


class LinkMeter:
    """What passes over one stream after another."""

    def __init__(self) -> None:
        self._ended = Traffic()  # of those before
        self._socket: SocketMeter | None = None

    def follow(self, socket: SocketMeter | None) -> None:
        """Go on with the next stream's; None: there is none, or it cannot be measured."""
        self._ended, self._socket = self.read(), socket

    def read(self) -> Traffic:
        """What has passed so far."""
        return self._ended + (Traffic() if self._socket is None else self._socket.read())


def find_socket(port: int | None, user_timeout_ms: int) -> SocketMeter | None:
    """The one to a port that has such a TCP_USER_TIMEOUT; None where it is not found."""
    for descriptor in _descriptors():
        with suppress(OSError):  # it is not connected, or was closed since it was listed
            if port is not None and _marks_of(descriptor) == (port, user_timeout_ms):
                return SocketMeter(descriptor)
    return None


def _descriptors() -> list[int]:
    """Those of all sockets; none where they are not measured."""
    if _TCP_INFO is None or _USER_TIMEOUT is None or not _SOCKETS.is_dir():
        return []
    found = []
    for entry in os.listdir(_SOCKETS):
        with suppress(OSError):  # closed since it was listed
            if os.readlink(_SOCKETS / entry).startswith("socket:["):
                found.append(int(entry))
    return found


def _marks_of(descriptor: int) -> tuple[int, int] | None:
    """The port at the other end of a TCP connection, and its TCP_USER_TIMEOUT, milliseconds."""
    with _borrowed(descriptor) as borrowed:
        peer = borrowed.getpeername()
        if not isinstance(peer, tuple):
            return None
        assert _USER_TIMEOUT is not None, "sockets are found only where there is one"
        return peer[1], borrowed.getsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT)


def _traffic_of(descriptor: int) -> Traffic:
    with _borrowed(descriptor) as borrowed:
        assert _TCP_INFO is not None, "sockets are found only where there is one"
        told = borrowed.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _READ.size)
        header_bytes = _IP_BYTES.get(borrowed.family, 0) + _TCP_BYTES
    if len(told) < _READ.size:  # an older kernel tells less
        return Traffic()
    received_bytes, segments_out, segments_in, sent_bytes = _READ.unpack(told)
    return Traffic(
        sent_bytes + header_bytes * segments_out, received_bytes + header_bytes * segments_in
    )


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket of another owner, who closes it."""
    borrowed = socket.socket(fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()
