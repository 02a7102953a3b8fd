"""What the kernel tells of a connection, found among the sockets of the process."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from slimedge.link.traffic import LinkMeter, SocketMeter, Traffic, find_socket

HEADERS = 52  # of a segment over IPv4
MARK = 10_003  # ms

Pair = tuple[socket.socket, socket.socket, SocketMeter]


@pytest.fixture
def pair() -> Iterator[Pair]:
    if not hasattr(socket, "TCP_INFO"):
        pytest.skip("sockets are measured on Linux only")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, MARK)
        far, _ = server.accept()
        with far:
            meter = find_socket(server.getsockname()[1], MARK)
            assert meter is not None
            yield near, far, meter


def test_bytes_and_headers_of_both_directions_are_counted(pair: Pair) -> None:
    near, far, meter = pair
    before = meter.read()
    near.sendall(bytes(1000))
    far.recv(1000, socket.MSG_WAITALL)
    far.sendall(bytes(300))
    near.recv(300, socket.MSG_WAITALL)

    passed = meter.read() - before

    assert passed.sent_bytes in (1000 + HEADERS, 1000 + 2 * HEADERS)  # the last is acknowledged
    assert passed.received_bytes in (300 + HEADERS, 300 + 2 * HEADERS)
    assert passed.total_bytes == passed.sent_bytes + passed.received_bytes


def test_a_closed_socket_keeps_its_last_count_though_its_number_is_anothers(pair: Pair) -> None:
    near, _, meter = pair
    near.sendall(bytes(10))
    last = meter.read()

    number = near.fileno()
    near.close()
    with socket.socket() as other:
        assert other.fileno() == number
        assert meter.read() == last


def test_streams_are_counted_one_after_another(pair: Pair) -> None:
    near, _, meter = pair
    link = LinkMeter()
    assert link.read() == Traffic()
    link.follow(meter)
    near.sendall(bytes(500))
    first = link.read()

    link.follow(None)
    assert link.read() == first
    link.follow(meter)
    assert link.read() == first + meter.read()


def test_another_port_or_mark_is_not_the_one(pair: Pair) -> None:
    near, *_ = pair
    port = near.getpeername()[1]

    assert find_socket(port + 1, MARK) is None
    assert find_socket(port, MARK + 1) is None
    assert find_socket(None, MARK) is None


def test_a_socket_that_is_closed_while_it_is_looked_at_is_not_the_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, *_ = pair
    port, closed = near.getpeername()[1], near.fileno()
    near.close()
    monkeypatch.setattr("slimedge.link.traffic._descriptors", lambda: [closed])

    assert find_socket(port, MARK) is None
