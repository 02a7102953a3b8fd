"""The gRPC server of the ingest role: TLS, limits, keepalive, health, reflection."""

import asyncio
import logging
import math
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE_NAME
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # re-exported
from grpc_reflection.v1alpha import reflection

from slimcloud.ingest.servicer import IngestServicer
from slimcloud.settings import CloudSettings
from slimwire.v1 import ingest_pb2 as pb
from slimwire.v1 import ingest_pb2_grpc

logger = logging.getLogger(__name__)

_MIB = 2**20
_LOOK_SECONDS = 0.25  # until it is seen that gRPC has given up
_PORT_TRIES = 40
SPARE_CALLS = 64  # beside those of cameras: health checks, reflection, streams that take over
MOST_GIVEN_UP = 4  # servers whose calls go on after gRPC gave them up: who ends them holds no more
_SERVICE_NAME = pb.DESCRIPTOR.services_by_name["IngestService"].full_name


@dataclass(eq=False)
class IngestServer:
    server: grpc.aio.Server
    servicer: IngestServicer
    health: health_aio.HealthServicer
    settings: CloudSettings
    address: str  # host:port that was bound

    def __post_init__(self) -> None:
        self._is_stopping = False
        # What waits for the calls of servers that gRPC gave up, the oldest first.
        self._given_up: dict[asyncio.Task[None], grpc.aio.Server] = {}

    async def serve(self) -> None:
        """Serve until `stop`; must run beside it.

        grpcio 1.84 and 1.85 take no more calls after one whose method is no UTF-8, which anybody
        may send without a token. Another server takes its place; the calls of the first go on.
        """
        while not self._is_stopping:
            try:
                await self.server.wait_for_termination(_LOOK_SECONDS)
            except UnicodeDecodeError:
                await self._begin_anew()

    async def _begin_anew(self) -> None:
        ending = asyncio.create_task(self.server.stop(math.inf))
        self._given_up[ending] = self.server
        ending.add_done_callback(self._given_up.pop)
        await self._cut(MOST_GIVEN_UP, 0)
        server = _build(self.servicer, self.health, self.settings)
        for tries_left in reversed(range(_PORT_TRIES)):
            if self._is_stopping:
                return
            try:
                _listen(server, self.address, self.settings)
                break
            except OSError:  # the server before it lets go of the port a little later
                if not tries_left:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
        self.server = server
        await server.start()
        logger.warning("begun anew: gRPC had ended at a method that is no UTF-8")

    async def _cut(self, num_kept: int, grace_seconds: float) -> None:
        """End what still runs after the grace on servers that were given up, but of the newest."""
        oldest = dict(list(self._given_up.items())[: max(0, len(self._given_up) - num_kept)])
        if oldest:
            await asyncio.wait(oldest, timeout=grace_seconds)
        for server in oldest.values():
            # With a grace, gRPC may end calls of a server that the other `stop` has just freed.
            await server.stop(None)

    async def refuse(self) -> None:
        """Tell health checks that this server is about to stop."""
        await self.health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls at once, cut those that still run after the grace, and return when
        they have ended.
        """
        self._is_stopping = True
        await asyncio.gather(self.server.stop(grace_seconds), self._cut(0, grace_seconds))
        await self.servicer.ended()


async def start_ingest_server(servicer: IngestServicer, settings: CloudSettings) -> IngestServer:
    """Listen for cameras; `serve` is to run beside it.

    Raises:
        OSError: the address cannot be bound.
    """
    health = health_aio.HealthServicer()
    await health.set(_SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    server = _build(servicer, health, settings)
    address = _listen(server, f"{settings.grpc_host}:{settings.grpc_port}", settings)
    await server.start()
    return IngestServer(server, servicer, health, settings, address)


def _build(
    servicer: IngestServicer, health: health_aio.HealthServicer, settings: CloudSettings
) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=server_options(settings), maximum_concurrent_rpcs=settings.max_cameras + SPARE_CALLS
    )
    # Methods are found by name alone: for each that is registered with its core, gRPC frees memory
    # that the core writes to later, when a server ends as `serve` says (SIGSEGV, sooner or later).
    server.add_registered_method_handlers = lambda *_: None  # type: ignore[attr-defined]  # the stubs'
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    # The descriptors are public in any case; with them grpcurl and the like need no .proto file.
    reflection.enable_server_reflection(
        (_SERVICE_NAME, HEALTH_SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    return server


def _listen(server: grpc.aio.Server, wanted: str, settings: CloudSettings) -> str:
    """The address, host:port, that is bound."""
    try:
        port = _add_port(server, wanted, settings)
    except RuntimeError as exc:
        raise OSError(
            f"cannot listen on {wanted}; is another cloud running, or the certificate no PEM?"
        ) from exc
    return f"{settings.grpc_host}:{port}"


def _add_port(server: grpc.aio.Server, address: str, settings: CloudSettings) -> int:
    """Listen for cameras, with TLS where there is a certificate; gives the bound port."""
    if settings.tls_cert is None or settings.tls_key is None:
        return int(server.add_insecure_port(address))
    camera_ca = settings.camera_ca
    credentials = grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
        root_certificates=None if camera_ca is None else camera_ca.read_bytes(),
        require_client_auth=camera_ca is not None,
    )
    return int(server.add_secure_port(address, credentials))


def server_options(settings: CloudSettings) -> list[tuple[str, int]]:
    """The options of the server; times in milliseconds, sizes in bytes."""
    return [
        # A frame beyond max_frame_bytes must still arrive to get its Nack.
        ("grpc.max_receive_message_length", max(4 * _MIB, 2 * settings.max_frame_bytes)),
        ("grpc.max_allowed_incoming_connections", settings.max_cameras + SPARE_CALLS),
        ("grpc.max_concurrent_streams", SPARE_CALLS),  # of one connection
        ("grpc.max_connection_idle_ms", 60_000),  # without any call
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A misspelt option is passed over without a word: the tests idle for longer than this.
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.http2.bdp_probe", 0),  # it would grow the window: latency is bounded by our credit
        ("grpc.http2.lookahead_bytes", 65_536),
        ("grpc.so_reuseport", 0),  # a second cloud on the port must fail, not share it
        # Not max_connection_age: streams cannot be moved, and a Drain would have to come first.
    ]
