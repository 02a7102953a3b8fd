"""Plays the camera's side of a transcript to a cloud, and compares what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import grpc
import grpc.aio

from conformance.transcript import Fields, Line, Transcript
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

M = TypeVar("M", pb.StreamFramesRequest, pb.StreamFramesResponse)


class UnexpectedError(Exception):
    """The cloud says something else than the transcript, which is named with its line."""


async def play_client(
    transcript: Transcript, address: str, act: Callable[[Fields], Awaitable[None]]
) -> None:
    """Say what the camera says, and wait for what the cloud must say.

    Args:
        act: Does what a line says that somebody does at the cloud.

    Raises:
        UnexpectedError: It says something else.
    """
    request_ids: dict[str, str] = {}  # of the transcript -> of this cloud
    for lines in transcript.streams():
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            stream = _Stream(transcript, channel, lines, request_ids)
            stack.callback(stream.call.cancel)
            for line in lines:
                if line.somebody is not None:
                    await act(line.somebody)
                else:
                    await stream.play(line)


class _Stream:
    def __init__(
        self,
        transcript: Transcript,
        channel: grpc.aio.Channel,
        lines: Sequence[Line],
        request_ids: dict[str, str],
    ) -> None:
        self._transcript = transcript
        self._request_ids = request_ids
        self._optional = [line for line in lines if line.cloud and line.may]
        self.call: grpc.aio.StreamStreamCall[pb.StreamFramesRequest, pb.StreamFramesResponse] = (
            ingest_pb2_grpc.IngestServiceStub(channel).StreamFrames(request_iterator=None)
        )

    async def play(self, line: Line) -> None:
        if line.client is not None and not line.lost:
            await self.call.write(self._with_ids(line.request))
        elif line.cloud is not None and not line.may:
            await self._hear(line)
        elif line.event == "half_close":
            await self.call.done_writing()
        elif line.ends is not None:
            await self._hear_the_end(line)

    async def _hear(self, line: Line) -> None:
        while (answer := await self._read()) is not None:
            if self._is(line, answer):
                return
            self._check_optional(line, answer)
        raise self._unexpected(line, f"the stream ended with {await self.call.code()}")

    async def _hear_the_end(self, line: Line) -> None:
        while (answer := await self._read()) is not None:
            self._check_optional(line, answer)
        status = await self.call.code()
        if status.name != line.ends:
            raise self._unexpected(line, f"it ended with {status}, {await self.call.details()}")

    async def _read(self) -> pb.StreamFramesResponse | None:
        """The next answer; None after the last one."""
        try:
            answer = await self.call.read()
        except grpc.aio.AioRpcError:
            return None
        return answer if isinstance(answer, pb.StreamFramesResponse) else None

    def _is(self, line: Line, answer: pb.StreamFramesResponse) -> bool:
        asked = line.response.command.request_id
        if asked and answer.HasField("command"):
            self._request_ids[asked] = answer.command.request_id
        return self._transcript.bound(answer) == self._expected(line)

    def _expected(self, line: Line) -> Fields:
        return self._transcript.bound(self._with_ids(line.response))

    def _check_optional(self, line: Line, answer: pb.StreamFramesResponse) -> None:
        """A window and a result may come at any time."""
        said = self._transcript.bound(answer)
        is_result = answer.ack.stage == pb.STAGE_DETECTED
        may = map(self._expected, self._optional)  # by the names that requests have by now
        if not (answer.HasField("credit") or is_result or said in may):
            raise self._unexpected(line, f"the cloud said {said}")

    def _with_ids(self, message: M) -> M:
        """The message with this cloud's names of its requests."""
        body: Any = message
        if (kind := message.WhichOneof("message")) is not None:
            body = getattr(message, kind)
        if named := getattr(body, "request_id", ""):
            body.request_id = self._request_ids.get(named, named)
        return message

    def _unexpected(self, line: Line, found: str) -> UnexpectedError:
        expected = line.ends or self._expected(line)
        return UnexpectedError(
            f"{self._transcript.name}, line {line.number}: {found}; expected {expected}"
        )
