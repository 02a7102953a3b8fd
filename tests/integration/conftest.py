"""What integration tests share: one real Redis per process, and the toy codec."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.cloud.redis_fixtures import client, redis_server, redis_url, store
from support.cloud.review import ReviewWorld, ToyCodec, open_review

__all__ = ["client", "redis_server", "redis_url", "review", "store", "toy_codec"]


@pytest.fixture(scope="session")
def toy_codec(tmp_path_factory: pytest.TempPathFactory) -> ToyCodec:
    directory: Path = tmp_path_factory.mktemp("models")
    return ToyCodec(directory)


@pytest.fixture
async def review(redis_url: str, toy_codec: ToyCodec) -> AsyncIterator[ReviewWorld]:
    async with open_review(redis_url, toy_codec) as world:
        yield world
