"""What chooses operating points: the controller of the product, and what it is compared with.

The edge and the simulator drive a policy in the same way, so one object serves both:

    decide -> (encode -> on_encoded -> send -> on_received -> on_detected)  or  skip

A policy reads no clock and does no I/O: every time is an argument, monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from slimcontrol.budget import NO_BUDGET, BudgetView
from slimcontrol.link import LinkView, SentFrame
from slimcontrol.point import OperatingPoint


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
    WORTHLESS = "worthless"  # the bytes are worth more for another frame


@dataclass(frozen=True, slots=True)
class Offer:
    """The newest frame, and what is known as it is offered."""

    now: float  # monotonic seconds
    age_seconds: float  # of the frame, from its capture
    pixels: int  # that will be encoded
    link: LinkView
    budget: BudgetView = NO_BUDGET


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the newest frame."""

    verdict: Verdict
    point: OperatingPoint | None  # None only with SKIP
    predicted_bytes: int
    predicted_seconds: float  # capture to detection
    reason: WaitReason | None = None  # only with SKIP


class Policy(Protocol):
    """Chooses for one camera."""

    def decide(self, offer: Offer) -> Decision:
        """Choose for the newest frame, or let it wait; it is offered again later."""

    def on_encoded(
        self, level: int, quality: float, pixels: int, size_bytes: int, seconds: float
    ) -> None:
        """Learn from one encoded frame: its container's bytes, the seconds it took."""

    def on_received(
        self, now: float, frame: SentFrame, server_time: float, received_bytes_total: int
    ) -> None:
        """Learn from an acknowledgement that has just arrived.

        Args:
            now: Clock of the edge, seconds.
            frame: What was acknowledged.
            server_time: Clock of the server when it had the frame, seconds.
            received_bytes_total: Container bytes that the server had by then.
        """

    def on_detected(self, received: float, detected: float) -> None:
        """Learn what a frame costs the cloud; both times on the server's clock."""

    def on_connected(self, now: float, round_trip_seconds: float) -> None:
        """A new stream: the link may be another, and so may the server's clock."""
