"""A transcript: what passes between a camera and a cloud, one JSON object a line; see README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf.json_format import MessageToDict, ParseDict

from slimwire.v1 import ingest_pb2 as pb

TRANSCRIPTS = Path(__file__).with_name("transcripts")

Message = pb.StreamFramesRequest | pb.StreamFramesResponse
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line but the first; exactly one of the first four is set."""

    number: int  # in its file, from 1
    client: Fields | None = None  # a StreamFramesRequest as protobuf-JSON
    cloud: Fields | None = None  # a StreamFramesResponse, the same
    event: Literal["break", "half_close"] | None = None
    somebody: Fields | None = None  # does something at the cloud
    ends: str | None = None  # the status that the stream ends with
    may: bool = False  # a cloud may leave it out
    lost: bool = False  # on its way

    @property
    def request(self) -> pb.StreamFramesRequest:
        return ParseDict(dict(self.client or {}), pb.StreamFramesRequest())

    @property
    def response(self) -> pb.StreamFramesResponse:
        return ParseDict(dict(self.cloud or {}), pb.StreamFramesResponse())


@dataclass(frozen=True)
class Transcript:
    name: str
    about: str
    codec: str  # whose containers it has: a folder beside `vectors`
    free: frozenset[str]  # fields whose values another run may have
    plays: tuple[str, ...]  # the sides that it is for: "client", "cloud"
    lines: tuple[Line, ...]

    @classmethod
    def read(cls, path: Path) -> Transcript:
        first, *rest = map(json.loads, path.read_text().splitlines())
        lines = tuple(Line(number, **line) for number, line in enumerate(rest, start=2))
        plays = tuple(first.get("plays", ("client", "cloud")))
        return cls(
            path.stem, first["about"], first["codec"], frozenset(first["free"]), plays, lines
        )

    def streams(self) -> list[list[Line]]:
        """The lines of each stream; each begins with its Hello."""
        streams: list[list[Line]] = []
        for line in self.lines:
            if line.client is not None and "hello" in line.client:
                streams.append([])
            streams[-1].append(line)
        return streams

    def bound(self, message: Message) -> Fields:
        """A message as protobuf-JSON without what is free."""
        said: Fields = _without(MessageToDict(message, preserving_proto_field_name=True), self.free)
        return said


def transcripts(side: Literal["client", "cloud"]) -> list[Transcript]:
    """All of which that side can be played."""
    every = map(Transcript.read, sorted(TRANSCRIPTS.glob("*.jsonl")))
    return [transcript for transcript in every if side in transcript.plays]


def _without(value: Any, free: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(part, free) for name, part in value.items() if name not in free}
    return [_without(part, free) for part in value] if isinstance(value, list) else value
