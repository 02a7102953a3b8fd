"""The cloud's end of the wire, without a codec behind it: a real gRPC server on loopback.

It speaks slimwire.v1, keeps what it gets, and answers as told: all stages at once, or only up to
one, or a Nack, as to each frame whose reference is not stored; it can stop acknowledging, ask for
an enhancement, drain, or break the stream. Gaps are taken, and frames of an earlier start are
acknowledged up to PERSISTED.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import google_crc32c
import grpc
import grpc.aio

from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

_ABORT = None  # in a stream's outbox: end it without a word


class FakeCloud(ingest_pb2_grpc.IngestServiceServicer):
    """Use as `async with FakeCloud(...) as cloud:`; the edge connects to `cloud.address`."""

    def __init__(
        self,
        fingerprint: bytes = b"12345678",
        *,
        credit_bytes: int = 256 * 2**10,
        max_frame_bytes: int = 4 * 2**20,
        max_pixels: int = 0,
        max_live_level: int | None = None,
        max_reference_depth: int = 0,
        store_id: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.credit_bytes = credit_bytes
        self.max_frame_bytes = max_frame_bytes
        self.max_pixels = max_pixels
        self.max_live_level = max_live_level
        self.max_reference_depth = max_reference_depth  # above 0: it takes short frames, too
        self.store_id = store_id
        self.last_stage = pb.STAGE_DETECTED  # frames are acknowledged up to this stage
        self.nacks: dict[int, pb.Nack] = {}  # by sequence: sent once, instead of acks
        self.detections: list[pb.Detection] = []  # found in every frame
        self.hellos: list[pb.Hello] = []
        self.frames: list[pb.Frame] = []
        self.enhancements: list[pb.Enhancement] = []
        self.refusals: list[pb.Refusal] = []
        self.damaged_sequences: list[int] = []
        self.gaps: list[pb.Gap] = []
        self.lost_frames: set[int] = set()  # sequences: the next Frame never arrives
        self.lost_acks: set[int] = set()  # sequences: the next Frame's Acks never do
        self.hello_refusals: list[grpc.StatusCode] = []  # of the next streams, one each
        self.unanswered_gaps = 0  # so many of the first gaps get no GapAck
        self.acceptances: list[str] = []  # request ids
        self.persisted: dict[int, set[int]] = {}  # epoch -> sequences
        self.address = ""
        self._ends_with = grpc.StatusCode.UNAVAILABLE
        self._answering = asyncio.Event()
        self._answering.set()
        self._outboxes: set[asyncio.Queue[pb.StreamFramesResponse | None]] = set()
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on the former port if it was started before."""
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
            )
        )
        ingest_pb2_grpc.add_IngestServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """End all streams and the server; what it has got stays."""
        self._answering.set()
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    def hold(self) -> None:
        """Read on, but answer nothing until `release`."""
        self._answering.clear()

    def release(self) -> None:
        """Answer again, what was held first."""
        self._answering.set()

    def tell(self, response: pb.StreamFramesResponse) -> None:
        """Say something on every open stream."""
        for outbox in self._outboxes:
            outbox.put_nowait(response)

    def break_streams(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """End every open stream."""
        self._ends_with = code
        for outbox in self._outboxes:
            outbox.put_nowait(_ABORT)

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something that came makes `predicate` true."""
        async with self._changed:
            await self._changed.wait_for(predicate)

    @property
    def sequences(self) -> list[int]:
        """Of the frames as they came."""
        return [frame.sequence for frame in self.frames]

    async def StreamFrames(
        self,
        request_iterator: AsyncIterator[pb.StreamFramesRequest],
        context: grpc.aio.ServicerContext[pb.StreamFramesRequest, pb.StreamFramesResponse],
    ) -> AsyncIterator[pb.StreamFramesResponse]:
        hello = (await anext(request_iterator)).hello
        async with self._changed:
            self.hellos.append(hello)
            self._changed.notify_all()
        if self.hello_refusals:
            await context.abort(self.hello_refusals.pop(0), "refused by the test")
        if hello.model_fingerprint != self.fingerprint:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this cloud reads model {self.fingerprint.hex()}, "
                f"the edge writes {hello.model_fingerprint.hex()}",
            )
        outbox: asyncio.Queue[pb.StreamFramesResponse | None] = asyncio.Queue()
        credit = pb.Credit(credit_bytes=self.credit_bytes)  # unasked, as a cloud tells a share
        outbox.put_nowait(pb.StreamFramesResponse(credit=credit))
        self._outboxes.add(outbox)  # before the Welcome: from then on a test may tell something
        reading = asyncio.create_task(self._read(hello, request_iterator, outbox))
        try:
            yield pb.StreamFramesResponse(
                welcome=pb.Welcome(
                    resume_after_sequence=max(self.persisted.get(hello.epoch, ()), default=0),
                    persisted_sequences=sorted(
                        self.persisted.get(hello.epoch, set()) & set(hello.unpersisted_sequences)
                    ),
                    server_time_unix_us=time.time_ns() // 1000,
                    credit_bytes=self.credit_bytes,
                    max_frame_bytes=self.max_frame_bytes,
                    max_pixels=self.max_pixels,
                    model_fingerprint=self.fingerprint,
                    max_live_level=self.max_live_level,
                    max_reference_depth=self.max_reference_depth,
                    protocol_minor=2 if self.max_reference_depth else 0,
                    store_id=self.store_id,
                )
            )
            while (response := await outbox.get()) is not _ABORT:
                await self._answering.wait()
                yield response
            await context.abort(self._ends_with, "the stream was broken by the test")
        finally:
            self._outboxes.discard(outbox)
            reading.cancel()

    async def _read(
        self,
        hello: pb.Hello,
        requests: AsyncIterator[pb.StreamFramesRequest],
        outbox: asyncio.Queue[pb.StreamFramesResponse | None],
    ) -> None:
        received_bytes = 0
        async for request in requests:
            async with self._changed:
                match request.WhichOneof("message"):
                    case "frame":
                        received_bytes += len(request.frame.container)
                        self._take_frame(hello, request.frame, received_bytes, outbox)
                    case "enhancement":
                        received_bytes += len(request.enhancement.container)
                        self.enhancements.append(request.enhancement)
                        ack = _ack(request.enhancement.sequence, pb.STAGE_PERSISTED, received_bytes)
                        ack.ack.request_id = request.enhancement.request_id
                        outbox.put_nowait(ack)
                    case "gap":
                        self.gaps.append(request.gap)
                        if len(self.gaps) <= self.unanswered_gaps:
                            continue
                        gap_ack = pb.GapAck(
                            gap_number=request.gap.gap_number, epoch=request.gap.epoch
                        )
                        outbox.put_nowait(pb.StreamFramesResponse(gap_ack=gap_ack))
                    case "acceptance":
                        self.acceptances.append(request.acceptance.request_id)
                    case "refusal":
                        self.refusals.append(request.refusal)
                self._changed.notify_all()
        outbox.put_nowait(_ABORT)

    def _take_frame(
        self,
        hello: pb.Hello,
        frame: pb.Frame,
        received_bytes: int,
        outbox: asyncio.Queue[pb.StreamFramesResponse | None],
    ) -> None:
        if frame.sequence in self.lost_frames:
            self.lost_frames.remove(frame.sequence)
            return
        self.frames.append(frame)
        is_told = frame.container_crc32c or not self.max_reference_depth
        if is_told and google_crc32c.value(frame.container) != frame.container_crc32c:
            self.damaged_sequences.append(frame.sequence)
        nack = self.nacks.pop(frame.sequence, None)
        epoch, reference = frame.epoch or hello.epoch, frame.reference_sequence
        if reference and reference not in self.persisted.get(epoch, set()):
            nack = pb.Nack(
                sequence=frame.sequence, epoch=frame.epoch, reason=pb.NACK_REASON_REFERENCE
            )
        if nack is not None:
            outbox.put_nowait(pb.StreamFramesResponse(nack=nack))
            return
        for stage in (pb.STAGE_RECEIVED, pb.STAGE_PERSISTED, pb.STAGE_DETECTED):
            if stage > self.last_stage:
                break
            ack = _ack(frame.sequence, stage, received_bytes)
            ack.ack.epoch = frame.epoch
            if stage == pb.STAGE_PERSISTED:
                self.persisted.setdefault(epoch, set()).add(frame.sequence)
            if stage == pb.STAGE_DETECTED:
                if frame.epoch:
                    break
                ack.ack.detections.extend(self.detections)
            if frame.sequence not in self.lost_acks:
                outbox.put_nowait(ack)
        self.lost_acks.discard(frame.sequence)


def _ack(sequence: int, stage: pb.Stage, received_bytes: int) -> pb.StreamFramesResponse:
    return pb.StreamFramesResponse(
        ack=pb.Ack(
            sequence=sequence,
            stage=stage,
            server_mono_us=time.monotonic_ns() // 1000,
            received_bytes_total=received_bytes,
        )
    )
