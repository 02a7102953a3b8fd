"""Asking a service over HTTP.

Proxies of the environment are passed over: Docker hands them to containers, and a service next door
is not behind one.
"""

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from slimcli.exits import UnavailableError


def ask(
    url: str,
    timeout_seconds: float,
    *,
    method: str = "GET",
    accept: str = "application/json",
    ca: Path | None = None,
) -> bytes:
    """The body of the answer.

    Args:
        ca: PEM certificates that sign that of the service; None: those of the system.

    Raises:
        UnavailableError: there is no answer, or one that is an error.
    """
    request = urllib.request.Request(url, method=method, headers={"Accept": accept})
    try:
        trusted = ssl.create_default_context(cafile=ca) if url.startswith("https:") else None
        straight = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        with straight.open(request, timeout=timeout_seconds) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as exc:
        detail = exc.read(500).decode("utf-8", "replace")
        raise UnavailableError(f"{url}: answers {exc.code}: {detail}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise UnavailableError(f"{url}: {getattr(exc, 'reason', exc)}") from exc
