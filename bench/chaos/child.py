"""What a forked child of a run is: a cloud, or an edge that writes what happens to it to a file.

The imports here are done once, in the server that forks: a start takes a tenth of what it takes
from the shell.
"""

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from slimcloud.app import run_cloud
from slimcloud.settings import CloudSettings
from slimedge.app import run_edge
from slimedge.event import (
    Acked,
    Backfilled,
    Captured,
    EdgeEvent,
    Encoded,
    GapRecorded,
    LinkChanged,
    Lost,
    Spooled,
)
from slimedge.link.wire import make_hello
from slimedge.settings import EdgeSettings
from slimops.logs import configure_logging
from slimops.settings import load_settings
from slimwire.v1 import ingest_pb2 as pb

_WRITTEN = (Acked, Backfilled, Captured, Encoded, GapRecorded, LinkChanged, Lost, Spooled)
_LARGE = ("image", "detections")


class EventWriter:
    """Writes each event at once: what was written outlives a kill."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **line: object) -> None:
        line["at"] = time.monotonic()  # the same in every process of the machine
        os.write(self._file, json.dumps(line, default=str).encode() + b"\n")

    def notify(self, event: EdgeEvent) -> None:
        if isinstance(event, _WRITTEN):
            names = [field.name for field in dataclasses.fields(event) if field.name not in _LARGE]
            values = {name: getattr(event, name) for name in names}
            self.write(event=type(event).__name__, **values)


def cloud(settings: Mapping[str, str], log: Path) -> None:
    """A cloud of these settings."""
    _set_up(settings, log)
    asyncio.run(run_cloud(load_settings(CloudSettings)))


def edge(settings: Mapping[str, str], log: Path, events: Path) -> None:
    """An edge of these settings; its first Hello tells the epoch of this start."""
    _set_up(settings, log)
    writer = EventWriter(events)

    def hello(settings: EdgeSettings, epoch: int, *rest: Any) -> pb.StreamFramesRequest:
        writer.write(event="Hello", epoch=epoch)
        return make_hello(settings, epoch, *rest)

    with mock.patch("slimedge.edge.make_hello", hello):
        asyncio.run(run_edge(load_settings(EdgeSettings), writer, handle_signals=True))


def _set_up(settings: Mapping[str, str], log: Path) -> None:
    """What it says goes to the log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(settings, OMP_NUM_THREADS="1")
    configure_logging()
