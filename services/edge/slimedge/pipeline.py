"""One frame after another: newest frame -> decision -> encoder -> uplink.

    newest frame ─► may it go? ──no──► keep it, wait for an ack or a newer frame
                        │yes
                        └─► encode at (level, quality) ─► ring ─► uplink

A camera that is faster than the encoder overwrites the frame that waits: a queue would only make
frames old. A source that waits is asked for each picture instead, and none of them is skipped; a
recording's are not paced, and wait only for the cloud, at the point of the most worth. The encoder
is never ahead of the link: a frame is encoded only when the link is up and the controller finds a
point that meets the deadline and every budget, or wants a probe. While the link is down, or the
cloud answers nothing or keeps its window closed, frames are encoded for the spool, a few each
second. So are those that cannot be in time until the result of a frame that went after that, and
while the cloud detects nothing.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Controller, Decision, Offer, WaitReason
from slimcontrol.point import OperatingPoint
from slimedge.encode.stage import EncodeStage
from slimedge.encode.worker import scaled_hw
from slimedge.event import Captured, EdgeObserver, LossReason, Replaced, Skipped, SkipReason
from slimedge.frame import CapturedFrame
from slimedge.link.uplink import LOOK_SECONDS, Uplink
from slimedge.memory.ledger import RESEND_FRAMES, Ledger, LedgerFrame
from slimedge.memory.spool_worker import SpoolWorker
from slimedge.settings import EdgeSettings
from slimops.tracing import record_span

_RESULT_OVERDUE_SECONDS = 30.0  # a received frame without a result is given up then


@dataclass(eq=False, kw_only=True)
class Pipeline:
    """The edge's main loop."""

    settings: EdgeSettings
    controller: Controller
    encode: EncodeStage
    ledger: Ledger
    uplink: Uplink
    spool: SpoolWorker
    budget: BudgetAccount
    observer: EdgeObserver
    clock: Callable[[], float]  # monotonic seconds
    is_recording: bool = False

    def __post_init__(self) -> None:
        self._sending: set[asyncio.Task[None]] = set()
        self._newest: CapturedFrame | None = None  # waits for the encoder
        self._has_ended = False  # none will come
        self._next_due = 0.0  # monotonic seconds of the next frame at `max_fps`
        self._next_for_later = 0.0  # the same, at `spool_fps`
        self._outage: SkipReason | WaitReason | None = None  # why no frame could go, the last time
        self._tried_at = 0.0  # monotonic seconds of the first frame that could, after it
        self._is_for_later = False  # what was decided last

    def deliver(self, frame: CapturedFrame) -> None:
        """Take a frame from the camera (on the event loop)."""
        if self._has_ended:
            return
        self.observer.notify(Captured(frame.sequence, frame.image_hw))
        replaced, self._newest = self._newest, frame
        if replaced is not None:
            self.observer.notify(Replaced(replaced.sequence))
        self.ledger.may_go.notify_all()

    def end(self) -> None:
        """No more frames will come; `run` returns after the last one."""
        self._has_ended = True
        self.ledger.may_go.notify_all()

    async def run(self, warm_up_points: Sequence[OperatingPoint], want: Callable[[], None]) -> None:
        """Send frames until the camera has ended and its last frame is dealt with.

        Args:
            warm_up_points: The first frame is encoded at, to compile graphs and learn times.
            want: Asks the camera for its next picture, if it waits.
        """
        self._want = want
        first = await self._wait_for_frame()
        if first is None:
            return
        await self.encode.warm_up(first, warm_up_points)
        frame: CapturedFrame | None = self._newer(first, SkipReason.WARM_UP) or first
        try:
            while frame is not None:
                await self._send_it_or_a_newer(frame)
                if not self.is_recording:
                    await self._pace()
                frame = await self._wait_for_frame()
            await asyncio.gather(*self._sending)
        finally:
            for sending in self._sending:
                sending.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def drain(self) -> None:
        """Wait until every frame that was sent, or shall be again, has its result."""
        while self.ledger.undetected_frames or self.uplink.is_busy:
            await self.ledger.may_go.wait(LOOK_SECONDS)
            self._forget_overdue()

    def give_up(self) -> None:
        """Keep for another start what the cloud does not have, at the very end."""
        for frame in self.ledger.unpersisted:
            self.spool.keep(frame)
            if frame.spooled is None:
                self.observer.notify(frame.lost(LossReason.STOPPED))

    async def _send_it_or_a_newer(self, frame: CapturedFrame) -> None:
        while not isinstance(decision := self._decide(frame), Decision):
            try:
                await self.ledger.may_go.wait(LOOK_SECONDS)
            except asyncio.CancelledError:
                self.observer.notify(Skipped(frame.sequence, decision))
                raise
            frame = self._newer(frame, decision) or frame
            if frame.waits:
                frame = self._captured_now(frame)
        await self._send(frame, decision)

    def _captured_now(self, frame: CapturedFrame) -> CapturedFrame:
        """A picture that has waited, no older for it; a recording's keeps its file's time."""
        waited = self.clock() - frame.capture_time_mono
        unix = frame.capture_time_unix + (0.0 if self.is_recording else waited)
        mono = frame.capture_time_mono + waited
        return replace(frame, capture_time_unix=unix, capture_time_mono=mono)

    def _decide(self, frame: CapturedFrame) -> Decision | SkipReason | WaitReason:
        now = self.clock()
        self._forget_overdue()
        height, width = scaled_hw(frame.image_hw, self.settings.max_edge, self.ledger.max_pixels)
        pixels = height * width
        self._is_for_later = False
        why_not = self.uplink.why_not
        if self.is_recording:
            return why_not or self._decide_for_the_record(now, pixels)
        if why_not is not None:
            self._outage, self._tried_at = why_not, math.inf
        else:
            age = now - frame.capture_time_mono
            kind = self.encode.kind(frame.capture_time_mono)
            link, budget = self.ledger.view(now), self.budget.view()
            offer = Offer(now, age, pixels, link, budget, kind)
            decision = self.controller.decide(offer)
            if decision.reason is not WaitReason.INFEASIBLE:
                if decision.reason is None:
                    self._tried_at = min(self._tried_at, now)
                return decision.reason or decision
            has_ended = self.ledger.result_at >= self._tried_at
            why_not = self.uplink.answers.why_undetected if has_ended else self._outage
            if why_not is None:
                return decision.reason
        return self._decide_for_later(now, pixels, why_not)

    def _decide_for_the_record(self, now: float, pixels: int) -> Decision | WaitReason:
        if self.ledger.undetected_frames >= RESEND_FRAMES:
            return WaitReason.CREDIT
        if self.ledger.is_paused(now):
            return WaitReason.CLOUD_FULL
        if not self.budget.view().is_open:
            return WaitReason.BUDGET
        decision = self.controller.decide_for_later(now, pixels, math.inf)
        return decision.reason or decision

    def _forget_overdue(self) -> None:
        for overdue in self.ledger.forget(self.clock() - _RESULT_OVERDUE_SECONDS):
            self.observer.notify(overdue.lost(LossReason.NO_RESULT))

    def _decide_for_later(
        self, now: float, pixels: int, why_not_now: SkipReason | WaitReason
    ) -> Decision | SkipReason | WaitReason:
        if not self.spool.is_up:
            return why_not_now
        if now < self._next_for_later:
            return SkipReason.OUTAGE
        frame_seconds = 1 / self.settings.spool_fps
        self._next_for_later = now + frame_seconds
        self._is_for_later = True
        decision = self.controller.decide_for_later(now, pixels, frame_seconds)
        return decision.reason or decision

    async def _send(self, frame: CapturedFrame, decision: Decision) -> None:
        encoded = await self.encode.encode(frame, decision, for_later=self._is_for_later)
        if encoded is None:
            return
        if self._is_for_later or (self.uplink.is_up and self.uplink.why_not is not None):
            self.spool.keep(encoded)
        if encoded.spooled is not None:
            return
        sending = asyncio.create_task(self._send_encoded(encoded))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        # Held up in a silent stream, it waits on there by itself, and newer frames are kept.
        done: set[asyncio.Task[None]] = set()
        while not done and self.uplink.why_not is None:
            done, _ = await asyncio.wait([sending], timeout=LOOK_SECONDS)
        for ended in done:
            ended.result()

    async def _send_encoded(self, frame: LedgerFrame) -> None:
        await self.uplink.send(frame)
        seconds = self.clock() - frame.header.capture_time_mono
        record_span("capture", frame.header.traceparent, seconds, is_root=True)

    async def _wait_for_frame(self) -> CapturedFrame | None:
        self._want()
        while (frame := self._take()) is None and not self._has_ended:
            await self.ledger.may_go.wait()
        return frame

    def _take(self) -> CapturedFrame | None:
        frame, self._newest = self._newest, None
        return frame

    def _newer(self, frame: CapturedFrame, reason: SkipReason | WaitReason) -> CapturedFrame | None:
        newer = self._take()
        if newer is not None:
            self.observer.notify(Skipped(frame.sequence, reason))
        return newer

    async def _pace(self) -> None:
        now = self.clock()
        if now < self._next_due:
            await asyncio.sleep(self._next_due - now)
        interval = 1 / self.settings.max_fps
        self._next_due = max(self._next_due + interval, self.clock())
