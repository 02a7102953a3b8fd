"""What will never reach the cloud, from when to when, and why: the record that takes its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class GapReason(StrEnum):
    """Why pictures are missing; `GapReason` of the wire, in lower case."""

    SPOOL_FULL = "spool_full"  # the link was away for longer than memory or spool lasts
    DISK = "disk"  # the spool's disk took no more, or failed
    EXPIRED = "expired"  # too old when their turn came
    CAMERA_LOST = "camera_lost"  # there were no pictures
    BUDGET = "budget"  # the byte budget of the period was spent
    STOPPED = "stopped"  # the edge was not running
    REFUSED = "refused"  # the cloud had no room for them, or they were above its limits
    ENCODER = "encoder"  # the encoder refused them
    CLOCK = "clock"  # nothing is lost: the wall clock was set, from one time to another
    STORE_LOST = "store_lost"  # the cloud had them, and lost its store
    LINK_DOWN = "link_down"  # there was no link, and nothing is kept for later


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap; times are wall clock seconds, `to_unix` the first moment with pictures again."""

    reason: GapReason
    from_unix: float
    to_unix: float  # not before `from_unix`, except for CLOCK
    frames: int = 0  # dropped; 0 = none were made, or unknown
    size_bytes: int = 0  # of their containers; 0 = not encoded, or unknown
    first_sequence: int = 0  # lowest among them; 0 = they had none
    last_sequence: int = 0
    epoch: int = 0  # of the start of the edge that it happened in
    number: int = 0  # 1 or more, unique to the camera; given by the spool

    def joins(self, later: Gap) -> bool:
        """Whether a later gap goes on where this one ends."""
        if self.reason is not later.reason or self.reason is GapReason.CLOCK:
            return False
        if self.last_sequence and later.first_sequence:
            return later.first_sequence == self.last_sequence + 1
        return later.from_unix == self.to_unix

    def join(self, later: Gap) -> Gap:
        """Give both as one, under this one's number."""
        sequences = [s for s in (self.first_sequence, later.first_sequence) if s]
        return replace(
            self,
            from_unix=min(self.from_unix, later.from_unix),
            to_unix=max(self.to_unix, later.to_unix),
            frames=self.frames + later.frames,
            size_bytes=self.size_bytes + later.size_bytes,
            first_sequence=min(sequences, default=0),
            last_sequence=max(self.last_sequence, later.last_sequence),
        )
