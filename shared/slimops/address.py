"""Addresses: whether one stays on this machine, and how one is shown without its password."""

import ipaddress
import re

MASK = "********"
_PASSWORD = re.compile(r"(?<=://)([^/:@\s]*):[^/\s]+@")  # to the last @ before the path
# Of a query; some cameras have it so: rtsp://camera/?user=a&password=b
_QUERY = re.compile(r"(?i)(?<=[?&/_;])((?:password|passwd|pwd|token)=)[^&\s'\"]+")


def without_passwords(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))


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
