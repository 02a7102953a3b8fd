"""Which pictures are never trained on: the one place that says so.

The rule hashes the file name without its folder, so that it needs no list, survives a move of the
folder, and puts copies of a picture in two folders on the same side.
"""

import hashlib
from pathlib import PurePath

VALIDATION_PART = 10  # one picture in ten is for validation


def is_validation(file_name: str | PurePath) -> bool:
    """Whether a picture (or a recorded link) is for validation; its folder does not count."""
    name = PurePath(file_name).name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % VALIDATION_PART == 0


def is_reported(name: str) -> bool:
    """Of validation pictures: whether a figure is reported on this one. A threshold that has to be
    chosen on held-out pictures is chosen on the others.
    """
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()[1] % 2 == 0
