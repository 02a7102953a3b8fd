"""One bidirectional stream per camera -> store, and the store's feed -> answers.

    camera ══► intake: check, store, queue ──► detect, in any process ──┐
    camera ◄══ outbox ◄── event relay: acks, Nacks, Commands ◄─── feed ┘

A bad frame gets a Nack and the stream lives on; a bad stream ends with a status (`refusals`). A
camera is who it says it is (`auth`).
"""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from slimcloud.errors import StreamRefusedError
from slimcloud.frame_id import CAMERA_ID_PATTERN
from slimcloud.ingest.auth import CameraAuth
from slimcloud.ingest.camera_stream import CameraStream, mono_us
from slimcloud.ingest.checks import ContainerChecker
from slimcloud.ingest.commands import send_commands
from slimcloud.ingest.event_relay import CreditControl, EventRelay, supersede
from slimcloud.ingest.intake import Intake
from slimcloud.ingest.metrics import IngestMetrics
from slimcloud.ingest.refusals import status_of
from slimcloud.settings import CloudSettings
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.wall_clock import unix_us
from slimcodec.model.artifact import CodecArtifact
from slimcontrol.budget import Budget
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

logger = logging.getLogger(__name__)

_PROTOCOL_MINOR = 2
_HELLO_SECONDS = 10.0  # a stream that does not introduce itself by then is ended
_HALF_CLOSED_SECONDS = 30.0  # for the answers that a camera awaits after its last word
_LAST_ANSWERS_SECONDS = 10.0  # for a camera that has said its last word to read them
_RECONNECT_AFTER_MS = 1000
_MAX_HELLO_BYTES = 2**16  # 1,024 sequences in doubt take 10 kB
_MAX_IN_DOUBT = 1024  # sequences of a Hello that are looked up
_MAX_PERIOD_SECONDS = 31 * 24 * 3600  # of a byte budget

_Requests: TypeAlias = AsyncIterator[pb.StreamFramesRequest]
_Context: TypeAlias = grpc.aio.ServicerContext[pb.StreamFramesRequest, pb.StreamFramesResponse]


class IngestServicer(ingest_pb2_grpc.IngestServiceServicer):
    """Serves the cameras of one process.

    Attributes:
        auth: lets cameras in.
        event_relay: answers cameras from the store's feed; must run beside it.
        credit: lets cameras wait while the queue is nearly full; must run beside it.
    """

    def __init__(
        self, store: Store, artifact: CodecArtifact, settings: CloudSettings, metrics: IngestMetrics
    ) -> None:
        self._store = store
        self._artifact = artifact
        self._settings = settings
        checker = ContainerChecker(
            artifact, max_frame_bytes=settings.max_frame_bytes, max_pixels=settings.max_pixels
        )
        self._intake = Intake(store, checker, metrics)
        self.auth = CameraAuth.of(settings)
        self._streams: dict[str, CameraStream] = {}
        self._contexts: dict[CameraStream, _Context] = {}
        self.event_relay = EventRelay(store, self._streams, metrics)
        self._calls: set[asyncio.Task[object]] = set()
        self._draining = False
        self.credit = CreditControl(store, self._streams, settings)
        metrics.streams.set_function(lambda: len(self._streams))
        metrics.credit_bytes.set_function(
            lambda: min(
                map(self.credit.credit_bytes, self._streams.values()),
                default=settings.credit_bytes,
            )
        )
        metrics.clock_offset_seconds.set_function(
            lambda: max((abs(s.clock.offset_us) for s in self._streams.values()), default=0) / 1e6
        )

    def drain(self, grace_seconds: float) -> None:
        """Take no new streams, and ask the connected cameras to leave and come back.

        Args:
            grace_seconds: after which the server cuts them.
        """
        self._draining = True
        drain = pb.Drain(
            reconnect_after_ms=_RECONNECT_AFTER_MS, grace_ms=round(1000 * grace_seconds)
        )
        for stream in self._streams.values():
            stream.answer(pb.StreamFramesResponse(drain=drain))

    def go_by(self, auth: CameraAuth) -> None:
        """Let cameras in by it from now on, and end the streams that it does not let in."""
        self.auth = auth
        for stream, context in self._contexts.items():
            try:
                auth.check(context, stream.camera_id)
            except StreamRefusedError as exc:
                stream.end(exc.status, str(exc))

    async def ended(self) -> None:
        """Return when none of the calls that run now is left: `grpc.aio.Server.stop` cancels them,
        but does not wait until they have told the store that their cameras are gone.
        """
        if self._calls:
            await asyncio.wait(self._calls)

    async def StreamFrames(  # type: ignore[override]  # a coroutine: its clean-up runs at once
        self, request_iterator: _Requests, context: _Context
    ) -> None:
        task = asyncio.current_task()
        assert task is not None, "grpc.aio runs every call in a task"
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            self.auth.admit(context)  # first: strangers cost and learn as little as can be
            hello = await _read_hello(request_iterator)
            heard_us = mono_us()
            self.auth.check(context, hello.camera_id)
            self._check_hello(hello)
            stream = CameraStream(hello.camera_id, hello.epoch)
            stream.clock.begin(hello.time_mono_us)
            stream.hello_mono_us, stream.hello_unix_us = hello.time_mono_us, hello.time_unix_us
            self._contexts[stream] = context
            expiry = self._end_when_expired(stream, context)
            try:
                await self._connect(stream, hello, heard_us, context)
                await self._converse(stream, request_iterator, context)
            finally:
                expiry.cancel()
                del self._contexts[stream]
                await self._disconnect(stream)
        except Exception as exc:
            status, detail = status_of(exc), str(exc)
            if status is grpc.StatusCode.INTERNAL:
                logger.exception("stream of %s failed", context.peer())
                detail = "internal error; the cloud's log tells more"
            else:
                logger.warning("stream of %s ended: %s", context.peer(), exc)
            await context.abort(status, detail)

    def _end_when_expired(self, stream: CameraStream, context: _Context) -> asyncio.TimerHandle:
        """End a stream when the certificate of its camera does."""
        ends_unix = self.auth.ends_unix(context)
        return asyncio.get_running_loop().call_later(
            math.inf if ends_unix is None else max(0.0, ends_unix - time.time()),
            stream.end,
            grpc.StatusCode.UNAUTHENTICATED,
            f"the certificate of camera {stream.camera_id} has expired; renew its EDGE_TLS_CERT",
        )

    # --- Hello and Welcome ---

    def _check_hello(self, hello: pb.Hello) -> None:
        if self._draining:
            raise StreamRefusedError(grpc.StatusCode.UNAVAILABLE, "the cloud is about to stop")
        if hello.epoch == 0:
            raise _invalid(
                "epoch 0; expected a number that is new at each start of the camera: without one "
                "the frames of this start would be taken for those of the last"
            )
        budget = hello.byte_budget
        if budget.container_bytes and not 0 < budget.period_seconds <= _MAX_PERIOD_SECONDS:
            raise _invalid(
                f"byte_budget with a period of {budget.period_seconds} s; expected 1 to "
                f"{_MAX_PERIOD_SECONDS} s"
            )
        ours = self._artifact.fingerprint
        if hello.model_fingerprint != ours:
            raise StreamRefusedError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the camera has model {hello.model_name[:80]!r} with fingerprint "
                f"{hello.model_fingerprint[:32].hex() or 'none'}; this cloud has "
                f"{self._artifact.label} with {ours.hex()}; give both the same model",
            )
        max_cameras = self._settings.max_cameras
        if hello.camera_id not in self._streams and len(self._streams) >= max_cameras:
            raise StreamRefusedError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{max_cameras} cameras are connected; no more are taken",
            )

    async def _connect(
        self, stream: CameraStream, hello: pb.Hello, heard_us: int, context: _Context
    ) -> None:
        earlier = self._streams.get(stream.camera_id)
        self._streams[stream.camera_id] = stream
        if earlier is not None:
            supersede(earlier)
        budget = _budget_of(hello)
        stream.spending.keep_to(budget)
        await self._store.budgets.state(stream.camera_id, budget)
        await self._store.refetches.ask_again(stream.camera_id)
        await self._store.cameras.connect(
            stream.camera_id,
            epoch=stream.epoch,
            model_name=hello.model_name[:120],
            connection=stream.connection_id,
            deadline_seconds=hello.deadline_ms / 1000 or None,
        )
        stream.connect_entry_id = await self._store.feed.add(
            FeedKind.CAMERA_CONNECTED, stream.camera_id, detail=stream.connection_id
        )
        stream.store_id = await self._store.store_id()
        welcome = pb.Welcome(
            resume_after_sequence=await self._store.highest_sequence(
                stream.camera_id, stream.epoch
            ),
            credit_bytes=self.credit.credit_bytes(stream),
            max_frame_bytes=self._settings.max_frame_bytes,
            model_fingerprint=self._artifact.fingerprint,
            max_live_level=0 if self._settings.triage == "enhance" else None,
            max_pixels=self._settings.max_pixels,
            persisted_sequences=await self._store.persisted(
                stream.camera_id, stream.epoch, hello.unpersisted_sequences[:_MAX_IN_DOUBT]
            ),
            server_time_unix_us=unix_us(),
            store_id=stream.store_id,
            protocol_minor=_PROTOCOL_MINOR,
            max_reference_depth=(
                0 if self._artifact.context is None else self._settings.max_reference_depth
            ),
        )
        welcome.handling_us = min(mono_us() - heard_us, 2**32 - 1)
        await context.write(pb.StreamFramesResponse(welcome=welcome))
        await send_commands(self._store, stream)
        logger.info(
            "camera connected, epoch %016x", stream.epoch, extra={"camera_id": stream.camera_id}
        )

    async def _disconnect(self, stream: CameraStream) -> None:
        if self._streams.get(stream.camera_id) is stream:
            del self._streams[stream.camera_id]
        try:
            if await self._store.cameras.disconnect(stream.camera_id, stream.connection_id):
                await self._store.feed.add(
                    FeedKind.CAMERA_DISCONNECTED, stream.camera_id, detail=stream.connection_id
                )
        except RedisError as exc:
            logger.warning("the store could not note that a camera left: %s", exc)
        logger.info("camera disconnected", extra={"camera_id": stream.camera_id})

    # --- everything between ---

    async def _converse(self, stream: CameraStream, requests: _Requests, context: _Context) -> None:
        """Take and answer until the camera has said its last word and has heard ours."""

        async def receive() -> None:
            async for request in requests:
                await self._intake.take(stream, request)
                del request  # a megabyte, perhaps, until the next one comes
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HALF_CLOSED_SECONDS):
                    await stream.settled.wait()
            stream.answer(None)

        async def send() -> None:
            while (answer := await stream.next_answer()) is not None:
                await context.write(answer)

        receiving = asyncio.create_task(receive())
        sending = asyncio.create_task(send())
        ending = asyncio.create_task(stream.ended())
        try:
            await asyncio.wait({receiving, sending, ending}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and not receiving.exception():
                # Not cancelled in the middle of a write: the last answer would be lost with it.
                await asyncio.wait(
                    {sending, ending},
                    timeout=_LAST_ANSWERS_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if ending.done():
                raise ending.result()
            if sending.done():
                sending.result()
            if receiving.done():
                receiving.result()
        finally:
            for task in (receiving, sending, ending):
                task.cancel()
            await asyncio.gather(receiving, sending, ending, return_exceptions=True)


async def _read_hello(requests: _Requests) -> pb.Hello:
    """The first message, where it is a Hello of a camera that can be."""
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            first = await anext(requests)
    except TimeoutError:
        raise StreamRefusedError(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"no Hello came within {_HELLO_SECONDS:.0f} s"
        ) from None
    except StopAsyncIteration:
        raise _invalid("no Hello came; it must be the first message") from None
    except DecodeError:
        raise _invalid("the first message cannot be read; it must be a Hello") from None
    if first.ByteSize() > _MAX_HELLO_BYTES:
        raise _invalid(f"a Hello of {first.ByteSize()} bytes; at most {_MAX_HELLO_BYTES} are read")
    if first.WhichOneof("message") != "hello":
        raise _invalid(f"the first message is {first.WhichOneof('message')}; it must be a Hello")
    hello = first.hello
    if not re.fullmatch(CAMERA_ID_PATTERN, hello.camera_id):
        raise _invalid(
            f"camera_id {hello.camera_id[:80]!r}; expected 1-64 characters of [A-Za-z0-9._-]"
        )
    return hello


def _budget_of(hello: pb.Hello) -> Budget | None:
    budget = hello.byte_budget
    if not budget.container_bytes:
        return None
    return Budget(budget.container_bytes, budget.period_seconds)


def _invalid(detail: str) -> StreamRefusedError:
    return StreamRefusedError(grpc.StatusCode.INVALID_ARGUMENT, detail)
