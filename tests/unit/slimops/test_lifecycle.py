from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from slimops.lifecycle import Lifecycle, Phase


def _note(order: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        order.append(name)

    return act


async def test_stop_refuses_then_drains_then_closes_in_reverse() -> None:
    order: list[str] = []

    async with Lifecycle(handle_signals=False) as life:
        life.on_stop(Phase.CLOSE, "store", _note(order, "close store"))
        life.on_stop(Phase.CLOSE, "server", _note(order, "close server"))
        life.on_stop(Phase.DRAIN, "queue", _note(order, "drain queue"))
        life.on_stop(Phase.REFUSE, "server", _note(order, "refuse"))

    assert order == ["refuse", "drain queue", "close server", "close store"]


async def test_signal_begins_the_stop() -> None:
    async with Lifecycle() as life:
        os.kill(os.getpid(), signal.SIGTERM)
        await life.wait()  # for ever, if the signal began nothing


async def test_drain_beyond_the_deadline_is_cut_and_closing_still_runs() -> None:
    order: list[str] = []

    async def never() -> None:
        await asyncio.Event().wait()

    async with Lifecycle(deadline_seconds=0.01, handle_signals=False) as life:
        life.on_stop(Phase.DRAIN, "queue", never)
        life.on_stop(Phase.CLOSE, "store", _note(order, "closed"))

    assert order == ["closed"]


async def test_second_request_ends_the_draining() -> None:
    async with Lifecycle(deadline_seconds=3600, handle_signals=False) as life:

        async def drain() -> None:
            life.request_stop()
            await asyncio.Event().wait()

        life.on_stop(Phase.DRAIN, "queue", drain)
        life.request_stop()


async def test_failed_action_does_not_keep_the_others_from_running() -> None:
    order: list[str] = []

    async def fail() -> None:
        raise ValueError("stuck")

    async with Lifecycle(handle_signals=False) as life:
        life.on_stop(Phase.CLOSE, "store", _note(order, "closed"))
        life.on_stop(Phase.CLOSE, "server", fail)

    assert order == ["closed"]


async def test_failed_task_stops_all_and_is_raised_at_the_end() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def run() -> None:
        async with Lifecycle(handle_signals=False) as life:
            life.spawn(fail(), "tail")
            await life.wait()

    with pytest.raises(ValueError, match="broken"):
        await run()


async def test_running_tasks_are_cancelled_before_closing() -> None:
    order: list[str] = []
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            order.append("task ended")

    async with Lifecycle(handle_signals=False) as life:
        life.spawn(work(), "work")
        life.on_stop(Phase.CLOSE, "store", _note(order, "closed"))
        await started.wait()

    assert order == ["task ended", "closed"]


async def test_work_that_is_over_ends_with_its_own_deadline_and_hurries_nobody() -> None:
    order: list[str] = []

    async def drain() -> None:
        life.end(0.0)  # what ends meanwhile is no second request
        await asyncio.sleep(0.01)
        order.append("drained")

    async with Lifecycle(deadline_seconds=0.0, handle_signals=False) as life:
        life.on_stop(Phase.DRAIN, "jobs", drain)
        life.end(3600.0)
        await life.wait()

    assert order == ["drained"]


async def test_expected_failure_is_logged_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ConnectionError("no cloud")

    async def run() -> None:
        async with Lifecycle(handle_signals=False, expected=(ConnectionError,)) as life:
            life.spawn(fail(), "uplink")
            await life.wait()

    with pytest.raises(ConnectionError):
        await run()

    (record,) = caplog.records
    assert record.getMessage() == "task uplink failed; stopping: no cloud"
    assert record.exc_info is None


async def test_closing_has_as_long_as_it_was_given() -> None:
    order: list[str] = []

    async def close() -> None:
        await asyncio.sleep(0.01)
        order.append("closed")

    async with Lifecycle(handle_signals=False) as life:
        life.on_stop(Phase.CLOSE, "quick", close, seconds=0.0)
        life.on_stop(Phase.CLOSE, "slow", close, seconds=3600.0)

    assert order == ["closed"]
