"""One policy in one world, event by event, in the order of the edge's own loop.

    CAPTURE ─► mailbox of one ─► decide ─► encoder ─► credit ─► link ─► cloud
                   ▲               ▲                              │       │
                   └─ newer frame  └──── looked at again ◄──── RECEIVED, DETECTED

Nothing here steps through time: the next event is taken from a heap, and what happens between two
events is known in closed form. As at the edge, a frame that must wait is offered again after every
change, and the newest one takes its place. A frame may refer to those whose RECEIVED is here, which
in a real cloud comes with PERSISTED. What the edge does and this does not: a stream that
breaks, enhancements, backfill, and a transport that blocks a write.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from enum import IntEnum

from slimcodec.sequence import SentFrame
from slimcontrol.budget import BudgetAccount
from slimcontrol.controller import Decision, Offer, Verdict, WaitReason
from slimcontrol.point import OperatingPoint
from studies.controller.simulation.account import Account, SimulatedFrame
from studies.controller.simulation.link import Cloud, Link
from studies.controller.simulation.policy import Policy
from studies.controller.simulation.references import References
from studies.controller.simulation.run import FrameOutcome, Run, Unsent
from studies.controller.simulation.world import World

SERVER_CLOCK_AHEAD_SECONDS = 86_400.0  # the cloud's clock is another: a policy must not compare


class _Event(IntEnum):
    CAPTURE = 0
    ENCODED = 1
    RECEIVED = 2
    DETECTED = 3
    REFUSED = 4
    PACED = 5


class _State(IntEnum):
    IDLE = 0  # no picture
    HOLDING = 1  # a picture that may not go yet
    ENCODING = 2
    WAITING = 3  # an encoded frame, for room
    PACING = 4


@dataclass(slots=True)
class _Record:
    """What is known of one picture so far."""

    point: OperatingPoint | None = None
    reason: WaitReason | Unsent | None = None
    probe: bool = False
    sent: SentFrame | None = None
    size_bytes: int = 0
    encode_seconds: float = 0.0
    encoded_at: float | None = None
    sent_at: float | None = None
    received_at: float | None = None
    detected_at: float | None = None


def simulate(policy: Policy, world: World) -> Run:
    """Let a policy run a camera through a world.

    Args:
        policy: A new one: it learns as it goes.
        world: What happens to it.
    """
    return _Simulation(policy, world).run()


class _Simulation:
    def __init__(self, policy: Policy, world: World) -> None:
        self._policy = policy
        self._world = world
        self._now = 0.0
        self._account = Account(world)
        self._link = Link(world)
        self._cloud = Cloud(world)
        self._budget = BudgetAccount(
            world.budget, lambda: self._account.sent_bytes, lambda: self._now
        )
        self._references = References(world)
        self._half_trip = world.round_trip_seconds / 2
        self._state = _State.IDLE
        self._mailbox: int | None = None  # the newest picture that nobody has taken
        self._frame = 0  # the picture that is being dealt with
        self._next_due = -math.inf  # seconds, at the rate of pictures that is allowed
        self._received_bytes = 0  # by the cloud
        self._received_last_at = 0.0  # by the cloud, seconds
        self._decisions = 0
        self._records = [_Record() for _ in range(world.frame_count)]
        self._events: list[tuple[float, int, _Event, SimulatedFrame | int]] = []
        self._order = 0  # of events at the same time

    def run(self) -> Run:
        self._begin()
        self._add(0.0, _Event.CAPTURE, 0)
        while self._events:
            self._now, _, event, subject = heapq.heappop(self._events)
            if isinstance(subject, SimulatedFrame):
                self._take_answer(event, subject)
            elif event is _Event.CAPTURE:
                self._capture(subject)
            elif event is _Event.ENCODED:
                self._finish_encoding()
            else:
                self._paced()
        if self._mailbox is not None:
            self._records[self._mailbox].reason = Unsent.ENDED
        return self._result()

    def _begin(self) -> None:
        world = self._world
        greeting = world.greeting_seconds
        self._policy.on_connected(0.0, world.round_trip_seconds if greeting is None else greeting)
        if not world.warm_up:
            return
        for level in sorted({point.level for point in world.points}):
            points = [point for point in world.points if point.level == level]
            middle = points[len(points) // 2]
            size_bytes = world.size_bytes(0, level, middle.quality)
            seconds = world.encode_time(0, level)
            self._policy.on_encoded(level, middle.quality, world.pixels, size_bytes, seconds)

    def _add(self, time: float, event: _Event, subject: SimulatedFrame | int) -> None:
        if time < math.inf:
            self._order += 1
            heapq.heappush(self._events, (time, self._order, event, subject))

    # --- what happens ---

    def _capture(self, index: int) -> None:
        if index + 1 < len(self._records):
            self._add(self._world.captured_at(index + 1), _Event.CAPTURE, index + 1)
        if self._mailbox is not None:
            self._records[self._mailbox].reason = Unsent.REPLACED
        self._mailbox = index
        self._look_again()

    def _take_answer(self, event: _Event, frame: SimulatedFrame) -> None:
        if event is _Event.RECEIVED:
            self._account.receive()
            sent = self._records[frame.index].sent
            assert sent is not None, "it was encoded"
            self._references.answered(sent, is_stored=True)
            self._received_bytes += frame.size_bytes
            self._policy.on_received(
                self._now,
                frame,
                frame.received_at + SERVER_CLOCK_AHEAD_SECONDS,
                self._received_bytes,
            )
        else:
            self._account.close()
        if event is _Event.DETECTED:
            record = self._records[frame.index]
            record.detected_at = self._now
            clock = SERVER_CLOCK_AHEAD_SECONDS
            self._policy.on_detected(frame.received_at + clock, self._now - self._half_trip + clock)
        self._look_again()

    def _look_again(self) -> None:
        if self._state is _State.IDLE:
            self._next_frame()
        elif self._state is _State.HOLDING:
            if self._mailbox is not None:
                self._frame, self._mailbox = self._mailbox, None
            self._offer()
        elif self._state is _State.WAITING:
            self._send_if_room()

    def _next_frame(self) -> None:
        if self._mailbox is None:
            self._state = _State.IDLE
            return
        self._frame, self._mailbox = self._mailbox, None
        self._offer()

    # --- the picture that is being dealt with ---

    def _offer(self) -> None:
        decision = self._decide()
        record = self._records[self._frame]
        if decision.reason is not None:
            record.reason = decision.reason
        else:
            point = decision.point
            assert point is not None, "only a skip has no point"
            record.reason = None
            record.point = point
            record.probe = decision.verdict is Verdict.PROBE
            record.encode_seconds = self._world.encode_time(self._frame, point.level)
            self._state = _State.ENCODING
            self._add(self._now + record.encode_seconds, _Event.ENCODED, self._frame)
            return
        self._state = _State.HOLDING

    def _decide(self) -> Decision:
        self._decisions += 1
        now = self._now
        return self._policy.decide(
            Offer(
                now,
                now - self._world.captured_at(self._frame),
                self._world.pixels,
                self._account.view(now),
                self._budget.view(),
                self._references.kind(self._frame),
            )
        )

    def _finish_encoding(self) -> None:
        record = self._records[self._frame]
        point = record.point
        assert point is not None, "it was encoded at a point"
        record.encoded_at = self._now
        record.sent = self._references.encode(self._frame, point)
        record.size_bytes = len(record.sent.encoded.bitstream)
        self._policy.on_encoded(
            point.level,
            point.quality,
            self._world.pixels,
            record.size_bytes,
            record.encode_seconds,
            is_inter=record.sent.reference is not None,
        )
        if record.size_bytes > self._world.max_frame_bytes:
            self._references.answered(record.sent, is_stored=False)
            record.reason = Unsent.TOO_LARGE
            self._pace()
        else:
            self._send_if_room()

    def _send_if_room(self) -> None:
        record = self._records[self._frame]
        if not self._account.has_room(record.size_bytes):
            self._state = _State.WAITING
            return
        if self._now - self._world.captured_at(self._frame) > self._world.expire_seconds:
            assert record.sent is not None, "it was encoded"
            self._references.answered(record.sent, is_stored=False)
            record.reason = Unsent.EXPIRED
        else:
            self._send(record)
        self._pace()

    def _send(self, record: _Record) -> None:
        frame = SimulatedFrame(self._frame, record.size_bytes)
        self._account.send(frame, self._now)
        record.sent_at = self._now
        there = self._link.carry(self._now, record.size_bytes) + self._half_trip
        if there == math.inf:
            return
        there = max(there + self._world.receive_delay(self._frame), self._received_last_at)
        self._received_last_at = there  # one stream: none overtakes another
        frame.received_at = record.received_at = there
        self._add(there + self._half_trip, _Event.RECEIVED, frame)
        work = self._cloud.work(self._frame, there)
        told = _Event.REFUSED if work.expired else _Event.DETECTED
        told_at = work.done_at + self._world.cloud_delay_seconds
        self._add(told_at + self._half_trip, told, frame)

    def _pace(self) -> None:
        self._state = _State.PACING
        if self._now < self._next_due:
            self._add(self._next_due, _Event.PACED, self._frame)
        else:
            self._paced()

    def _paced(self) -> None:
        self._next_due = max(self._next_due + self._world.frame_seconds, self._now)
        self._next_frame()

    def _result(self) -> Run:
        world = self._world
        budget = world.budget
        return Run(
            tuple(self._outcome(index, record) for index, record in enumerate(self._records)),
            world.deadline_seconds,
            world.frame_count / world.fps,
            None if budget is None else budget.bytes_per_second,
            self._decisions,
        )

    def _outcome(self, index: int, record: _Record) -> FrameOutcome:
        point = record.point
        return FrameOutcome(
            index=index,
            captured_at=self._world.captured_at(index),
            point=point,
            reason=record.reason,
            probe=record.probe,
            utility=0.0 if point is None else self._world.utility(point),
            size_bytes=record.size_bytes,
            encoded_at=record.encoded_at,
            sent_at=record.sent_at,
            received_at=record.received_at,
            detected_at=record.detected_at,
        )
