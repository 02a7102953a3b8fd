"""What can go wrong before a simulation runs; a damaged link is `slimlinks.errors.TraceError`.

StudyError
├── ContentError    a recording of frames' bytes that cannot be read, or lacks a point
├── WorldError      numbers that describe no world
└── BoundsError     a file of upper bounds that cannot be read
"""

from __future__ import annotations


class StudyError(Exception):
    """Base of everything that this package raises on purpose."""


class ContentError(StudyError):
    """A recording of frames' bytes that is damaged, or lacks what is asked of it."""


class WorldError(StudyError):
    """Numbers that describe no camera, link or cloud."""


class BoundsError(StudyError):
    """A file of upper bounds that is damaged."""
