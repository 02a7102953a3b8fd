"""The edge's probes bear strangers: a bounded number of threads, each for a bounded time."""

from __future__ import annotations

import socket
import struct
import urllib.request
from collections.abc import Iterator

import pytest

from slimedge.watch.health import MAX_REQUESTS, Health, HealthServer


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr("slimedge.watch.health.REQUEST_SECONDS", 0.3)
    server = HealthServer(Health(lambda: 2.04), lambda: b"metrics", "127.0.0.1", 0)
    yield server.port
    server.close()


def _ask(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=10) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nX: "])
def test_request_that_does_not_come_is_let_go(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(begun)
        assert client.recv(1) == b""


def test_request_that_drips_is_let_go_too(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as client:
        for _ in range(100):  # 5 s: each byte comes long before the last one is too old
            client.sendall(b"x")
            try:
                answer = client.recv(1)
            except TimeoutError:
                continue
            except ConnectionResetError:
                answer = b""
            assert answer == b""
            return
    pytest.fail("it drips on")


def test_client_that_breaks_off_is_no_traceback(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /li")  # closed with a reset

    _ask(port)

    assert capsys.readouterr().err == ""


def test_strangers_hold_no_more_than_so_many_threads(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(MAX_REQUESTS)]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one_more:
        refused = one_more.recv(1)
    for client in held:
        client.recv(1)  # all are let go
        client.close()

    assert refused == b""
    assert b"link" in _ask(port)
