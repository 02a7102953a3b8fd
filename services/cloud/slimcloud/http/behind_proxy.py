"""A server behind a proxy: whom it serves, below which path, and who is signed on there."""

from collections.abc import Collection, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class BehindProxy(ProxyHeadersMiddleware):
    """Beside what uvicorn's does with X-Forwarded-For and -Proto: headers that only a trusted proxy
    may send are taken out of the requests of everybody else, and every path begins with the root
    path, whether the proxy has taken that off or not.

    Args:
        trusted: addresses and networks of proxies.
        root_path: below which a proxy has the application; empty: at its root.
        proxy_headers: that only a trusted proxy may send.
    """

    def __init__(
        self,
        app: ASGIApp,
        trusted: Sequence[str] = (),
        *,
        root_path: str = "",
        proxy_headers: Collection[str] = (),
    ) -> None:
        super().__init__(app, list(trusted))  # type: ignore[arg-type]  # uvicorn has types of its own
        self._root_path = root_path
        self._proxy_headers = frozenset(name.lower().encode() for name in proxy_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]  # the same
        if scope["type"] == "http":
            peer, root, path = scope.get("client"), self._root_path, scope["path"]
            if peer is None or peer[0] not in self.trusted_hosts:
                kept = [pair for pair in scope["headers"] if pair[0] not in self._proxy_headers]
                scope["headers"] = kept
            scope["root_path"] = root
            if not f"{path}/".startswith(f"{root}/"):
                scope["path"] = root + path
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]  # the same
