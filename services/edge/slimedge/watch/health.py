"""`/livez`, `/readyz` and `/metrics` over HTTP, from a thread.

Live: the event loop turned within the last seconds. Ready: live, the camera gives pictures, and a
stream to the cloud is open. Liveness depends on nothing outside the process.
"""

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from slimedge.event import (
    CameraChanged,
    CameraState,
    EdgeEvent,
    LinkChanged,
    LinkState,
    SpoolChanged,
)

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
STALE_SECONDS = 10.0  # without a heartbeat, the loop counts as hung
REQUEST_SECONDS = 5.0  # for one request; a client that waits or drips must not hold a thread
MAX_REQUESTS = 16  # at the same time, a thread each; more are closed unheard

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """What the edge knows about itself; an observer, read from the HTTP thread."""

    def __init__(
        self, ack_age: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ack_age = ack_age  # seconds since the cloud last answered, None before that
        self._clock = clock
        self._beat = clock()
        self._link = LinkChanged(LinkState.CONNECTING, "")
        self.link_failure = ""  # why the link was down when it last was
        self._camera = CameraChanged(CameraState.OPENING, "")
        self._spool = SpoolChanged(False, "none")

    def notify(self, event: EdgeEvent) -> None:
        if isinstance(event, LinkChanged):
            self._link = event
            if event.state is LinkState.DOWN:
                self.link_failure = event.detail
        elif isinstance(event, CameraChanged):
            self._camera = event
        elif isinstance(event, SpoolChanged):
            self._spool = event

    async def beat(self) -> None:
        """Show that the event loop turns, until cancelled."""
        while True:
            self._beat = self._clock()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    @property
    def is_live(self) -> bool:
        return self._clock() - self._beat < STALE_SECONDS

    @property
    def is_ready(self) -> bool:
        up = self._link.state is LinkState.UP and self._camera.state is CameraState.UP
        return up and self.is_live

    def describe(self) -> dict[str, str | float | None]:
        """State in words, by part; seconds since the cloud last answered."""
        ack_age = self._ack_age()
        return {
            "link": self._link.state.value,
            "link_detail": self._link.detail,
            "last_ack_age_seconds": None if ack_age is None else round(ack_age, 1),
            "camera": self._camera.state.value,
            "camera_detail": self._camera.detail,
            "spool": "up" if self._spool.is_up else "down",
            "spool_detail": self._spool.detail,
        }


class HealthServer:
    """Serves one `Health` and its metrics until closed; `port` is the bound one."""

    def __init__(self, health: Health, expose: Callable[[], bytes], host: str, port: int) -> None:
        self._server = _BoundedServer((host, port), _handler_class(health, expose))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health"
        )
        self._thread.start()
        logger.info("health and metrics on port %d", self.port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _BoundedServer(ThreadingHTTPServer):
    """A thread for each request, but neither too many nor for too long."""

    def __init__(
        self, address: tuple[str, int], handler_class: type[BaseHTTPRequestHandler]
    ) -> None:
        self._deadlines: dict[socket.socket, float] = {}  # monotonic seconds, of open requests
        super().__init__(address, handler_class)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._deadlines) >= MAX_REQUESTS:
            self.shutdown_request(request)
            return
        self._deadlines[request] = time.monotonic() + REQUEST_SECONDS
        super().process_request(request, client_address)

    def service_actions(self) -> None:  # at each turn of its loop
        for request, deadline in list(self._deadlines.items()):
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):  # its thread was faster
                    request.shutdown(socket.SHUT_RDWR)  # its thread reads the end

    def shutdown_request(self, request: Any) -> None:
        self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a request of %s broke off", client_address, exc_info=True)


def _handler_class(health: Health, expose: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, METRICS_TYPE, expose())
            elif path in ("/livez", "/readyz"):
                good = health.is_live if path == "/livez" else health.is_ready
                status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", json.dumps(health.describe()).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"see /livez /readyz /metrics\n")

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logger.debug(format, *args)

    return Handler
