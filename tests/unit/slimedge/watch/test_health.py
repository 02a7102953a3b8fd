"""The edge's probes: what they say, and that they bear strangers for a bounded time."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from slimedge.event import CameraChanged, CameraState, LinkChanged, LinkState
from slimedge.watch.health import MAX_REQUESTS, Health, serve_health


@pytest.fixture
def health() -> Health:
    return Health(lambda: 2.04)


@pytest_asyncio.fixture
async def port(health: Health, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr("slimedge.watch.health.REQUEST_SECONDS", 0.3)
    server = await serve_health(health, lambda: b"metrics\n", "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body, as a client of another program gets them."""

    def ask() -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    return await asyncio.to_thread(ask)


async def test_ready_needs_link_and_camera_and_live_needs_neither(
    health: Health, port: int
) -> None:
    assert (await get(port, "/livez"))[0] == 200
    assert (await get(port, "/readyz"))[0] == 503
    health.notify(LinkChanged(LinkState.UP, "cloud:1"))
    assert (await get(port, "/readyz"))[0] == 503
    health.notify(CameraChanged(CameraState.UP, ""))
    status, body = await get(port, "/readyz?verbose")

    assert (status, json.loads(body)["link_detail"]) == (200, "cloud:1")
    assert json.loads(body)["last_ack_age_seconds"] == 2.0
    assert await get(port, "/metrics") == (200, b"metrics\n")
    assert (await get(port, "/other"))[0] == 404


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /livez HTTP/1.1\r\nX: ", b"nonsense\r\n\r\n", b"GET /" + b"x" * 2**17],
)
async def test_request_that_does_not_come_is_let_go(port: int, begun: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begun)

    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    writer.close()

    assert answer == b""


async def test_request_that_drips_is_let_go_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    for _ in range(100):  # 5 s: each byte comes long before the last one is too old
        writer.write(b"x")
        try:
            async with asyncio.timeout(0.05):
                assert await reader.read(1) == b""
        except TimeoutError:
            continue
        except ConnectionResetError:
            pass
        writer.close()
        return
    pytest.fail("it drips on")


async def test_client_that_breaks_off_is_no_trouble(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /li")  # closed with a reset

    assert (await get(port, "/livez"))[0] == 200
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_strangers_hold_no_more_than_so_many_connections(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_REQUESTS)]
    reader, one_more = await asyncio.open_connection("127.0.0.1", port)
    refused = await reader.read(1)
    for waiting, writer in held:
        assert await waiting.read() == b""  # all are let go
        writer.close()
    one_more.close()

    assert refused == b""
    assert b"link" in (await get(port, "/livez"))[1]
