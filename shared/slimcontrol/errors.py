"""What can go wrong before a controller runs: `ControlError`. A decision itself cannot fail."""

from __future__ import annotations


class ControlError(Exception):
    """The model's profile and what was asked for leave nothing to choose from."""
