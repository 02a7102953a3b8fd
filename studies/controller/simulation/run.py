"""What became of every picture in one simulation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slimcontrol.controller import WaitReason
from slimcontrol.point import OperatingPoint


class Unsent(StrEnum):
    """Why a picture was not sent, where the policy was not the reason."""

    REPLACED = "replaced"  # a newer one came before the policy saw it
    EXPIRED = "expired"  # it had waited too long for room
    TOO_LARGE = "too_large"  # for the cloud
    ENDED = "ended"  # the camera stopped before the policy saw it


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """One captured picture; all times in seconds from the beginning."""

    index: int
    captured_at: float
    point: OperatingPoint | None = None  # None: it was not encoded
    reason: WaitReason | Unsent | None = None  # why it was not sent
    probe: bool = False
    utility: float = 0.0  # true worth of the point, in time or not
    size_bytes: int = 0
    encoded_at: float | None = None
    sent_at: float | None = None
    received_at: float | None = None  # by the cloud
    detected_at: float | None = None  # when the result is back at the edge

    @property
    def latency_seconds(self) -> float | None:
        """Capture to result; None where there is no result."""
        return None if self.detected_at is None else self.detected_at - self.captured_at

    def is_in_time(self, deadline_seconds: float) -> bool:
        """Whether the result came by the deadline."""
        latency = self.latency_seconds
        return latency is not None and latency <= deadline_seconds


@dataclass(frozen=True, slots=True)
class Run:
    """One policy in one world."""

    frames: tuple[FrameOutcome, ...]  # one for each captured picture
    deadline_seconds: float
    seconds: float  # that the camera ran
    budget_bytes_per_second: float | None = None
    decisions: int = 0  # how often the policy was asked
