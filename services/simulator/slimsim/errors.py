"""What can go wrong before a simulation runs.

SimError
├── TraceError      a file that is no recorded link, or a link that nothing passes
├── ContentError    a recording of frames' bytes that cannot be read, or lacks a point
├── WorldError      numbers that describe no world
└── BoundsError     a file of upper bounds that cannot be read
"""

from __future__ import annotations


class SimError(Exception):
    """Base of everything that this package raises on purpose."""


class TraceError(SimError):
    """A file that is no recorded link."""


class ContentError(SimError):
    """A recording of frames' bytes that is damaged, or lacks what is asked of it."""


class WorldError(SimError):
    """Numbers that describe no camera, link or cloud."""


class BoundsError(SimError):
    """A file of upper bounds that is damaged."""
