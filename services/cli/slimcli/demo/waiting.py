"""Waiting for something that a stop may end first."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The stop came while something else was awaited."""


async def unless(stop: asyncio.Event, work: Coroutine[object, object, T]) -> T:
    """The work's result; `Stopped` if the stop comes first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    raise Stopped


async def in_thread(work: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, on a daemon thread: a stop need not wait for a slow answer."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None only with an error

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as exc:  # handed over to the waiting task
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="review", daemon=True).start()
    return await answer
