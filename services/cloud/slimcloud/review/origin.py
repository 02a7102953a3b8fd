"""What pages of other sites may have a browser ask of the API: nothing.

Such a page can send a POST without a body, and read nothing; one whose name was bound to our
address after it was loaded (DNS rebinding) is of our origin to the browser. A token stops both, for
the browser keeps the cookie to itself; while the API is open, only its name in `Host` tells.

Source: net/http.CrossOriginProtection of Go 1.25; addresses as in Vite's `server.allowedHosts`.
"""

import ipaddress
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def refuse_foreign_pages(request: Request) -> None:
    """Let a request pass that no page of another site has made; 403 otherwise."""
    host = request.headers.get("host", "")
    if request.app.state.tokens is None and not _is_ours(host, request.app.state.allowed_hosts):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            f"the Host {host[:80]!r} is not known here; without tokens set allowed_hosts "
            "(CLOUD_ALLOWED_HOSTS)",
        )
    if request.method not in _SAFE_METHODS and _is_of_another_site(request, host):
        raise HTTPException(HTTPStatus.FORBIDDEN, "a page of another site asks for this")


def _is_ours(host: str, allowed: Collection[str]) -> bool:
    """Whether a Host names us: an address, which nobody can bind anew, localhost, or as allowed."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if name is None or name in allowed or name.rpartition(".")[2] == "localhost":
        return True  # None: no browser's
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_of_another_site(request: Request, host: str) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2] != host
