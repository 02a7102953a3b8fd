"""`/livez`, `/readyz` and `/metrics` over HTTP, on the event loop.

Live: the loop answers, whatever is outside the process. Ready: each camera gives pictures, and its
stream to the cloud is open.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from slimedge import event as events
from slimedge.event import EdgeEvent

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0  # for one request; a client that waits or drips is let go
MAX_REQUESTS = 16  # at the same time; more are closed unheard
_MAX_HEAD_BYTES = 2**14  # of a request

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """What the edge knows about itself; an observer."""

    def __init__(self, ack_age: Callable[[], float | None] = lambda: None) -> None:
        self.ack_age = ack_age  # seconds since the cloud last answered, None before that
        self.failure = ""  # for which the camera has not worked since, though others do
        self._link = events.LinkChanged(events.LinkState.CONNECTING, "")
        self.link_failure = ""  # why the link is down, or was when the edge stopped
        self._camera = events.CameraChanged(events.CameraState.OPENING, "")
        self._spool = events.SpoolChanged(False, "none")

    def notify(self, event: EdgeEvent) -> None:
        if isinstance(event, events.LinkChanged):
            self._link = event
            if event.state in (events.LinkState.UP, events.LinkState.DOWN):
                self.link_failure = event.detail if event.state is events.LinkState.DOWN else ""
        elif isinstance(event, events.CameraChanged):
            self._camera = event
        elif isinstance(event, events.SpoolChanged):
            self._spool = event
        if self.is_ready:
            self.failure = ""

    @property
    def is_ready(self) -> bool:
        return (
            self._link.state is events.LinkState.UP and self._camera.state is events.CameraState.UP
        )

    def describe(self) -> dict[str, str | float | None]:
        """State in words, by part; seconds since the cloud last answered."""
        ack_age = self.ack_age()
        return {
            "link": self._link.state.value,
            "link_detail": self._link.detail,
            "last_ack_age_seconds": None if ack_age is None else round(ack_age, 1),
            "camera": self._camera.state.value,
            "camera_detail": self._camera.detail,
            "spool": "up" if self._spool.is_up else "down",
            "spool_detail": self._spool.detail,
            "failure": self.failure,
        }


@dataclass(frozen=True)
class ProcessHealth:
    """Of all cameras of a process, by id."""

    cameras: Mapping[str, Health]

    @property
    def is_ready(self) -> bool:
        return all(health.is_ready for health in self.cameras.values())

    def describe(self) -> dict[str, object]:
        """As each of them."""
        return {"cameras": {name: health.describe() for name, health in self.cameras.items()}}


async def serve_health(
    health: Health | ProcessHealth, expose: Callable[[], bytes], host: str, port: int
) -> asyncio.Server:
    """Answer for cameras and their metrics until the server is closed; port 0: any free one."""
    num_open = 0

    def answer(path: str) -> bytes:
        match path:
            case "/metrics":
                return _response(HTTPStatus.OK, METRICS_TYPE, expose())
            case "/livez" | "/readyz":
                is_good = path == "/livez" or health.is_ready
                status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
                return _response(status, "application/json", json.dumps(health.describe()).encode())
        return _response(HTTPStatus.NOT_FOUND, "text/plain", b"see /livez /readyz /metrics\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_open
        num_open += 1
        try:
            if num_open <= MAX_REQUESTS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    method, target, _ = head.split(" ", 2)
                    if method == "GET":
                        writer.write(answer(target.partition("?")[0]))
                        await writer.drain()
            writer.close()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            logger.debug("a request broke off: %r", exc)
            writer.transport.abort()
        finally:
            num_open -= 1

    server = await asyncio.start_server(serve, host, port, limit=_MAX_HEAD_BYTES)
    logger.info("health and metrics on port %d", server.sockets[0].getsockname()[1])
    return server


def _response(status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
