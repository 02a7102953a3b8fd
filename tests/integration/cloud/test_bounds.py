"""What strangers may hold of the gRPC port: calls and connections, before any token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slimcloud.ingest.server import SPARE_CALLS
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.whole_cloud import ToyCamera, ToyModels, cloud_settings, open_cloud

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    root: Path = tmp_path_factory.mktemp("models")
    return ToyModels(root)


async def _is_heard(address: str) -> bool:
    """Whether the server says something to one more connection."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE)
    try:
        return bool(await reader.read(1))
    except ConnectionResetError:
        return False
    finally:
        writer.close()


async def test_connections_and_calls_are_bounded(redis_url: str, toy_models: ToyModels) -> None:
    settings = cloud_settings(toy_models, redis_url, role="ingest", max_cameras=1)
    async with open_cloud(settings) as cloud:
        host, _, port = cloud.grpc_address.rpartition(":")
        assert await _is_heard(cloud.grpc_address)

        held = [await asyncio.open_connection(host, int(port)) for _ in range(1 + SPARE_CALLS)]
        for reader, writer in held:
            writer.write(PREFACE)
            await reader.read(1)
        is_heard = await _is_heard(cloud.grpc_address)
        for _, writer in held:
            writer.close()

        assert not is_heard


async def test_calls_are_bounded(redis_url: str, toy_models: ToyModels) -> None:
    settings = cloud_settings(toy_models, redis_url, role="ingest", max_cameras=1)
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection each
    async with (
        open_cloud(settings) as cloud,
        grpc.aio.insecure_channel(cloud.grpc_address, options=own) as one,
        grpc.aio.insecure_channel(cloud.grpc_address, options=own) as other,
    ):
        held = []
        for number in range(1 + SPARE_CALLS):
            stub = health_pb2_grpc.HealthStub((one, other)[number % 2])
            held.append(stub.Watch(health_pb2.HealthCheckRequest()))
            await held[-1].read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(one).Check(health_pb2.HealthCheckRequest())
        for call in held:
            call.cancel()

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_call_of_a_method_that_is_no_text_costs_no_camera_anything(
    redis_url: str, toy_models: ToyModels
) -> None:
    settings = cloud_settings(toy_models, redis_url, role="ingest")
    async with (
        open_cloud(settings) as cloud,
        ToyCamera(cloud.grpc_address, toy_models) as before,
    ):
        await before.hello()
        for _ in range(2):
            async with grpc.aio.insecure_channel(cloud.grpc_address) as channel:
                strange: Any = b"/slimwire.v1\xaeIngestService/StreamFrames"
                with pytest.raises(grpc.RpcError):
                    await channel.unary_unary(strange, None, None)(b"", wait_for_ready=True)
        async with grpc.aio.insecure_channel(cloud.grpc_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)

        async with ToyCamera(cloud.grpc_address, toy_models) as after:
            await after.hello(camera_id="yard")
            await after.send(1)
            await after.hear_stage(1, pb.STAGE_PERSISTED)
        await before.send(1)
        await before.hear_stage(1, pb.STAGE_PERSISTED)
