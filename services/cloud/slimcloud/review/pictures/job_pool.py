"""A bounded pool of threads for what would hold the event loop up."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_MIN_RETRY_AFTER_SECONDS = 1.0
_SECONDS_PER_JOB_WEIGHT = 0.2  # of the newest job in the moving average of job seconds

Result = TypeVar("Result")


class BusyError(Exception):
    """The decode pool and its line are full.

    Attributes:
        retry_after_seconds: how long the line needs at the present pace, seconds, at least 1.
    """

    def __init__(self, waiting: int, retry_after_seconds: float) -> None:
        super().__init__(f"{waiting} pictures are being decoded or wait for it; try again later")
        self.retry_after_seconds = retry_after_seconds


class JobPool:
    """Runs jobs, some at the same time, with a line of bounded length. For one event loop.

    Args:
        max_waiting: jobs that wait; beyond it `BusyError`.
    """

    def __init__(self, name: str, num_workers: int, max_waiting: int) -> None:
        self._num_workers, self._max_waiting = num_workers, max_waiting
        self._jobs = 0
        self._job_seconds = 0.0
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix=name)

    async def run(self, job: Callable[[], Result]) -> Result:
        """Run `job` in the pool; encoding a response is such a job, too.

        A job whose caller is cancelled leaves the line; one that runs already is seen through.

        Raises:
            BusyError: the line is full.
        """
        if self._jobs >= self._num_workers + self._max_waiting:
            line_seconds = self._jobs * self._job_seconds / self._num_workers
            raise BusyError(self._jobs, max(_MIN_RETRY_AFTER_SECONDS, line_seconds))
        loop = asyncio.get_running_loop()
        running = self._threads.submit(_timed, job)
        self._jobs += 1
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._job_ended))
        result, seconds = await asyncio.wrap_future(running)
        self._job_seconds += _SECONDS_PER_JOB_WEIGHT * (seconds - self._job_seconds)
        return result

    async def run_always(self, job: Callable[[], Result]) -> Result:
        """Run `job`; it waits in the line like every job and is never refused."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    def close(self) -> None:
        """Refuse new jobs and wait for those that run."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _job_ended(self) -> None:
        self._jobs -= 1


def _timed(job: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    return job(), time.perf_counter() - started
