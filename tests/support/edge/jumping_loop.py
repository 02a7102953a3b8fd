"""An event loop whose clock jumps: where it would sleep, no time passes but its own.

Sockets on loopback work as ever; the loop's clock moves on only when none of them has anything to
say, so what a program does at which second is the same on every machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

_SOCKET_SECONDS = 0.002  # of the real clock: for loopback to deliver what was just sent


class _JumpingSelector(selectors.DefaultSelector):
    now = 1000.0  # the loop's clock, seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        events = super().select(min(max(0.0, timeout), _SOCKET_SECONDS))
        if not events:
            self.now += max(0.0, timeout)
        return events


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_jumping(work: Coroutine[object, object, T]) -> T:
    """The work's result, as `asyncio.run`."""
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(work)
