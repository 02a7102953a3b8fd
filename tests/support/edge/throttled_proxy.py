"""A link of one rate and no delay on loopback, for tests."""

from __future__ import annotations

import asyncio

from slimlinks.shaping import ShapedLink
from slimlinks.trace import constant_trace


class CuttableLink(ShapedLink):
    """A link that a test may lose."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connections = 0
        self._to_edges: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset every connection, as a lost link does; new ones are accepted."""
        for writer in self._to_edges:
            writer.transport.abort()

    async def _accept(self, edge: asyncio.StreamReader, to_edge: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._to_edges.add(to_edge)
        try:
            await super()._accept(edge, to_edge)
        finally:
            self._to_edges.discard(to_edge)


def throttled_proxy(target: str, bytes_per_second: float) -> CuttableLink:
    """Give the link in front of `target` (host:port); it runs while it is used as a context."""
    return CuttableLink(target, constant_trace(bytes_per_second))
