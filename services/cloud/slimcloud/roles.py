"""What a cloud process does, and what the bearer of a token may do. Imports nothing heavy, for the
command line names both.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a process does; any number of processes share one Redis."""

    ALL = "all"
    INGEST = "ingest"
    DETECT = "detect"
    REVIEW = "review"

    def includes(self, role: Role) -> bool:
        return self in (role, Role.ALL)


class AccessRole(StrEnum):
    """What the bearer of a token may do; each role of people holds those before it."""

    CAMERA = "camera"  # send frames as the camera of the token's name
    VIEWER = "viewer"  # look
    REVIEWER = "reviewer"  # mark, comment, ask cameras for more
    ADMIN = "admin"  # see what others did, and what was given up

    def includes(self, needed: AccessRole) -> bool:
        rank = list(AccessRole).index
        is_person = AccessRole.CAMERA not in (self, needed)
        return self is needed or (is_person and rank(self) >= rank(needed))
