"""What is compared: the product's controller, and its rivals.

    decide -> (encode -> on_encoded -> send -> on_received -> on_detected)  or  skip

A policy reads no clock and does no I/O: every time is an argument, monotonic seconds.
"""

from __future__ import annotations

from typing import Protocol

from slimcontrol.controller import Decision, Offer
from slimcontrol.link import SentFrame


class Policy(Protocol):
    """Chooses for one camera."""

    def decide(self, offer: Offer) -> Decision:
        """Choose for the newest frame, or let it wait; it is offered again later."""

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
