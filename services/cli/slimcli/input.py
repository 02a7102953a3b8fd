"""What commands read: files, and standard input where `-` is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slimcli.exits import BadUsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STANDARD = Path("-")  # as an input standard input, as an output standard output


def read_bytes(path: Path) -> bytes:
    """All of a file, or of standard input.

    Raises:
        OSError: it cannot be read.
    """
    return sys.stdin.buffer.read() if path == STANDARD else path.read_bytes()


def load_picture(path: Path) -> NDArray[np.uint8]:
    """The picture of a file, or of standard input, uint8 (H, W, 3) RGB.

    Raises:
        ImageError: it is no picture.
        OSError: it cannot be read.
    """
    from slimcodec.image import load_image

    return load_image(read_bytes(path) if path == STANDARD else path)


def refuse_two_standard(*paths: Path | None) -> None:
    """Refuse to read standard input for two things.

    Raises:
        BadUsageError: `-` is there more than once.
    """
    if paths.count(STANDARD) > 1:
        raise BadUsageError("- is standard input, which can be read once; name a file besides")
