"""What a person gave, checked before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from slimcli.exits import BadUsageError, UnavailableError
from slimcodec.model.artifact import CodecArtifact
from slimedge.capture.source import open_source

HOST = "127.0.0.1"

# What the sample video may show. The detector knows 80 things and takes a vest on the lawn for a
# bird, a cloth for a ball: on a street that nobody would believe.
STREET = (
    "person",
    "bicycle",
    "car",
    "motorbike",
    "bus",
    "truck",
    "traffic light",
    "stop sign",
)


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


def known_street(names: Sequence[str]) -> tuple[str, ...]:
    """Those of a street's labels that a detector knows; none of them: all that it knows."""
    return tuple(label for label in STREET if label in names)


def choose_port(wanted: int | None, usual: int) -> int:
    """A port for the page: the wanted one, or the usual one, or any where that is taken.

    Raises:
        UnavailableError: the wanted one is taken.
    """
    for port in (usual, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError(f"--http-port {wanted} is taken; give another, or none")
