"""Fixtures: a real Redis, one server for each process, empty for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis.asyncio import Redis

from slimcloud.store.frames import Store
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The server of the whole session; a test asks for `redis_url`."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The server's URL, once it has been emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = redis_client(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(client: Redis) -> Store:
    store = Store(client)
    await store.work.prepare()
    return store
