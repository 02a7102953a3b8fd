"""`slimwire health`: ask services whether they are well, for container health checks.

An image then needs neither curl nor grpc_health_probe. Proxies of the environment are passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimcli.exits import BadUsageError, UnavailableError, needs_extra
from slimcli.streams import say

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_NO_PROXY = [("grpc.enable_http_proxy", 0)]


def health(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="URL...",
            help="http[s]://host:port/path, or grpc[s]://host:port[/service] for grpc.health.v1.",
        ),
    ],
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM certificates that sign those of the services."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="For each answer, seconds.")] = 5.0,
) -> None:
    """Ask services whether they are well. Exit code 69 when one is not."""
    from urllib.parse import urlsplit

    from slimcli.web import ask

    for target in targets:
        parts = urlsplit(target)
        match parts.scheme:
            case "http" | "https":
                ask(target, timeout, ca=ca)
            case "grpc" | "grpcs":
                _check_grpc(parts, timeout, ca)
            case _:
                raise BadUsageError(f"{target}: expected http[s]://... or grpc[s]://...")
        say(f"{target}: well")


def _check_grpc(parts: SplitResult, timeout: float, ca: Path | None) -> None:
    with needs_extra("cloud", "health grpc://..."):
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

    address, service = parts.netloc, parts.path.lstrip("/")
    if parts.scheme == "grpcs":
        trusted = grpc.ssl_channel_credentials(None if ca is None else ca.read_bytes())
        opened = grpc.secure_channel(address, trusted, _NO_PROXY)
    else:
        opened = grpc.insecure_channel(address, _NO_PROXY)
    with opened as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as exc:
            detail = f"{exc.code().name}: {exc.details()}"
            raise UnavailableError(f"{parts.geturl()}: {detail}") from exc
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise UnavailableError(f"{parts.geturl()}: {status}")
