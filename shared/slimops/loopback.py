"""Whether an address stays on this machine: what is not encrypted may go there, and no further."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether connections to, or from, `host` never leave this machine; a name is not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The host of `host:port` or `[v6]:port`."""
    host, _, _ = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]")
