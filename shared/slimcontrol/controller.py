"""Which (level, quality) the next frame gets, or none: pure, and the same for the same history.

    acks, encode times, sizes -> beliefs ────────────────┐
    what link, byte budget and encoder are owed now ─────┼─> bytes worth sending ─> hull ─> in time?
    age and pixels of the newest frame ──────────────────┘

Each queue will be empty in q seconds and works at a rate R; T is the time between two frames that
the slowest stage can bear. A frame is given

    x = least, over link and byte budget, of  R * (T + gain * (target - q))  bytes

and the largest point on the hull of utility over bytes that takes no more (`point.py`): the
price of a byte follows from how full the queues are. The deadline then has a veto, at a rate that
the link seldom falls short of:

    leaves_edge = max(encode, q)
    arrives     = leaves_edge + bytes / rate
    detected    = max(arrives, undetected * service) + service
    latency     = age + detected + round trip

Where even the point of the most utility per byte takes more than x, it goes all the same, and
frames between are skipped: none goes while the queue is longer than the link needs in order not to
idle. If no point can be in time, the frame is skipped, unless the link is idle and a probe is due.
While the cloud grants a share of its detector, frames keep to its pace, and each may be a probe.
`docs/develop/controller.md` has the reasons and what was measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from slimcontrol.budget import BURST_SECONDS, NO_BUDGET, Allowance, CpuAccount, DetectorShare
from slimcontrol.estimate import CloudService, ContentFactor, EncodeTime
from slimcontrol.link import LinkBelief, LinkQueue, LinkView, ProbeTimer, SentFrame, has_room
from slimcontrol.point import Frontier, OperatingPoint, build_frontier, inter_points

_DEADLINE_SHARE = 0.97  # of the deadline may be planned
_LINK_TARGET_SHARE = 0.1  # of the deadline may be backlog when a frame is offered: no idle link
_LONGEST_LINK_TARGET_SECONDS = 0.06  # with 0.15 less was reached, and more was late
_LINK_WAIT_SHARE = 0.4  # of the time between frames; with more backlog a newer frame is better
_KEEP = 0.25  # so much more than its share of the budget may the last point take again
_BUDGET_TARGET_SECONDS = BURST_SECONDS / 2  # sent ahead of the budget, lest some of it is lost
_BUDGET_GAIN = 0.2  # of what the budget's target lacks, one frame may make up for
_UNKNOWN_CLOUD_FRAMES = 4  # may be on their way until the cloud's first result is here
_FRAME_SHARE = 0.95  # of the time between frames may be encoding


class Verdict(StrEnum):
    """Why a decision is as it is."""

    BEST = "best"
    PROBE = "probe"  # nothing meets the deadline, but the link is idle
    SKIP = "skip"  # see the decision's reason


class WaitReason(StrEnum):
    """Why a frame is not sent now."""

    CLOUD_FULL = "cloud_full"  # the cloud asked to wait
    BUDGET = "budget"  # the byte budget is spent
    CPU = "cpu"  # the encoder's share of the processor is spent
    INFEASIBLE = "infeasible"  # no point meets the deadline, and no probe is due
    CREDIT = "credit"  # the cloud's window has no room
    SHARE = "share"  # the camera's share of the cloud's detector is spent
    WORTHLESS = "worthless"  # the bytes are worth more for another frame


class NextKind(StrEnum):
    """How the newest frame will be coded."""

    ALONE = "alone"  # as every other
    KEY = "key"  # alone, and others against it for long: its bytes are paid once
    INTER = "inter"  # against another


@dataclass(frozen=True, slots=True)
class Offer:
    """The newest frame, and what is known as it is offered."""

    now: float  # monotonic seconds
    age_seconds: float  # of the frame, from its capture
    pixels: int  # that will be encoded
    link: LinkView
    budget: Allowance = NO_BUDGET
    kind: NextKind = NextKind.ALONE


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the newest frame."""

    verdict: Verdict
    point: OperatingPoint | None  # None only with SKIP
    predicted_bytes: int
    predicted_seconds: float  # capture to detection
    reason: WaitReason | None = None  # only with SKIP


@dataclass(frozen=True, slots=True)
class _Choice:
    """A point, as it would fare."""

    point: OperatingPoint
    size_bytes: float
    latency_seconds: float


@dataclass(eq=False)
class Controller:
    """Chooses operating points for one camera."""

    points: Sequence[OperatingPoint]  # what may be chosen
    encode_seconds_per_pixel: Mapping[int, float]  # first guess per level; corrected by measurement
    _: KW_ONLY
    deadline_seconds: float | None  # capture to detection; None = no deadline
    frame_seconds: float  # shortest time between two frames
    cpu_share: float | None = None  # encode seconds per second that may be used; None = all
    byte_price: float = 0.0  # utility that e times the bytes of a frame must buy

    def __post_init__(self) -> None:
        self._deadline = self.deadline_seconds or math.inf
        self._link_target = min(_LONGEST_LINK_TARGET_SECONDS, _LINK_TARGET_SHARE * self._deadline)
        of_inter = inter_points(self.points)
        self._bpp = {  # by whether a frame is inter
            is_inter: {(point.level, point.quality): point.bpp for point in points}
            for is_inter, points in ((False, self.points), (True, of_inter))
        }
        self._link = LinkBelief()
        self._content = {n: ContentFactor(is_inter=n) for n in (False, True)}
        self._encode_time = EncodeTime(dict(self.encode_seconds_per_pixel))
        self.service = CloudService()
        self._cpu = CpuAccount(self.cpu_share)
        self._share = DetectorShare()
        self._probe = ProbeTimer()
        self._last_point: OperatingPoint | None = None
        self.rate = self._link.rate
        self.limit_level(None)

    def limit_level(self, max_level: int | None) -> None:
        """Choose among the levels up to `max_level` only, as the cloud asks; None: among all.

        Where a person allows none of those, the person's choice stands.
        """
        limited = tuple(p for p in self.points if max_level is None or p.level <= max_level)
        points = limited or self.points
        of_kinds = {
            NextKind.ALONE: (points, self.byte_price),
            NextKind.KEY: (points, 0.0),
            NextKind.INTER: (inter_points(points), self.byte_price),
        }
        self._frontiers = {
            kind: {
                level: build_frontier([p for p in points if p.level <= level], price)
                for level in sorted({p.level for p in points}, reverse=True)
            }
            for kind, (points, price) in of_kinds.items()
        }

    def decide(self, offer: Offer) -> Decision:
        """Choose for the newest frame, or let it wait; it is offered again later."""
        link, budget, now = offer.link, offer.budget, offer.now
        self._cpu.advance(now)
        share_seconds = self._share.frame_seconds(offer.pixels)
        frame_seconds = max(self.frame_seconds, self.service.seconds, share_seconds)
        frontier = self._frontier(offer.pixels, frame_seconds, offer.kind)
        bytes_per_bpp = offer.pixels / 8 * self._content[offer.kind is NextKind.INTER].safe
        queue = self._link.queue(now, link, self.rate.safe)

        size_bytes = queue.rate * (frame_seconds + self._link_target - queue.seconds)
        saved_bytes = _affordable_bytes(budget, frame_seconds)
        choice, why_not = self._largest(frontier, size_bytes, saved_bytes, bytes_per_bpp, offer)

        sure = choice or self._predict(frontier.points[0], bytes_per_bpp, offer, queue)
        if link.paused:
            return _wait(sure, WaitReason.CLOUD_FULL)
        if not budget.is_open:
            return _wait(sure, WaitReason.BUDGET)
        if not self._cpu.covers(self._encode_time.safe(sure.point.level, offer.pixels)):
            return _wait(sure, WaitReason.CPU)
        if choice is None:
            is_late = why_not is WaitReason.INFEASIBLE
            is_due = self._share.pixels_per_second > 0 or self._probe.is_due(now)
            if not (is_late and link.idle and is_due):
                return _wait(sure, why_not)
        elif queue.seconds > _LINK_WAIT_SHARE * frame_seconds + self._link_target:
            return _wait(sure, WaitReason.WORTHLESS)
        if not self._share.is_due(now):
            return _wait(sure, WaitReason.SHARE)
        self._share.sent(now, offer.pixels)
        if choice is None:
            self._probe.sent(now)
            return _send(Verdict.PROBE, sure)
        self._last_point = choice.point
        return _send(Verdict.BEST, choice)

    def decide_for_later(self, now: float, pixels: int, frame_seconds: float) -> Decision:
        """Choose for a frame that nobody waits for: its worth counts, and what encoding takes.

        Args:
            now: Monotonic seconds.
            pixels: That will be encoded.
            frame_seconds: From one such frame to the next.
        """
        self._cpu.advance(now)
        point = self._frontier(pixels, frame_seconds, NextKind.ALONE).points[-1]
        size_bytes = point.bpp * pixels / 8 * self._content[False].safe
        choice = _Choice(point, size_bytes, 0.0)
        if not self._cpu.covers(self._encode_time.safe(point.level, pixels)):
            return _wait(choice, WaitReason.CPU)
        return _send(Verdict.BEST, choice)

    def on_encoded(
        self,
        level: int,
        quality: float,
        pixels: int,
        size_bytes: int,
        seconds: float,
        is_inter: bool = False,
    ) -> None:
        """Learn from one encoded frame: its container's bytes, the seconds it took."""
        expected_bytes = self._bpp[is_inter][level, quality] * pixels / 8
        self._content[is_inter].add(size_bytes, expected_bytes)
        self._encode_time.add(level, pixels, seconds)
        self._cpu.spend(seconds)

    def widest_seconds(self, pixels: int) -> float:
        """What encoding takes at the widest level that may be chosen."""
        return self._encode_time.safe(max(self._frontiers[NextKind.KEY]), pixels)

    def on_encoder_share(self, share: float | None) -> None:
        """Take how much of an encoder that others use, too, this camera may have; None = all."""
        shares = [s for s in (self.cpu_share, share) if s is not None]
        self._cpu.limit(min(shares, default=None))

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn the link's rate from the acknowledgement of a frame that has just arrived."""
        self._link.on_received(now, frame, server_time, received_bytes_total)
        if frame.sent_at is not None:
            seconds = now - frame.sent_at + self.service.seconds
            if seconds <= _DEADLINE_SHARE * self._deadline:
                self._probe.reset()

    def on_detected(self, received: float, detected: float) -> None:
        """Learn what a frame costs the cloud; both times on the server's monotonic clock."""
        self.service.add(received, detected)
        self._share.detected(detected - received)

    def on_share(self, pixels_per_second: int) -> None:
        """Take what the cloud grants of its detector; 0 = all that is sent.

        Without a deadline nothing is late: what is sent waits in the cloud for its turn.
        """
        self._share.pixels_per_second = pixels_per_second if self.deadline_seconds else 0

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """A new stream: the link may be another, and so may the server's clock."""
        self._link.on_connected(round_trip_seconds)
        self._probe.reset()
        self._share.pixels_per_second = 0
        self.service.reconnect()

    def _frontier(self, pixels: int, frame_seconds: float, kind: NextKind) -> Frontier:
        """The points of every level that the encoder has time for; at least the narrowest's."""
        limit = min(_FRAME_SHARE * frame_seconds, self._cpu.affordable(frame_seconds))
        for level, frontier in self._frontiers[kind].items():
            if self._encode_time.safe(level, pixels) <= limit:
                return frontier
        return frontier

    def _largest(
        self,
        frontier: Frontier,
        size_bytes: float,
        saved_bytes: float,
        bytes_per_bpp: float,
        offer: Offer,
    ) -> tuple[_Choice | None, WaitReason]:
        """The largest point of at most so many bytes that will be in time and may go; else why not.

        Of the most utility per byte if all take more: below it there is only a lower frame rate.

        Args:
            size_bytes: For the link.
            saved_bytes: For the byte budget, which nobody waits for: the last point is kept there
                until it has cost a quarter more than its share, so that choices seldom change.
        """
        link, waiting, why_not = offer.link, offer.link.undetected_frames, WaitReason.INFEASIBLE
        if waiting >= _UNKNOWN_CLOUD_FRAMES and not self.service.is_known:
            return None, why_not
        queue = self._link.queue(offer.now, link, self.rate.sure)
        bpp, saved_bpp = size_bytes / bytes_per_bpp, saved_bytes / bytes_per_bpp
        for index in range(len(frontier.points) - 1, -1, -1):
            point = frontier.points[index]
            keep = 1 + _KEEP if point is self._last_point else 1.0
            if index > frontier.knee and point.bpp > min(bpp, keep * saved_bpp):
                continue
            choice = self._predict(point, bytes_per_bpp, offer, queue)
            if index > frontier.knee and not self._keeps_pace(choice, offer, queue):
                continue
            if (
                choice.latency_seconds <= _DEADLINE_SHARE * self._deadline
                and choice.size_bytes <= link.max_frame_bytes
            ):
                if has_room(choice.size_bytes, link.in_flight_bytes, link.credit_bytes):
                    return choice, why_not
                why_not = WaitReason.CREDIT
        return None, why_not

    def _predict(
        self, point: OperatingPoint, bytes_per_bpp: float, offer: Offer, queue: LinkQueue
    ) -> _Choice:
        size_bytes = point.bpp * bytes_per_bpp
        service = self.service.seconds
        leaves_edge = max(self._encode_time.safe(point.level, offer.pixels), queue.seconds)
        arrives = leaves_edge + size_bytes / queue.rate
        detected = max(arrives, offer.link.undetected_frames * service) + service
        round_trip = self._link.round_trip
        return _Choice(point, size_bytes, offer.age_seconds + detected + round_trip)

    def _keeps_pace(self, choice: _Choice, offer: Offer, queue: LinkQueue) -> bool:
        """Whether the cloud's window lets such frames follow each other without a wait.

        A frame takes its room from the decision until its ack is here.
        """
        encode = self._encode_time.safe(choice.point.level, offer.pixels)
        trip = choice.size_bytes / queue.rate + self._link.round_trip
        frames = max(1.0, offer.link.credit_bytes / choice.size_bytes)
        return encode + trip <= frames * max(self.frame_seconds, self.service.seconds)


def _affordable_bytes(budget: Allowance, frame_seconds: float) -> float:
    """Bytes that each frame may take if the budget is to last."""
    ahead = _BUDGET_GAIN * (_BUDGET_TARGET_SECONDS - budget.backlog_seconds)
    return budget.bytes_per_second * (frame_seconds + ahead)


def _send(verdict: Verdict, choice: _Choice) -> Decision:
    return Decision(verdict, choice.point, round(choice.size_bytes), choice.latency_seconds)


def _wait(choice: _Choice, reason: WaitReason) -> Decision:
    size_bytes, seconds = round(choice.size_bytes), choice.latency_seconds
    return Decision(Verdict.SKIP, None, size_bytes, seconds, reason)
