"""What strangers may hold of the web server: by sockets of their own, for no client is so rude."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from slimcloud.http.behind_proxy import BehindProxy
from slimcloud.http.server import HttpServer

SLOW = b"GET /slow HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


async def _say_who_asks(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if request.method == "POST":
        await request.body()
    if request.url.path == "/slow":
        await asyncio.sleep(0.5)
    assert request.client is not None
    await PlainTextResponse(request.client.host)(scope, receive, send)


@asynccontextmanager
async def _served(
    trusted_proxies: Sequence[str] = (), inherited: int | None = None
) -> AsyncIterator[int]:
    """The port of a server."""
    server = HttpServer(
        BehindProxy(_say_who_asks, trusted_proxies), "127.0.0.1", 0, inherited=inherited
    )
    server.start(lambda serving, name: asyncio.create_task(serving, name=name))
    try:
        yield int(server.url.rpartition(":")[2])
    finally:
        await server.stop()
        await server.close()


async def _ask(port: int, *parts: bytes) -> bytes:
    """Send parts, and give everything up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: here\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nbegun",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
    ],
)
async def test_request_that_does_not_come_is_let_go(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcloud.http.server.REQUEST_SECONDS", 0.1)

    async with _served() as port:
        assert await _ask(port, begun) == b""


async def test_answer_may_take_longer_than_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimcloud.http.server.REQUEST_SECONDS", 0.1)

    async with _served() as port:
        answer = await _ask(port, SLOW)

    assert answer.endswith(b"127.0.0.1")


async def test_connection_that_asks_takes_the_place_of_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("slimcloud.http.server.MAX_CONNECTIONS", 3)

    async with _served() as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        answer = await _ask(port, SLOW)
        for _, writer in idle:
            writer.close()

    assert answer.startswith(b"HTTP/1.1 200")


async def test_no_more_than_so_many_requests_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimcloud.http.server.MAX_CONNECTIONS", 2)

    async with _served() as port:
        answers = await asyncio.gather(*(_ask(port, SLOW) for _ in range(5)))

    assert sorted(answer[:12] for answer in answers) == [b"", b"", b"", *[b"HTTP/1.1 200"] * 2]


async def test_long_head_is_refused_though_it_comes_at_once() -> None:
    async with _served() as port:
        answer = await _ask(
            port, b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
        )

    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [([], b"127.0.0.1"), (["10.0.0.0/8"], b"127.0.0.1"), (["127.0.0.1"], b"9.9.9.9")],
)
async def test_only_a_named_proxy_says_for_whom_it_asks(proxies: list[str], seen: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n"

    async with _served(proxies) as port:
        answer = await _ask(port, head)

    assert answer.endswith(b"\r\n\r\n" + seen)


async def test_socket_that_was_inherited_is_served() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    its_port = listener.getsockname()[1]

    async with _served(inherited=listener.detach()) as port:
        answer = await _ask(port, SLOW)

    assert port == its_port
    assert answer.startswith(b"HTTP/1.1 200")
