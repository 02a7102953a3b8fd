"""What was told PERSISTED is there after the whole cloud was killed, its Redis with it.

Without its Redis: `test_references`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import redis

from slimcloud.errors import StoreUnreachableError
from slimcloud.store.frames import Store
from slimops.errors import EmbeddedRedisError, SettingsError
from slimops.storage.durability import Durability
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.cloud_process import CloudProcess, cloud_process
from support.cloud.whole_cloud import (
    EPOCH,
    StreamEndedError,
    ToyCamera,
    ToyModels,
    cloud_settings,
    open_cloud,
)

FRAMES_BEFORE_THE_KILL = 20


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("models"))


async def _told_before_the_kill(cloud: CloudProcess, camera: ToyCamera) -> set[int]:
    """Send frames and kill the cloud in the middle; the sequences that it told PERSISTED."""
    told: set[int] = set()
    for sequence in range(1, 2 * FRAMES_BEFORE_THE_KILL):
        await camera.send(sequence)
    redis_pid = cloud.redis_pid()
    try:
        while True:
            ack = (await camera.hear()).ack
            if ack.stage == pb.STAGE_PERSISTED:
                told.add(ack.sequence)
            if len(told) == FRAMES_BEFORE_THE_KILL:
                cloud.process.kill()
                os.kill(redis_pid, signal.SIGKILL)
    except StreamEndedError:
        return told


async def test_killed_cloud_has_kept_all_that_it_told_persisted(
    toy_models: ToyModels, tmp_path: Path
) -> None:
    state, durability = tmp_path / "state.json", Durability.ALWAYS
    with cloud_process(toy_models, state, durability=durability) as cloud:
        async with ToyCamera(cloud.addresses["grpc"], toy_models) as camera:
            await camera.hello()
            told = await _told_before_the_kill(cloud, camera)
        cloud.process.wait()

    with cloud_process(toy_models, state, durability=durability) as cloud:
        async with ToyCamera(cloud.addresses["grpc"], toy_models) as camera:
            welcome = await camera.hello(unpersisted_sequences=sorted(told))
        client = redis_client(cloud.addresses["redis_url"])
        stored = await Store(client).persisted("gate", EPOCH, sorted(told))
        await client.aclose()

    assert len(told) >= FRAMES_BEFORE_THE_KILL
    assert set(stored) == told
    assert set(welcome.persisted_sequences) == told


async def test_second_cloud_on_one_directory_is_refused(
    toy_models: ToyModels, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    second = cloud_settings(toy_models, None, data=tmp_path / "data")
    with cloud_process(toy_models, state) as first:
        with pytest.raises(EmbeddedRedisError, match=f"process {first.process.pid}: .*--data"):
            async with open_cloud(second):
                pass

        assert first.process.poll() is None


async def test_redis_that_promises_less_than_is_asked_stops_the_start(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(toy_models, redis_url, durability="always")  # it says everysec

    with pytest.raises(SettingsError, match="appendfsync everysec"):
        async with open_cloud(settings):
            pass


@pytest.mark.parametrize("query", ["db=99", "password=hunter2"])
async def test_redis_that_refuses_stops_the_start_with_the_settings_name(
    redis_url: str, toy_models: ToyModels, query: str
) -> None:
    settings = cloud_settings(toy_models, f"{redis_url}?{query}")

    with pytest.raises(SettingsError, match="CLOUD_REDIS_URL.*Redis refuses") as caught:
        async with open_cloud(settings):
            pass

    assert "hunter2" not in str(caught.value)


async def test_replica_stops_the_start_with_the_settings_name(
    redis_url: str, toy_models: ToyModels, tmp_path: Path
) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", 9)

    try:
        with pytest.raises(SettingsError, match="CLOUD_REDIS_URL.*Redis refuses.*replica"):
            async with open_cloud(cloud_settings(toy_models, server.url)):
                pass
    finally:
        server.stop()


async def test_redis_that_does_not_answer_is_named_by_its_setting(toy_models: ToyModels) -> None:
    settings = cloud_settings(toy_models, "redis://127.0.0.1:9", redis_wait_seconds=0)

    with pytest.raises(StoreUnreachableError, match="CLOUD_REDIS_URL.*does not answer"):
        async with open_cloud(settings):
            pass


async def test_redis_that_comes_later_is_waited_for(
    redis_url: str, toy_models: ToyModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = tmp_path / "late.sock"
    settings = cloud_settings(toy_models, f"unix://{late}", role="ingest")

    async def come() -> None:
        while "is waited for" not in caplog.text:
            await asyncio.sleep(0.01)
        late.symlink_to(redis_url.removeprefix("unix://"))

    async with asyncio.TaskGroup() as both:
        both.create_task(come())
        async with open_cloud(settings) as cloud:
            assert ":" in cloud.grpc_address
