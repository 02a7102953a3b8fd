"""Fixtures: a real Redis, one for each process, empty for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from slimcloud.store.frames import Store
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = redis_client(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def store(client: Redis) -> Store:
    store = Store(client)
    await store.work.prepare()
    return store
