"""What a person asked for, checked before anything starts."""

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimcli.exits import BadUsageError, UnavailableError
from slimcodec.model.artifact import CodecArtifact
from slimedge.capture.source import open_source
from slimedge.settings import EdgeSettings
from slimlinks.errors import TraceError
from slimlinks.synthetic import synthetic_traces
from slimlinks.trace import Trace, read_trace
from slimops.address import without_passwords

HOST = "127.0.0.1"

# What the sample video may show. The detector knows 80 things and takes a vest on the lawn for a
# bird, a cloth for a ball: on a street that nobody would believe.
STREET = ("person", "bicycle", "car", "motorbike", "bus", "truck", "traffic light", "stop sign")


@dataclass(frozen=True)
class Plan:
    """What to play."""

    edge: EdgeSettings  # its `cloud_address` and `max_fps` are replaced
    model: str  # name/version
    page: str  # address
    seconds: float | None  # from when all is warm; None: until Ctrl-C
    link: Trace | None  # towards the cloud; None: no limit
    round_trip_seconds: float = 0.0  # of that link
    is_replayed: bool = False  # that link changes, and has a name
    shown: tuple[str, ...] = ()  # the only labels that the cloud keeps; none: all
    against_jpeg: str | None = None  # what was measured for the model, in words

    @property
    def source_name(self) -> str:
        """A file's name, or an address without the password that may be in it."""
        source = self.edge.source
        return without_passwords(source) if "://" in source else Path(source).name or source

    @property
    def link_name(self) -> str:
        """The link in words."""
        if self.link is None:
            return "no limit"
        if not self.is_replayed:
            return f"{self.link.mean / 125:,.0f} kbit/s, simulated"
        trip = f"{self.round_trip_seconds * 1000:.0f} ms round trip"
        return f"{self.link.name}, {self.link.mean / 125:,.0f} kbit/s on average, {trip}, simulated"


def check_source(source: str) -> None:
    """Refuse what is not there; whether a network camera answers shows later.

    Raises:
        CameraError: there is no such file, directory or device, or the kind is not known.
        FileNotFoundError: the same, of a device.
    """
    open_source(source, 1.0)
    if source.startswith("/dev/") and not Path(source).exists():
        raise FileNotFoundError(2, "no such camera", source)


def check_point(codec: CodecArtifact, level: int | None, quality: float | None) -> None:
    """Refuse a level or quality that the model does not have.

    Raises:
        BadUsageError: with those that it has.
    """
    widest, finest = len(codec.levels) - 1, codec.manifest.qualities - 1
    if level is not None and level > widest:
        raise BadUsageError(f"--level {level}: {codec.label} has levels 0 to {widest}")
    if quality is not None and quality > finest:
        raise BadUsageError(f"--quality {quality:g}: {codec.label} has qualities 0 to {finest}")


def open_trace(named: str) -> Trace:
    """The link that `named` names: a file (`time_s mbps` or mahimahi), or a built-in one.

    Raises:
        BadUsageError: it is neither, or no trace.
    """
    built_in, path = synthetic_traces(), Path(named)
    if named in built_in and not path.is_file():
        return built_in[named]
    if not path.exists():
        raise BadUsageError(
            f"there is no file {named}, and no built-in link of that name; "
            f"built in are {', '.join(built_in)}"
        )
    try:
        return read_trace(path)
    except TraceError as exc:
        raise BadUsageError(str(exc)) from exc


def known_street(names: Sequence[str]) -> tuple[str, ...]:
    """Those of a street's labels that a detector knows; none of them: all that it knows."""
    return tuple(label for label in STREET if label in names)


def listen(wanted: int | None, usual: int) -> socket.socket:
    """Take a port for the page: the wanted one, or the usual one, or any where that is taken.

    Raises:
        UnavailableError: the wanted one is taken.
    """
    for port in (usual, 0) if wanted is None else (wanted,):
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, port))
    raise UnavailableError(f"--http-port {wanted} is taken; give another, or none")
