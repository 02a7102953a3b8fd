"""What the review role counts: requests, decodes, caches."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimops.metrics import Metrics

# Others are counted together: each method that a stranger makes up would be a time series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})


class ReviewMetrics:
    """The review role's part of a process's metrics.

    Attributes:
        process: all metrics of the process, for `/metrics`.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.process = metrics
        self.request_seconds = metrics.histogram(
            "review_request_seconds",
            "Time to the first byte of a response",
            ("method", "route", "status"),
        )
        self.decode_seconds = metrics.histogram(
            "review_decode_seconds", "Entropy decoding and synthesis of one picture"
        )
        self.cache = metrics.counter(
            "review_cache_requests",
            "Lookups of decoded pictures and of rendered responses",
            ("cache", "result"),
        )


class RequestTimer:
    """ASGI middleware: time to the first byte, by route template."""

    def __init__(self, app: ASGIApp, metrics: ReviewMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "unmatched")
                seconds = time.perf_counter() - started
                method = scope["method"] if scope["method"] in _METHODS else "other"
                labels = (method, route, str(message["status"]))
                self._metrics.request_seconds.labels(*labels).observe(seconds)
            await send(message)

        await self._app(scope, receive, timed_send)
