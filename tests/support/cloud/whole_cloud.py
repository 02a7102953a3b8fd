"""A whole cloud in this process, on loopback, and a camera that says what a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import google_crc32c
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slimcloud.addresses import CloudAddresses
from slimcloud.app import run_cloud
from slimcloud.settings import CloudSettings
from slimcloud.store.frames import Store
from slimcodec.container import Prior
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from slimops.lifecycle import Lifecycle
from slimops.storage.redis_connection import redis_client
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

EPOCH = 0x5EED


class ToyModels:
    """A models directory with the toy codec and detector, and an encoder for it."""

    def __init__(self, root: Path, prior: Prior = "factorized") -> None:
        self.root = root
        self.artifact = load_codec_artifact(make_toy_codec(root, prior=prior))
        make_toy_detector(root)
        self.encoder = Encoder(self.artifact, OpenVinoRuntime(num_threads=1, precision="f32"))

    def encode(self, sequence: int, *, level: int = 0, hw: tuple[int, int] = (48, 64)) -> bytes:
        """The container of a made-up picture, another for each sequence."""
        return self.encoder.encode(make_image(*hw, seed=sequence), level, 2).bitstream

    def enhance(self, sequence: int, base: bytes, *, hw: tuple[int, int] = (48, 64)) -> bytes:
        return self.encoder.enhance(make_image(*hw, seed=sequence), base).bitstream


class RunningCloud:
    def __init__(self, addresses: CloudAddresses, store: Store, life: Lifecycle) -> None:
        self.addresses = addresses
        self.store = store
        self.life = life

    @property
    def grpc_address(self) -> str:
        assert self.addresses.grpc is not None
        return self.addresses.grpc


def cloud_settings(models: ToyModels, redis_url: str | None, **overrides: object) -> CloudSettings:
    """Settings for free ports, one thread, and any Redis; None: an embedded one."""
    values: dict[str, object] = {
        "model": "toy",
        "models_root": models.root,
        "precision": "f32",
        "detector_threads": 1,
        "grpc_port": 0,
        "http_port": 0,
        "redis_url": redis_url,
        "reclaim_idle_seconds": 0.1,
        "sweep_seconds": 0.05,
        "stop_seconds": 2.0,
        "min_score": 0.01,
    }
    return CloudSettings.model_validate({**values, **overrides})


@asynccontextmanager
async def open_cloud(settings: CloudSettings) -> AsyncIterator[RunningCloud]:
    """A cloud that has told that it is ready; it is stopped in order afterwards."""
    life = Lifecycle(deadline_seconds=settings.stop_seconds, handle_signals=False)
    ready: asyncio.Future[CloudAddresses] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_cloud(settings, ready=ready.set_result, lifecycle=life))
    running.add_done_callback(lambda _: ready.cancel())
    await asyncio.wait({ready})
    if running.done():
        await running  # it failed at the start: say why
    client = redis_client((await ready).redis_url)
    try:
        yield RunningCloud(await ready, Store(client), life)
    finally:
        await client.aclose()
        life.request_stop()
        await running


class ToyCamera:
    """One stream to the cloud; `async with` opens and closes its channel."""

    def __init__(self, address: str, models: ToyModels, *, token: str = "") -> None:
        self._models = models
        self._channel = grpc.aio.insecure_channel(address)
        stub = ingest_pb2_grpc.IngestServiceStub(self._channel)
        self._uplink = stub.StreamFrames(  # type: ignore[call-arg]  # written to by hand
            metadata=(("authorization", f"Bearer {token}"),)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._uplink.cancel()
        await self._channel.close(None)

    async def open(self) -> None:
        """Return when the server has taken the call, though nothing was said yet: what goes over
        the same connection is taken in order.
        """
        await asyncio.sleep(0)
        health = health_pb2_grpc.HealthStub(self._channel)
        await health.Check(health_pb2.HealthCheckRequest())

    async def say(self, **message: object) -> None:
        """Write one request, e.g. `say(hello=...)`; raises `StreamEndedError` when it is too late,
        as the server may end a call before it has read anything.
        """
        request = pb.StreamFramesRequest(**message)  # type: ignore[arg-type]  # one of the messages
        try:
            await self._uplink.write(request)
        except grpc.aio.AioRpcError as exc:
            raise StreamEndedError(exc.code(), exc.details() or "") from None

    async def hello(
        self,
        camera_id: str = "gate",
        *,
        epoch: int = EPOCH,
        fingerprint: bytes | None = None,
        unpersisted_sequences: Sequence[int] = (),
        byte_budget: pb.ByteBudget | None = None,
        time_mono_us: int = 0,
        time_unix_us: int = 0,
    ) -> pb.Welcome:
        """Introduce the camera and give the answer."""
        await self.say(
            hello=pb.Hello(
                camera_id=camera_id,
                epoch=epoch,
                model_name="toy/1",
                model_fingerprint=(
                    self._models.artifact.fingerprint if fingerprint is None else fingerprint
                ),
                unpersisted_sequences=unpersisted_sequences,
                byte_budget=byte_budget,
                time_mono_us=time_mono_us,
                time_unix_us=time_unix_us,
            )
        )
        return (await self.hear()).welcome

    async def send(
        self,
        sequence: int,
        container: bytes | None = None,
        *,
        crc32c: int | None = None,
        deadline_ms: int = 0,
        age_seconds: float = 0.0,
        epoch: int = 0,
        traceparent: str = "",
        reference: int = 0,
    ) -> bytes:
        """Send a frame; gives its container."""
        container = self._models.encode(sequence) if container is None else container
        await self.say(
            frame=pb.Frame(
                sequence=sequence,
                capture_time_unix_us=int((time.time() - age_seconds) * 1e6),
                capture_time_mono_us=max(0, int((time.monotonic() - age_seconds) * 1e6)),
                container=container,
                container_crc32c=google_crc32c.value(container) if crc32c is None else crc32c,
                deadline_ms=deadline_ms,
                lane=pb.LANE_LIVE,
                epoch=epoch,
                traceparent=traceparent,
                reference_sequence=reference,
            )
        )
        return container

    async def hear(self) -> pb.StreamFramesResponse:
        """The next answer; raises `StreamEndedError` or, after a good end, `EOFError`."""
        try:
            answer = await self._uplink.read()
        except grpc.aio.AioRpcError as exc:
            raise StreamEndedError(exc.code(), exc.details() or "") from None
        if not isinstance(answer, pb.StreamFramesResponse):  # grpc.aio.EOF
            status = await self._uplink.code()
            if status is not grpc.StatusCode.OK:
                raise StreamEndedError(status, str(await self._uplink.details()))
            raise EOFError
        return answer

    async def hear_until(
        self, wanted: Callable[[pb.StreamFramesResponse], bool]
    ) -> list[pb.StreamFramesResponse]:
        """Answers up to and with the first that is wanted; the test's time limit is the end."""
        answers = [await self.hear()]
        while not wanted(answers[-1]):
            answers.append(await self.hear())
        return answers

    async def hear_stage(self, sequence: int, stage: pb.Stage) -> pb.Ack:
        """The Ack of a frame at a stage, passing over everything else."""
        answers = await self.hear_until(
            lambda answer: (answer.ack.sequence, answer.ack.stage) == (sequence, stage)
        )
        return answers[-1].ack

    async def hear_nack(self, sequence: int) -> pb.Nack:
        answers = await self.hear_until(lambda answer: answer.nack.sequence == sequence)
        return answers[-1].nack

    async def say_last(self) -> None:
        """Half-close: nothing more will be said."""
        await self._uplink.done_writing()

    async def ended(self) -> StreamEndedError:
        """How the stream ends, passing over what it still says."""
        try:
            while True:
                await self.hear()
        except StreamEndedError as exc:
            return exc


class StreamEndedError(Exception):
    def __init__(self, status: grpc.StatusCode, detail: str) -> None:
        super().__init__(f"{status.name}: {detail}")
        self.status = status
        self.detail = detail
