"""A proxy between a real edge and a real cloud that spoils the link, heals it, and counts.

Each fault is done so many rounds while frames flow, each after a pause. A recovery is the time from
healing until a frame that was encoded later is PERSISTED; of a lost Frame, from its loss until it
is; of lost Acks, until a new stream has told what is there. Then what the edge was told is compared
with what the store has.

    edge -> Faults (bytes) -> [ShapedLink: far, slow | MessageLoss: Frame, Ack] -> cloud
"""

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import grpc.aio
import numpy as np

from bench.chaos.account import Account
from bench.chaos.rig import STREAM_FRAMES, record
from bench.chaos.system import System
from slimlinks.shaping import ShapedLink
from slimlinks.trace import constant_trace
from slimwire.v1 import ingest_pb2 as pb

FAULTS = ("cut", "down", "half-open", "frame", "ack", "altered", "delay", "slow")
IMAGE_HW = (240, 320)  # more than 64 kbit/s at five a second
SLOW_BYTES_PER_SECOND = 8_000.0
FAR_SECONDS = 2.0  # there and back
FAULT_SECONDS = {"down": 8.0, "half-open": 15.0, "altered": 5.0, "delay": 15.0, "slow": 15.0}
PAUSE_SECONDS = 4.0
RECOVERY_SECONDS = 90.0  # is waited for at most
CHUNK_BYTES = 2**14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fault", action="append", choices=FAULTS, help="default: each")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """A row for each fault."""
    for fault in arguments.fault or FAULTS:
        with tempfile.TemporaryDirectory(prefix="proxy-") as scratch:
            measured = measure(fault, arguments.rounds, arguments.seed, Path(scratch))
            recoveries, account, errors = asyncio.run(measured)
        p50, p95 = np.percentile(recoveries, (50, 95))
        seconds = {"p50": f"{p50:.1f} s", "p95": f"{p95:.1f} s", "most": f"{max(recoveries):.1f} s"}
        said = {**seconds, **account.counts(), "errors logged": errors}
        record(f"link: {fault}", arguments.rounds, said)


async def measure(
    fault: str, rounds: int, seed: int, folder: Path
) -> tuple[list[float], Account, int]:
    """The seconds of each recovery, what became of the frames, and errors that were logged."""
    async with Faults(random.Random(seed)) as proxy:
        settings = {"EDGE_CLOUD_ADDRESS": proxy.address}
        if fault == "slow":  # for which frames that refer to others are too small
            settings["EDGE_REFERENCE_DEPTH"] = "0"
        system = System(folder, whole=False, image_hw=IMAGE_HW, edge=settings)
        try:
            async with _behind(system.cloud_address, fault) as (loss, shaped):
                proxy.target = system.cloud_address if loss is None else loss.address
                await asyncio.to_thread(system.start_all)
                recoveries = []
                for _ in range(rounds):
                    await asyncio.sleep(PAUSE_SECONDS)
                    sequence, healed = 0, 0.0
                    if loss is None:
                        healed = await _spoil(fault, proxy, shaped)
                    else:
                        sequence, healed = await loss.lose_one()
                    recoveries.append(await _recovery(fault, system, healed, sequence))
                account = await asyncio.to_thread(system.account)
        finally:
            system.stop()
    return recoveries, account, system.errors()


async def _spoil(fault: str, proxy: "Faults", shaped: ShapedLink | None) -> float:
    """Do it, for as long as it takes; when it was healed, on the monotonic clock."""
    seconds = FAULT_SECONDS.get(fault, 0.0)
    match fault:
        case "cut":
            proxy.cut()
        case "down":
            proxy.is_down = True
            proxy.cut()
            await asyncio.sleep(seconds)
            proxy.is_down = False
        case "half-open":
            proxy.passes.clear()
            await asyncio.sleep(seconds)
            proxy.passes.set()
        case "altered":
            proxy.alters = True
            await asyncio.sleep(seconds)
            proxy.alters = False
        case _:
            assert shaped is not None
            near, proxy.target = proxy.target, shaped.address
            proxy.cut()
            await asyncio.sleep(seconds)
            proxy.target = near
            proxy.cut()
    return time.monotonic()


async def _recovery(fault: str, system: System, healed: float, sequence: int) -> float:
    """Seconds until this frame is PERSISTED, or if 0 one that was encoded after healing."""
    while time.monotonic() < healed + RECOVERY_SECONDS:
        await asyncio.sleep(0.1)
        (log,) = system.logs
        encoded = {sequence}
        for line in _after(log, healed):
            if line["event"] == "Encoded" and not sequence:
                encoded.add(line["sequence"])
            is_kept = line["event"] == "Acked" and line["stage"] != "received"
            is_anew = line["event"] == "LinkChanged" and line["state"] == "up"
            if (is_anew and fault == "ack") or (is_kept and line["sequence"] in encoded):
                return float(line["at"]) - healed
    return RECOVERY_SECONDS


def _after(log: Path, at: float) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines():
        if line.endswith("}") and (event := json.loads(line))["at"] > at:
            yield event


@contextlib.asynccontextmanager
async def _behind(
    cloud: str, fault: str
) -> AsyncIterator[tuple["MessageLoss | None", ShapedLink | None]]:
    """What stands between the proxy and the cloud for this fault."""
    async with contextlib.AsyncExitStack() as stack:
        loss = shaped = None
        if fault in ("frame", "ack"):
            loss = await stack.enter_async_context(MessageLoss(cloud, fault))
        elif fault == "delay":
            link = ShapedLink(cloud, None, round_trip_seconds=FAR_SECONDS)
            shaped = await stack.enter_async_context(link)
        elif fault == "slow":
            link = ShapedLink(cloud, constant_trace(SLOW_BYTES_PER_SECOND))
            shaped = await stack.enter_async_context(link)
        yield loss, shaped


class Faults:
    """A relay of bytes that can be cut, be down, stand still, or alter a byte of every chunk."""

    def __init__(self, dice: random.Random) -> None:
        self.target = ""  # host:port
        self.is_down = False
        self.alters = False
        self.passes = asyncio.Event()
        self.passes.set()
        self._dice = dice
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, edge: asyncio.StreamReader, to_edge: asyncio.StreamWriter) -> None:
        opened = {to_edge}
        try:
            if self.is_down:
                return
            await self.passes.wait()
            host, _, port = self.target.rpartition(":")
            cloud, to_cloud = await asyncio.open_connection(host, int(port))
            opened.add(to_cloud)
            self._writers |= opened
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(edge, to_cloud))
                both.create_task(self._carry(cloud, to_edge))
        except* OSError:
            pass  # one end has gone, or was cut
        finally:
            for writer in opened:
                writer.close()
            self._writers -= opened

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            await self.passes.wait()
            if self.alters:
                changed = bytearray(chunk)
                changed[self._dice.randrange(len(chunk))] ^= 1 << self._dice.randrange(8)
                chunk = bytes(changed)
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()


class MessageLoss(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not at run time
    """A proxy of the stream's messages that loses one Frame, or all Acks of one frame."""

    def __init__(self, cloud: str, kind: str) -> None:
        self._channel = grpc.aio.insecure_channel(cloud)
        self._kind = kind
        self._is_armed = False
        self._lost: asyncio.Future[tuple[int, float]] | None = None

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)
        await self._channel.close(None)

    async def lose_one(self) -> tuple[int, float]:
        """Lose the next; its frame's sequence, and when that was on the monotonic clock."""
        self._lost = asyncio.get_running_loop().create_future()
        return await self._lost

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if details.method != STREAM_FRAMES:
            return None
        return grpc.stream_stream_rpc_method_handler(self._relay)

    async def _relay(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        call = self._channel.stream_stream(STREAM_FRAMES, bytes, bytes)()  # type: ignore[call-arg]  # written to by hand
        lost = 0  # sequence, of this stream

        async def up() -> None:
            nonlocal lost
            async for raw in requests:
                frame = pb.StreamFramesRequest.FromString(raw).frame
                if self._lost is not None and not self._lost.done() and frame.sequence:
                    lost = frame.sequence
                    self._lost.set_result((lost, time.monotonic()))
                    if self._kind == "frame":
                        continue
                await call.write(raw)
            await call.done_writing()

        sending = asyncio.create_task(up())
        try:
            async for raw in call:
                ack = pb.StreamFramesResponse.FromString(raw).ack
                if not (self._kind == "ack" and lost and ack.sequence == lost):
                    await context.write(raw)
        except grpc.aio.AioRpcError as exc:
            await context.abort(exc.code(), exc.details() or "")
        finally:
            sending.cancel()
            call.cancel()
