"""A video, a folder or a camera -> its frames, all of them or so many a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slimedge.capture.source import FrameSource

_FOLDER_FPS = 1.0
_EARLY_SECONDS = 1e-3  # less than any frame lasts: clocks of files are rounded


class TimedImage(NamedTuple):
    """One frame."""

    number: int  # in the source, from 1 on
    seconds: float  # after the first one
    image: NDArray[np.uint8]  # (H, W, 3) RGB


def read_frames(
    source: Path, fps: float | None, tell: Callable[[str], None]
) -> Iterator[TimedImage]:
    """The frames of a source; those that are damaged are told, and counted.

    Args:
        fps: frames a second to take, of a folder: that it has. None: all, of a folder 1.

    Raises:
        CameraError: nothing there can be played.
    """
    from slimedge.capture.source import PictureFolder, open_source

    opened = open_source(str(source), fps or _FOLDER_FPS)
    frames = _read(opened, tell)
    return frames if fps is None or isinstance(opened, PictureFolder) else at_rate(frames, fps)


def at_rate(frames: Iterable[TimedImage], fps: float) -> Iterator[TimedImage]:
    """Those frames that a camera of so many frames a second would have taken."""
    due = 0.0
    for frame in frames:
        if frame.seconds >= due - _EARLY_SECONDS:
            due = max(due + 1 / fps, frame.seconds)  # a gap is not made up for
            yield frame


def _read(source: FrameSource, tell: Callable[[str], None]) -> Iterator[TimedImage]:
    damaged, begin = 0, time.monotonic()

    def pass_over(why: str) -> None:
        nonlocal damaged
        damaged += 1
        tell(why)

    for index, picture in enumerate(source.pictures(pass_over)):
        seconds = picture.due_seconds
        if seconds is None:  # of a camera
            seconds = time.monotonic() - begin
        yield TimedImage(1 + index + damaged, seconds, picture.image)
