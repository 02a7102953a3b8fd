"""Plays the cloud's side of a transcript to any camera, and checks what the camera sends.

    PYTHONPATH=shared:tests python -m conformance.play_cloud NAME [ADDRESS]

The camera's own n-th frame takes the place of the transcript's; what it sends beyond that is
answered as a cloud would. Ends when the transcript was played and the camera has left in order, or
after Ctrl-C; prints what was wrong.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from conformance.rules import Rules
from conformance.transcript import TRANSCRIPTS, Line, Transcript
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

ANSWER_SECONDS = 10.0  # for what the camera must say

_Requests = AsyncIterator[pb.StreamFramesRequest]
_Context = grpc.aio.ServicerContext[pb.StreamFramesRequest, pb.StreamFramesResponse]


class TranscriptCloud(ingest_pb2_grpc.IngestServiceServicer):
    """Use as `async with TranscriptCloud(transcript) as cloud:`; cameras connect to its `address`.

    Attributes:
        played: Set when the whole transcript was played.
        left: Set when the camera has half-closed a stream after that.
        came_back: Set when it has opened another one after that.
        heard: Set whenever the camera says something.
        rules: Say in `broken` what the camera did wrong.
    """

    def __init__(self, transcript: Transcript, address: str = "127.0.0.1:0") -> None:
        self.transcript = transcript
        self.address = address
        self.rules = Rules()
        self.played, self.left, self.came_back, self.heard = (asyncio.Event() for _ in range(4))
        self._scripts = transcript.streams()
        self._welcome = pb.Welcome()
        self._names: dict[int, int] = {}  # sequences of the transcript -> of the camera
        self._answered: dict[str, str] = {}  # request -> kind of its answer
        self._server = grpc.aio.server()

    async def __aenter__(self) -> Self:
        ingest_pb2_grpc.add_IngestServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(self.address)
        self.address = f"{self.address.rpartition(':')[0]}:{port}"
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.stop(grace=0)

    async def StreamFrames(  # type: ignore[override]  # a coroutine
        self, request_iterator: _Requests, context: _Context
    ) -> None:
        if self.played.is_set():
            self.came_back.set()
        script = self._scripts.pop(0) if self._scripts else []
        stream = _Stream(self, request_iterator, context)
        try:
            await stream.welcome(script)
            for line in script[1:]:
                await stream.play(line)
            if not self._scripts:
                self.played.set()
            await stream.serve_on()
        except EOFError:  # the camera half-closed
            if self.played.is_set():
                self.left.set()
        except TimeoutError:
            self.rules.broken.append(f"did not say what line {stream.line.number} asks for")
            self.played.set()

    async def hear_more(self, num_frames: int) -> None:
        """Wait for so many frames that did not come yet."""
        until = len(self.rules.frames) + num_frames
        while len(self.rules.frames) < until:
            self.heard.clear()
            await self.heard.wait()

    async def finish(self) -> None:
        """Wait until all was played and the camera has left."""
        await self.played.wait()
        await self.left.wait()


class _Stream:
    """One stream of the camera, and where the transcript is on it."""

    def __init__(self, cloud: TranscriptCloud, requests: _Requests, context: _Context) -> None:
        self._cloud, self._rules = cloud, cloud.rules
        self._requests, self._context = requests, context
        self.line = Line(0)

    async def welcome(self, script: Sequence[Line]) -> None:
        """Take the Hello, and answer as the transcript does, or as before."""
        request = await anext(self._requests)
        self._rules.hear_hello(request)
        hello, welcome = request.hello, pb.Welcome()
        said = [line.response for line in script if line.cloud is not None]
        welcome.CopyFrom(said[0].welcome if said else self._cloud._welcome)
        if self._cloud._welcome.store_id not in ("", welcome.store_id):
            self._rules.stored.clear()
            self._cloud._names.clear()  # a frame that needs a lost one is lost, too
        self._cloud._welcome = welcome
        known = self._rules.stored
        welcome.model_fingerprint = hello.model_fingerprint
        welcome.resume_after_sequence = max(known, default=0)
        welcome.persisted_sequences[:] = sorted(known & set(hello.unpersisted_sequences))
        self._rules.say_welcome(welcome)
        await self._context.write(pb.StreamFramesResponse(welcome=welcome))

    async def play(self, line: Line) -> None:
        """Say or hear what a line says."""
        self.line = line
        if line.cloud is not None and "welcome" not in line.cloud:
            await self._say(line)
        elif line.client is not None:
            await self._hear(line)
        elif line.event == "break" or line.ends not in (None, "OK"):
            status = grpc.StatusCode[line.ends or "UNAVAILABLE"]
            await self._context.abort(status, "as the transcript has it")

    async def serve_on(self) -> None:
        """Answer whatever comes."""
        while True:
            await self._answer(await self._next())

    async def _say(self, line: Line) -> None:
        response = line.response
        body = getattr(response, response.WhichOneof("message") or "")
        asked = "" if response.HasField("command") else getattr(body, "request_id", "")
        if asked and self._cloud._answered.get(asked) != "enhancement":
            return  # it was refused, so there is nothing to acknowledge
        if response.HasField("command") and response.command.HasField("refetch_enhancement"):
            refetch = response.command.refetch_enhancement
            refetch.sequence = self._cloud._names[refetch.sequence]
        if hasattr(body, "sequence"):
            body.sequence = self._cloud._names[body.sequence]
        await self._tell(response, is_lost=line.lost)

    async def _tell(self, response: pb.StreamFramesResponse, *, is_lost: bool = False) -> None:
        ack = response.ack
        if ack.stage >= pb.STAGE_PERSISTED and not ack.request_id and not ack.epoch:
            self._rules.stored.add(ack.sequence)
        if not is_lost:
            self._rules.say(response)
            await self._context.write(response)

    async def _hear(self, line: Line) -> None:
        """Wait for the message that takes the place of the transcript's."""
        expected = line.request
        kind = expected.WhichOneof("message")
        if kind == "gap":  # for the camera to decide
            return
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                request = await self._next()
                if kind == "frame" and self._takes_place(request, expected.frame.sequence):
                    return
                asked = _request_id(request)
                if kind != "frame" and asked == _request_id(expected):
                    self._cloud._answered[asked] = request.WhichOneof("message") or ""
                    if kind == "enhancement" or not request.HasField("enhancement"):
                        return
                await self._answer(request)
                if kind != "frame" and asked == _request_id(expected):
                    return

    def _takes_place(self, request: pb.StreamFramesRequest, sequence: int) -> bool:
        frame, names = request.frame, self._cloud._names
        if not request.HasField("frame") or frame.epoch or self._lacks_reference(frame):
            return False
        if sequence not in names and frame.sequence not in names.values():
            names[sequence] = frame.sequence
        return names.get(sequence) == frame.sequence

    async def _next(self) -> pb.StreamFramesRequest:
        try:
            request = await anext(self._requests)
        except StopAsyncIteration:
            raise EOFError from None
        self._rules.hear(request)
        self._cloud.heard.set()
        return request

    async def _answer(self, request: pb.StreamFramesRequest) -> None:
        """Say what a cloud says of what the transcript does not have."""
        match request.WhichOneof("message"):
            case "frame" if self._lacks_reference(request.frame):
                nack = pb.Nack(sequence=request.frame.sequence, reason=pb.NACK_REASON_REFERENCE)
                await self._tell(pb.StreamFramesResponse(nack=nack))
            case "frame":
                frame = request.frame
                for stage in (pb.STAGE_PERSISTED, *([] if frame.epoch else [pb.STAGE_DETECTED])):
                    ack = pb.Ack(sequence=frame.sequence, epoch=frame.epoch, stage=stage)
                    await self._tell(pb.StreamFramesResponse(ack=ack))
            case "enhancement":
                asked = request.enhancement
                for stage in (pb.STAGE_RECEIVED, pb.STAGE_PERSISTED):
                    ack = pb.Ack(sequence=asked.sequence, stage=stage, request_id=asked.request_id)
                    await self._tell(pb.StreamFramesResponse(ack=ack))
            case "gap":
                answer = pb.GapAck(gap_number=request.gap.gap_number, epoch=request.gap.epoch)
                await self._tell(pb.StreamFramesResponse(gap_ack=answer))

    def _lacks_reference(self, frame: pb.Frame) -> bool:
        named = frame.reference_sequence
        return bool(named) and not frame.epoch and named not in self._rules.stored


def _request_id(request: pb.StreamFramesRequest) -> str:
    body = getattr(request, request.WhichOneof("message") or "", None)
    return str(getattr(body, "request_id", ""))


async def _main(name: str, address: str) -> int:
    transcript = Transcript.read(TRANSCRIPTS / f"{name}.jsonl")
    async with TranscriptCloud(transcript, address) as cloud:
        sys.stdout.write(f"{transcript.about}\nwaiting for a camera at {cloud.address}\n")
        await cloud.finish()
    sys.stdout.write("\n".join(cloud.rules.broken or ["as it must be"]) + "\n")
    return len(cloud.rules.broken)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1], (sys.argv[2:] or ["127.0.0.1:50051"])[0])))
