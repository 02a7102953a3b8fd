"""The life of a service process: run until told to stop, or a task fails; then stop in order.

    SIGINT, SIGTERM, request_stop(), a task that failed
        └─► REFUSE new work ─► DRAIN what is under way ─► CLOSE what is open ─► done

REFUSE and DRAIN share `deadline_seconds`; what is not done by then is cancelled. The actions of one
of them run side by side. CLOSE always runs, one by one in reverse order of registration, with a
grace of its own. A second signal ends REFUSE and DRAIN.
"""

import asyncio
import enum
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 3.0  # grace for each thing that is closed
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

StopAction = Callable[[], Awaitable[object]]


class Phase(enum.IntEnum):
    REFUSE = 0
    DRAIN = 1
    CLOSE = 2


@dataclass(frozen=True, slots=True)
class _Action:
    name: str
    run: StopAction
    seconds: float  # its grace in CLOSE


class Lifecycle:
    """Use as `async with Lifecycle(...) as life:`; leaving the block stops everything in order.

    Signals are handled from entry to exit when `handle_signals` is set (main thread only). A task
    that fails with an `expected` error is logged by its message alone: whoever runs all this says
    the rest.
    """

    def __init__(
        self,
        *,
        deadline_seconds: float = 5.0,
        handle_signals: bool = True,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._expected = expected
        self._handle_signals = handle_signals
        self._actions: dict[Phase, list[_Action]] = {phase: [] for phase in Phase}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: BaseException | None = None

    def request_stop(self) -> None:
        """Begin to stop; asking again ends the draining."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def end(self, deadline_seconds: float) -> None:
        """Begin to stop because the work is over, unless the stop has begun; with a deadline."""
        if not self._stopping.is_set():
            self._deadline_seconds = deadline_seconds
            self._stopping.set()

    async def wait(self) -> None:
        """Return when the process should stop."""
        await self._stopping.wait()

    def on_stop(
        self, phase: Phase, name: str, action: StopAction, *, seconds: float = _CLOSE_SECONDS
    ) -> None:
        """Run `action` in a phase of the stop.

        Args:
            name: for the log.
            seconds: its grace in CLOSE; REFUSE and DRAIN have one deadline.
        """
        self._actions[phase].append(_Action(name, action, seconds))

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run `work` beside the service: cancelled before CLOSE; if it fails, all stops."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    async def __aenter__(self) -> Self:
        if self._handle_signals:
            for number in _SIGNALS:
                asyncio.get_running_loop().add_signal_handler(number, self.request_stop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        try:
            await self._stop()
        finally:
            if self._handle_signals:
                for number in _SIGNALS:
                    asyncio.get_running_loop().remove_signal_handler(number)
        if error is None and self._failure is not None:
            raise self._failure

    async def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_seconds
        for phase in (Phase.REFUSE, Phase.DRAIN):
            remaining = 0.0 if self._hurry.is_set() else max(0.0, deadline - loop.time())
            actions = self._actions[phase]
            await asyncio.gather(*(self._run(phase, action, remaining) for action in actions))
        await self._cancel_tasks()
        for action in reversed(self._actions[Phase.CLOSE]):
            await self._run(Phase.CLOSE, action, action.seconds)

    async def _cancel_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in left:
                logger.error("task %s does not end; leaving it behind", task.get_name())

    async def _run(self, phase: Phase, action: _Action, seconds: float) -> None:
        name, running = action.name, asyncio.ensure_future(action.run())
        hurry = asyncio.ensure_future(self._hurry.wait())
        waited = [running] if phase is Phase.CLOSE else [running, hurry]
        try:
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                logger.warning("stop: %s of %s was cut short", phase.name.lower(), name)
                running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if not running.cancelled() and (problem := running.exception()) is not None:
                logger.error("stop: %s of %s failed", phase.name.lower(), name, exc_info=problem)
        finally:
            hurry.cancel()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (problem := task.exception()) is None:
            return
        if isinstance(problem, self._expected):
            logger.error("task %s failed; stopping: %s", task.get_name(), problem)
        else:
            logger.error("task %s failed; stopping", task.get_name(), exc_info=problem)
        self._failure = self._failure or problem
        self._stopping.set()
