"""Frames that need others, while processes are killed, streams cut, frames lost, the store emptied.

One camera with the toy codec, whose frames need the newest that it knows PERSISTED, as deep as may
be, and ingest, two detect workers and a Redis that waits for its disk. Ten in a hundred frames are
never sent. Before a store is emptied, and at the end, every frame that it told PERSISTED must
decode from what is stored to the very symbols that the camera coded.
"""

import argparse
import asyncio
import collections
import random
import tempfile
from pathlib import Path

import grpc

from bench.chaos.account import settle
from bench.chaos.rig import record
from bench.chaos.system import SETTLE_SECONDS, System
from slimcloud.chain import ChainDecoder, CodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from support.cloud.scene import Scene
from support.cloud.whole_cloud import EPOCH, StreamEndedError, ToyCamera

VICTIMS = ("ingest", "detect", "detect 2", "redis")
PLACES = 5  # of what moves
ANSWER_SECONDS = 10.0
BROKEN = (StreamEndedError, EOFError, TimeoutError, grpc.RpcError, asyncio.InvalidStateError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Send, break, and decode what was told."""
    with tempfile.TemporaryDirectory(prefix="references-") as scratch:
        system = System(Path(scratch), "always", whole=False)
        system.add_detect("detect 2")
        try:
            for name in ("redis", *VICTIMS[:-1]):
                system.start(name)
            camera = Camera(system, random.Random(arguments.seed))
            asyncio.run(camera.send(arguments.frames))
            asyncio.run(camera.check())
        finally:
            system.stop()
    record("references", arguments.frames, dict(sorted(camera.counts.items())))


class Camera:
    """What it knows of the cloud, and what came of its frames."""

    def __init__(self, system: System, dice: random.Random) -> None:
        self._system, self._dice = system, dice
        self._scene, self._place = Scene(system.models), 0
        self._told: set[int] = set()  # PERSISTED
        self._in_doubt: list[int] = []
        self._sequence, self._store_id = 0, ""
        self.counts: collections.Counter[str] = collections.Counter()

    async def send(self, frames: int) -> None:
        """Send so many frames over as many streams as it takes."""
        while self._sequence < frames:
            try:
                async with ToyCamera(self._system.cloud_address, self._system.models) as uplink:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        self._begin(await uplink.hello(unpersisted_sequences=self._in_doubt))
                    while self._sequence < frames and await self._send_one(uplink):
                        pass
            except BROKEN:
                self.counts["streams broken"] += 1
                await asyncio.sleep(0.3)

    def _begin(self, welcome: pb.Welcome) -> None:
        if welcome.store_id != self._store_id:
            self._told.clear()
        self._store_id = welcome.store_id
        self._told |= set(welcome.persisted_sequences)
        self._in_doubt.clear()

    async def _send_one(self, uplink: ToyCamera) -> bool:
        """Send a frame and hear of it; False where the stream is cut."""
        await self._harm()
        self._sequence += 1
        sequence, dice = self._sequence, self._dice
        near = [n for n in self._told if self._scene.symbols(n).depth < 8]
        reference = 0 if dice.random() < 0.03 else max(near, default=0)
        self._place = dice.choice((self._place, dice.randrange(PLACES)))
        container = self._scene.encode(sequence, reference, self._place)
        if self._scene.symbols(sequence).depth == 0:
            reference = 0  # it was cheaper alone
        if dice.random() < 0.1:
            self.counts["frames never sent"] += 1
            return True
        self._in_doubt.append(sequence)
        await uplink.send(sequence, container, reference=reference)
        if dice.random() < 0.02:
            self.counts["streams cut"] += 1
            return False
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = await uplink.hear_until(
                lambda answer: sequence in (answer.nack.sequence, _persisted(answer.ack))
            )
        if answers[-1].HasField("nack"):
            reason = pb.NackReason.Name(answers[-1].nack.reason)
            self.counts[f"refused, {reason}"] += 1
            if reason == "NACK_REASON_REFERENCE":
                self._told.clear()
        else:
            self._told.add(sequence)
        return True

    async def _harm(self) -> None:
        if self._dice.random() < 0.02:
            victim = self._dice.choice(VICTIMS)
            self.counts[f"killed {victim}"] += 1
            await asyncio.to_thread(self._system.kill, victim)
            self._system.start(victim)
        if self._dice.random() < 0.004:
            self.counts["stores emptied"] += 1
            await self.check()
            client = redis_client(self._system.redis_url)
            await client.flushall()
            await client.aclose()

    async def check(self) -> None:
        """Decode every frame that was told PERSISTED, and name none of them again."""
        await settle(self._system.redis_url, SETTLE_SECONDS)
        client = redis_client(self._system.redis_url)
        store, codec = Store(client), self._system.models.artifact
        decoder = ChainDecoder(self._scene.decoder, codec)
        for sequence in sorted(self._told):
            frame_id = FrameId("gate", EPOCH, sequence)
            base, (chain,) = (
                await store.get_container(frame_id),
                await store.load_chains([frame_id]),
            )
            decoded = decoder.decode(CodedFrame(base, None, frame_id, chain)).symbols
            is_right = (
                decoded is not None and decoded.digest == self._scene.symbols(sequence).digest
            )
            self.counts["decoded as coded" if is_right else "DECODED OTHERWISE"] += 1
            state = (await store.get_frame(frame_id)).state
            self.counts["detected" if state is FrameState.DETECTED else f"left {state}"] += 1
        await client.aclose()
        self._told.clear()


def _persisted(ack: pb.Ack) -> int:
    """The sequence of what was told PERSISTED, or more; 0 for another."""
    return ack.sequence if ack.stage in (pb.STAGE_PERSISTED, pb.STAGE_DETECTED) else 0
