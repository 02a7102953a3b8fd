"""Addresses: whether one stays on this machine, and how one is shown without its password."""

import ipaddress
import re
from urllib.parse import urlsplit

MASK = "********"
_PASSWORD = re.compile(r"(?<=://)([^/:@\s]*):(?:(?!://).)*@")  # to the last @ of this URL
# Of a query; some cameras have it so: rtsp://camera/?user=a&password=b
_QUERY = re.compile(
    r"(?i)(?<=[?&/_;])((?:\w*pas\w*|\w*pwd|psw|\w*auth\w*|\w*token|\w*secret|\w*key)=)[^&\s'\"]+"
)


def without_passwords(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))


def check_encoded(url: str) -> str:
    """`url`, unless a character in its password makes another URL of it.

    Raises:
        ValueError: it must be percent-encoded; the message shows it without the password.
    """
    try:
        _ = urlsplit(url).port
        is_cut = any(map(str.isspace, url))
    except ValueError:  # what seems to be host and port is the beginning of a password
        is_cut = True
    if is_cut:
        raise ValueError(
            f"{without_passwords(url)}: expected scheme://user:password@host:port, the password "
            "percent-encoded: %2F for /, %3F for ?, %23 for #, %20 for a blank, %25 for %"
        ) from None
    return url


def check_host_port(address: str) -> str:
    """`address`, if it is `host:port` or `[v6]:port`.

    Raises:
        ValueError: it is none; the message says what was expected.
    """
    host, _, port = address.rpartition(":")
    is_number = port.isascii() and port.isdigit() and 0 < int(port) < 2**16
    is_bare = "/" in host or (":" in host and not host.startswith("["))
    if not host or not is_number or is_bare:
        raise ValueError(f"{address}: expected host:port, such as 127.0.0.1:50051 or [::1]:50051")
    return address


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
