"""What can go wrong before a controller runs: `ControlError`. A decision itself cannot fail."""


class ControlError(Exception):
    """The model's profile and what was asked for leave nothing to choose from."""
