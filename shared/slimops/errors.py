"""What can go wrong around the work.

OpsError
├── SettingsError          a setting is unknown, missing or wrong; names each
└── EmbeddedRedisError     no Redis server to start, or it did not start, or it ended
"""

from collections.abc import Sequence


class OpsError(Exception):
    """Base of every error that slimops raises on purpose."""


class SettingsError(OpsError):
    """`problems` holds one line for each setting that is wrong, beginning with its name."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class EmbeddedRedisError(OpsError):
    """The embedded Redis cannot serve."""
