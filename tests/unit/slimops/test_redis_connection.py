from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from slimops.embedded_redis import EmbeddedRedis
from slimops.redis_connection import redis_client


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    server = EmbeddedRedis()
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
        _, pending = await asyncio.wait({reader}, timeout=1)
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
