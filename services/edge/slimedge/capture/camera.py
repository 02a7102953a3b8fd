"""A source, on its own thread, -> CapturedFrame at the time it is due.

    OPENING -> UP -> LOST -> (random wait) -> OPENING ...      a live camera, for ever
    OPENING -> UP -> ENDED                                     a file, unless it loops

The thread only delivers; what is too much is dropped by the pipeline, never queued. Only a source
that waits is asked for its pictures one by one; where it loops, it stands for a live one.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import islice
from typing import TypeAlias

from slimedge.backoff import FullJitter
from slimedge.capture.source import FrameSource
from slimedge.capture.wall_clock import WallClock
from slimedge.errors import CameraError, CameraLostError, CameraRefusedError
from slimedge.event import CameraChanged, CameraState, ClockStepped, Damaged
from slimedge.frame import CapturedFrame

logger = logging.getLogger(__name__)

_LOOP_GAP_SECONDS = 0.04  # between the last picture and the first one again
_LONGEST_REFUSED_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class CameraEnded:
    """Nothing more will come, and why."""

    failure: CameraError | None


CameraMessage: TypeAlias = CapturedFrame | CameraChanged | ClockStepped | Damaged | CameraEnded


@dataclass(eq=False)
class Camera:
    """Plays one source until it ends or is told to stop."""

    source: FrameSource
    post: Callable[[CameraMessage], None]  # takes what the camera says, on the camera's thread
    _: KW_ONLY
    loop: bool  # begin again at the end of a file
    backoff: FullJitter  # before a lost camera is opened again
    clock: WallClock
    after: int = 0  # so many pictures of the source are passed over: they were sent before
    refused_seconds: float = 5.0  # least pause after a refused password; it doubles

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._wanted = threading.Event()  # the next picture of a source that waits
        self._is_up = False
        self._sequence = self.after
        self._damaged = 0  # pictures
        self._last_damage = ""
        self._waits = self.source.waits and not self.loop
        # A daemon: a read that hangs inside the operating system must not keep the process alive.
        run = partial(copy_context().run, self._run)  # the log says which camera's
        self._thread = threading.Thread(target=run, name="camera", daemon=True)

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does before its next picture."""
        self._stop.set()
        self._wanted.set()

    def want(self) -> None:
        """Ask for the next picture; only a source that waits needs it."""
        self._wanted.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failure: CameraError | None = None
        try:
            self._play_for_ever()
        except CameraError as exc:
            failure = exc
            logger.error("camera failed", extra={"reason": str(exc)})
        except Exception as exc:
            logger.exception("camera thread failed")
            failure = CameraError(f"unexpected: {exc!r}")
        self.post(CameraChanged(CameraState.ENDED, str(failure) if failure else ""))
        self.post(CameraEnded(failure))

    def _play_for_ever(self) -> None:
        self._refused_seconds = self.refused_seconds
        pause = self.source.again_seconds
        if pause is None and self.loop:
            pause = _LOOP_GAP_SECONDS
        while not self._stop.is_set():
            if not self._is_up:
                self.post(CameraChanged(CameraState.OPENING, ""))
            try:
                self._play_once()
            except CameraLostError as exc:
                self._is_up = False
                wait = self.backoff.next_seconds()
                if isinstance(exc, CameraRefusedError):
                    wait += self._refused_seconds
                    self._refused_seconds = min(2 * wait, _LONGEST_REFUSED_SECONDS)
                self.post(CameraChanged(CameraState.LOST, f"{exc}; again in {wait:.1f} s"))
                logger.warning("camera lost", extra={"reason": str(exc), "seconds": wait})
                self._stop.wait(wait)
                continue
            if pause is None:
                break
            self._stop.wait(pause)
        if self._damaged and not self._stop.is_set():
            raise CameraError(f"{self._damaged} pictures of the source were damaged; see the log")

    def _tell(self, reason: str) -> None:
        """Count a picture that was passed over; in the log once where many have one reason."""
        level = logging.DEBUG if reason == self._last_damage else logging.WARNING
        logger.log(level, "picture passed over", extra={"reason": reason})
        self._damaged, self._last_damage = self._damaged + 1, reason
        self.post(Damaged(reason))

    def _play_once(self) -> None:
        start: float | None = None
        for picture in islice(self.source.pictures(self._tell), self.after, None):
            now = time.monotonic()
            start = start or now
            if not self._is_up:
                self._is_up = True
                self._refused_seconds = self.refused_seconds
                self.backoff.reset()
                self.post(CameraChanged(CameraState.UP, ""))
            if picture.due_seconds is not None:
                self._stop.wait(max(0.0, start + picture.due_seconds - now))
            self._wait_until_wanted()
            if self._stop.is_set():
                return
            self._sequence += 1
            reading = self.clock.read()
            taken_unix = picture.taken_unix
            if taken_unix is None:
                taken_unix = reading.unix
                if reading.expected_unix is not None:
                    self.post(ClockStepped(reading.expected_unix, reading.unix))
            self.post(
                CapturedFrame(self._sequence, picture.image, taken_unix, reading.mono, self._waits)
            )
        self._wait_until_wanted()  # the last one has been dealt with

    def _wait_until_wanted(self) -> None:
        if self._waits:
            self._wanted.wait()
            self._wanted.clear()
