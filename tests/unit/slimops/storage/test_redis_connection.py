from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import ClosedClientError, redis_client


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


async def _read_on(client: Redis) -> None:
    while True:
        await client.xread({"events": "$"}, block=2000)


async def test_reader_that_is_cancelled_at_any_moment_ends(redis_url: str) -> None:
    client = redis_client(redis_url)
    await client.ping()
    left_running = []

    for num_steps in range(40):
        reader = asyncio.create_task(_read_on(client))
        for _ in range(num_steps):
            await asyncio.sleep(0)
        reader.cancel()
        _, pending = await asyncio.wait({reader}, timeout=30)
        if pending:
            left_running.append(num_steps)
            reader.cancel()

    await client.aclose()
    assert left_running == []


async def test_server_that_is_not_there_is_told_soon(tmp_path: object) -> None:
    client = redis_client(f"unix://{tmp_path}/no.sock")

    with pytest.raises(RedisError):
        await client.ping()

    await client.aclose()


async def test_connection_that_breaks_is_made_anew(redis_url: str) -> None:
    client, other = redis_client(redis_url), redis_client(redis_url)
    await client.set("lamp", b"lit")
    await other.client_kill_filter(_type="normal", skipme=True)

    assert await client.get("lamp") == b"lit"

    await client.aclose()
    await other.aclose()


async def _others(client: Redis) -> int:
    """Connections that the server has beside this client's."""
    return len(await client.client_list()) - 1


async def _left_open(client: Redis) -> int:
    """Connections beside this client's that stay.

    A server that was not running for a moment finds in one round that a connection was opened and
    that it is asked for its list; only in the next that the connection is closed. What stays for
    50 rounds is open.
    """
    for _ in range(50):
        if not (others := await _others(client)):
            break
    return others


async def test_closed_client_refuses_and_opens_nothing(redis_url: str) -> None:
    client, other = redis_client(redis_url), redis_client(redis_url)
    await client.ping()
    await client.aclose()

    with pytest.raises(ClosedClientError):
        await client.ping()
    pipeline = client.pipeline()
    pipeline.ping()
    with pytest.raises(ClosedClientError):
        await pipeline.execute()

    assert await _left_open(other) == 0
    await other.aclose()


async def test_command_under_way_ends_with_its_client(redis_url: str) -> None:
    client, other = redis_client(redis_url), redis_client(redis_url)
    reading = asyncio.create_task(_read_on(client))
    while not await _others(other):
        await asyncio.sleep(0)

    await client.aclose()

    with pytest.raises(ClosedClientError):
        await reading
    assert await _left_open(other) == 0
    await other.aclose()


async def test_client_closed_at_any_moment_of_a_command_leaves_nothing_open(redis_url: str) -> None:
    other = redis_client(redis_url)
    left_open = []

    for num_steps in range(40):
        client = redis_client(redis_url)
        asking = asyncio.ensure_future(client.ping())
        for _ in range(num_steps):
            await asyncio.sleep(0)
        await client.aclose()
        await asyncio.wait({asking})
        if asking.exception() is not None and not isinstance(asking.exception(), ClosedClientError):
            await asking
        if await _left_open(other):
            left_open.append(num_steps)

    await other.aclose()
    assert left_open == []


async def test_client_closed_before_the_server_took_its_connection_leaves_nothing_open(
    redis_url: str,
) -> None:
    client, other = redis_client(redis_url), redis_client(redis_url)
    server = (await other.info("server"))["process_id"]

    os.kill(server, signal.SIGSTOP)  # the system connects in its place
    try:
        asking = asyncio.ensure_future(client.ping())
        while not client.connection_pool._in_use_connections:
            await asyncio.sleep(0)
        await client.aclose()
        await asyncio.wait({asking})
        looking = asyncio.ensure_future(_left_open(other))
        await asyncio.sleep(0)
    finally:
        os.kill(server, signal.SIGCONT)

    assert isinstance(asking.exception(), ClosedClientError)
    assert await looking == 0
    await other.aclose()
