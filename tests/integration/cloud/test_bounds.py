"""What strangers may hold of the gRPC port: calls and connections, before any token."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slimcloud.ingest.server import SPARE_CALLS
from support.cloud.whole_cloud import ToyModels, cloud_settings, open_cloud

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
