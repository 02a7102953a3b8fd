"""One stream to the cloud: connect, Hello, Welcome, then messages both ways until it ends.

gRPC's own flow control does not bound latency (a client ran 2.1 MB ahead of a 1 Mbit/s link), so
whoever writes here has asked the ledger for room first. Certificates are read for every stream, so
renewed ones are used from the next reconnect on.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import grpc
import grpc.aio

from slimedge.errors import EdgeError, ModelMismatchError, RefusedError
from slimedge.link import wire
from slimedge.link.tls import tls_failure
from slimedge.link.traffic import SocketMeter, find_socket
from slimedge.settings import EdgeSettings
from slimops.address import host_of, is_loopback

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 10.0  # for a ping's answer, on a link that is not known to be slow
WELCOME_SECONDS = 10.0

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),  # a server closes on pings more often than every 20 s
    ("grpc.http2.max_pings_without_data", 0),  # else gRPC stops after 2: a quiet night has no data
    # Our credit bounds what is on its way; probes of the path took 180 of 607 bytes of a frame.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel must not inherit an old one's waits
)
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # gRPC obeys the first that is set
_streams = itertools.count()  # of this process: each has a mark by which its socket is found
_UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        _UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class DisconnectedError(EdgeError):
    """The stream could not be made or has ended; trying again may help."""


class ReplacedError(DisconnectedError):
    """A newer stream of this camera's name has taken its place: another edge's, perhaps."""


@dataclass(slots=True)
class Connection:
    """A stream; `connect` exchanges Hello and Welcome on it."""

    call: wire.Call
    fingerprint: bytes  # of this edge's model
    welcome: wire.Welcome = field(default_factory=wire.Welcome)
    round_trip_seconds: float = 0.0  # from Hello to Welcome
    is_open: bool = False  # Welcome came
    hello: wire.Hello | None = None  # that short frames count from, where the cloud takes them
    socket: SocketMeter | None = None  # under it, where it was found

    async def write(self, message: wire.Request) -> None:
        """Hand one message to the transport; one writer at a time.

        Raises:
            DisconnectedError: the stream has ended; `read` says why.
        """
        try:
            await self.call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError) as exc:
            raise DisconnectedError("the stream ended while writing") from exc
        except asyncio.CancelledError:
            # gRPC raises this in a writer, too, when the stream is closed beside it.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise DisconnectedError("the stream was closed while writing") from None

    async def read(self) -> wire.Response:
        """Wait for the next message.

        Raises:
            DisconnectedError: the stream has ended; trying again may help.
            ModelMismatchError: it has ended because the cloud reads another model.
            RefusedError: it has ended for another reason that will not change by itself.
        """
        try:
            response = await self.call.read()
        except grpc.aio.AioRpcError as exc:
            code, detail = exc.code(), exc.details() or ""
            if code is grpc.StatusCode.FAILED_PRECONDITION:
                raise ModelMismatchError(self.fingerprint, detail) from exc
            # One that has let it in may have another certificate or token of it to look at.
            if code in _REFUSALS and not (self.is_open and code is _UNAUTHENTICATED):
                raise RefusedError(code.name, detail) from exc
            is_replaced = code is grpc.StatusCode.ABORTED
            ended = ReplacedError if is_replaced else DisconnectedError
            raise ended(f"{code.name}: {detail}") from exc
        if not isinstance(response, wire.Response):  # grpc.aio.EOF
            raise DisconnectedError("the cloud ended the stream")
        return response


@asynccontextmanager
async def connect(
    settings: EdgeSettings, hello: wire.Request, patience: float = 1.0
) -> AsyncIterator[Connection]:
    """Open a stream and exchange Hello and Welcome; leaving the block closes it.

    Args:
        patience: So many times as long as usual a ping may take, which stands in line behind what
            was sent before it.

    Raises:
        DisconnectedError, ModelMismatchError, RefusedError: as `Connection.read`.
    """
    fingerprint = hello.hello.model_fingerprint
    timeout_ms = round(1000 * KEEPALIVE_SECONDS * patience) + next(_streams) % 1000
    async with _open(settings, timeout_ms) as channel:
        await _wait_until_ready(channel, settings)
        call = wire.open_call(channel, settings.token)
        meter = find_socket(_port_to(settings.cloud_address), timeout_ms)
        connection = Connection(call, fingerprint, socket=meter)
        try:
            start = time.monotonic()
            try:
                async with asyncio.timeout(WELCOME_SECONDS):
                    with suppress(DisconnectedError):  # the read says why
                        await connection.write(hello)
                    welcome = wire.message_of(await connection.read())
            except TimeoutError as exc:
                raise DisconnectedError(f"no Welcome within {WELCOME_SECONDS:.0f} s") from exc
            elapsed = time.monotonic() - start
            if not isinstance(welcome, wire.Welcome):
                raise RefusedError("PROTOCOL", "the first answer is no Welcome; update this edge")
            if welcome.model_fingerprint != fingerprint:
                its = welcome.model_fingerprint.hex()
                raise ModelMismatchError(fingerprint, f"its model is {its}")
            connection.welcome, connection.is_open = welcome, True
            connection.hello = wire.begun_by(hello, welcome)
            connection.round_trip_seconds = wire.round_trip_of(elapsed, welcome)
            yield connection
        finally:
            call.cancel()


def _open(settings: EdgeSettings, keepalive_timeout_ms: int) -> grpc.aio.Channel:
    address = settings.cloud_address
    options = (
        *CHANNEL_OPTIONS,
        ("grpc.keepalive_timeout_ms", keepalive_timeout_ms),
        ("grpc.enable_http_proxy", int(_proxy_of(address) is not None)),
    )
    if settings.tls_ca is None:
        return grpc.aio.insecure_channel(address, options=options)
    try:
        ca, key, certificate = (
            None if path is None else path.read_bytes()
            for path in (settings.tls_ca, settings.tls_key, settings.tls_cert)
        )
    except OSError as exc:  # while certificates are renewed, perhaps
        raise DisconnectedError(f"{exc.filename}: {exc.strerror}") from exc
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _proxy_of(address: str) -> str | None:
    """The variable of the proxy on the way to an address; None: it is reached straight."""
    host = host_of(address)
    named = next((name for name in _PROXIES if os.environ.get(name)), None)
    return None if is_loopback(host) or proxy_bypass(host) else named


def _port_to(address: str) -> int | None:
    """The port that a connection goes to: the proxy's, if there is one."""
    proxy = _proxy_of(address)
    url = f"//{address}" if proxy is None else os.environ[proxy]
    return urlsplit(url).port


async def _wait_until_ready(channel: grpc.aio.Channel, settings: EdgeSettings) -> None:
    # Not `channel_ready`: it waits on through refused connections and hides them.
    address = settings.cloud_address
    proxy = _proxy_of(address)
    through = f" through the proxy that {proxy} names" if proxy else ""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    why = None if proxy else await asyncio.to_thread(tls_failure, settings)
                    said = f": {why}" if why else through
                    raise DisconnectedError(f"{address} cannot be reached{said}")
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError as exc:
        raise DisconnectedError(
            f"{address} not reached in {CONNECT_SECONDS:.0f} s{through}"
        ) from exc
