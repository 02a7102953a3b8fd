"""A server that gRPC ends by itself: nothing of it is written to, or held, afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slimcloud.ingest.server import MOST_GIVEN_UP, IngestServer, start_ingest_server
from slimcloud.settings import CloudSettings
from slimwire.v1.ingest_pb2_grpc import IngestServiceServicer

STRANGE_METHOD: Any = b"/slimwire.v1\xaeIngestService/StreamFrames"
OBJECT_HEAD_BYTES = 32  # of an object with slots, with what the collector keeps of it


class Servicer(IngestServiceServicer):
    async def ended(self) -> None:
        pass


class FillsFreedMemory(logging.Handler):
    """Makes objects of 128 to 256 bytes whenever something is logged, and says whether any was
    written to; gRPC logs a server's end after it has freed what belonged to it.
    """

    layouts = [
        [f"slot_{number}" for number in range((size - OBJECT_HEAD_BYTES) // 8)]
        for size in range(128, 257, 8)
    ]

    def __init__(self) -> None:
        super().__init__()
        self.kinds = [type("Filled", (), {"__slots__": slots}) for slots in self.layouts]
        self.objects: list[tuple[object, list[str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        for kind, slots in zip(self.kinds * 100, self.layouts * 100, strict=True):
            filled = kind()
            for slot in slots:
                setattr(filled, slot, self)
            self.objects.append((filled, slots))

    def is_whole(self) -> bool:
        return all(
            getattr(filled, slot, None) is self for filled, slots in self.objects for slot in slots
        )


@asynccontextmanager
async def open_server() -> AsyncIterator[IngestServer]:
    settings = CloudSettings(grpc_host="127.0.0.1", grpc_port=0)
    server = await start_ingest_server(Servicer(), settings)  # type: ignore[arg-type]  # none is sent
    serving = asyncio.create_task(server.serve())
    try:
        yield server
    finally:
        await server.stop(0)
        await serving


async def end(server: IngestServer) -> None:
    """Make gRPC end the server, and wait for the next."""
    ended = server.server
    await call_strange_method(server)
    while server.server is ended:
        await asyncio.sleep(0.01)


async def end_and_listen_instead(server: IngestServer) -> socket.socket | None:
    """Make gRPC end the server, and take its port unless the next server was quicker."""
    host, _, port = server.address.rpartition(":")
    ended = server.server
    await call_strange_method(server)
    while server.server is ended:
        with contextlib.suppress(OSError):
            return socket.create_server((host, int(port)))
        await asyncio.sleep(0.001)
    return None


async def call_strange_method(server: IngestServer) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError):
            await channel.unary_unary(STRANGE_METHOD, None, None)(b"", wait_for_ready=True)


async def end_while_memory_is_filled() -> bool:
    filling = FillsFreedMemory()
    logging.getLogger().addHandler(filling)
    async with open_server() as server:
        for _ in range(2):
            await end(server)
    return filling.is_whole()


def test_memory_of_an_ended_server_is_not_written_to() -> None:
    # In a process of its own: where this fails, the process may end at once.
    ended = subprocess.run([sys.executable, Path(__file__)], timeout=100)

    assert ended.returncode == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_ends_server_after_server_holds_no_more_calls_than_of_a_few() -> None:
    async with open_server() as server:
        channels = []
        watches = []
        for _ in range(MOST_GIVEN_UP + 1):
            channels.append(grpc.aio.insecure_channel(server.address))
            watch = health_pb2_grpc.HealthStub(channels[-1]).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            watches.append(watch)
            await end(server)

        with pytest.raises(grpc.aio.AioRpcError):
            await watches[0].read()
        assert not any(watch.done() for watch in watches[1:])
        for channel in channels:
            await channel.close(None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_port_that_is_not_free_at_once_is_waited_for() -> None:
    async with open_server() as server:
        while (other := await end_and_listen_instead(server)) is None:
            pass
        ended = server.server
        await asyncio.sleep(0.5)  # it is tried meanwhile
        assert server.server is ended

        other.close()
        while server.server is ended:
            await asyncio.sleep(0.01)
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(end_while_memory_is_filled()) else 1)
