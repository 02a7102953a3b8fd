from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from slimops.errors import SettingsError
from slimops.storage.durability import Durability, check_durability
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Redis]:
    server = EmbeddedRedis(tmp_path)
    server.start()
    client = redis_client(server.url)
    yield client
    await client.aclose()
    server.stop()


async def test_server_that_promises_enough_is_taken_without_a_word(
    client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await check_durability(client, Durability.SECOND)
    await client.config_set("appendfsync", "always")
    await check_durability(client, Durability.SECOND)
    await check_durability(client, Durability.ALWAYS)

    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "value"), [("appendfsync", "everysec"), ("appendfsync", "no"), ("appendonly", "no")]
)
async def test_server_that_promises_less_than_always_is_refused(
    client: Redis, name: str, value: str
) -> None:
    await client.config_set("appendfsync", "always")
    await client.config_set(name, value)

    with pytest.raises(SettingsError, match=rf"{name} {value}.*CLOUD_DURABILITY"):
        await check_durability(client, Durability.ALWAYS)


@pytest.mark.parametrize(("name", "value"), [("appendfsync", "no"), ("appendonly", "no")])
async def test_server_that_promises_less_than_a_second_is_warned_of(
    client: Redis, name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    await client.config_set(name, value)

    await check_durability(client, Durability.SECOND)

    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert f"{name} {value}" in warning.message


async def test_server_that_evicts_any_key_is_refused(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(SettingsError, match="maxmemory-policy allkeys-lru.*noeviction"):
        await check_durability(client, Durability.SECOND)


async def test_server_that_evicts_some_keys_is_warned_of(
    client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.config_set("maxmemory-policy", "volatile-lru")

    await check_durability(client, Durability.SECOND)

    assert "maxmemory-policy volatile-lru" in caplog.text


async def test_server_that_does_not_let_itself_be_asked_is_warned_of(
    client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.acl_setuser("default", enabled=True, commands=["-config"])

    await check_durability(client, Durability.ALWAYS)

    assert "is not known" in caplog.text
