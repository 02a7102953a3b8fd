"""A receiver that is told by HTTP POST, signed.

Source: Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Self

import httpx

from slimcloud.events.event import Event
from slimcloud.notify.deliver import DeliveryError
from slimcloud.receivers import WebhookTarget, secret_key
from slimcloud.store.events.event_index import EventFilter
from slimcloud.store.events.outbox import Message

# The receiver says that the message itself is wrong: the same bytes will not be better later.
_FINAL = frozenset({400, 413, 415, 422})
_MAX_RETRY_AFTER_SECONDS = 300


class Webhook:
    """Standard Webhooks to one address."""

    def __init__(self, target: WebhookTarget, clock: Callable[[], float] = time.time) -> None:
        self._target = target
        self._wanted = EventFilter(
            cameras=target.cameras,
            labels=target.labels,
            zones=target.zones,
            severities=target.severities,
        )
        self._clock = clock

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(
            timeout=None,  # who sends has a limit for the whole
            headers={"User-Agent": "slimwire", "Content-Type": "application/json"},
            limits=httpx.Limits(max_connections=1),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def max_tries(self) -> int:
        return self._target.max_tries

    def wants(self, event: Event) -> bool:
        """What its conditions say; what came late only where it asks for history."""
        return (self._target.history or not event.late) and self._wanted.matches(event)

    async def send(self, message: Message) -> None:
        """Post it; every 2xx is an answer that it has arrived."""
        timestamp = int(self._clock())
        headers = {
            "webhook-id": message.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                secret_key(self._target.secret), message.message_id, timestamp, message.body
            ),
        }
        try:
            async with self._http.stream(
                "POST", self._target.url, content=message.body, headers=headers
            ) as response:  # its body may be of any size, and is not read
                status, asked = response.status_code, response.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise DeliveryError(f"{type(exc).__name__}: {exc}"[:200]) from exc
        if not 200 <= status < 300:
            wait = min(int(asked), _MAX_RETRY_AFTER_SECONDS) if asked.isdecimal() else 0
            raise DeliveryError(
                f"answers {status}", is_final=status in _FINAL, retry_after_seconds=wait
            )


def sign(key: bytes, message_id: str, timestamp: int, body: str) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
