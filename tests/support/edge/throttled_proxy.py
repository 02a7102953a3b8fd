"""A link of one rate and no delay on loopback, for tests."""

from __future__ import annotations

from slimlinks.shaping import ShapedLink
from slimlinks.trace import constant_trace


def throttled_proxy(target: str, bytes_per_second: float) -> ShapedLink:
    """Give the link in front of `target` (host:port); it runs while it is used as a context."""
    return ShapedLink(target, constant_trace(bytes_per_second))
