"""What a camera saw, in numbers: container bytes of real frames at every point.

    video ─► every frame at every (level, quality) ─► len(container) ─► .npz, numbers only

Recorded once, replayed in every simulation: so the bytes rise and fall as real ones do. A camera of
another size is taken to need bytes in proportion to its pixels. After the last frame the first one
comes again.

`street.npz`, `street_jpeg.npz` and `street_webp.npz` beside this module are made of the sample
video, samples/street.mp4, by the study's `record`: the commands are in samples/README.md.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.whole_file import whole_file
from slimcontrol.point import OperatingPoint
from studies.controller.errors import ContentError

_FIELDS = ("levels", "qualities", "size_bytes", "image_hw")
_MAX_FRAMES = 100_000


@dataclass(frozen=True)
class Content:
    """A recorded video in numbers."""

    levels: tuple[int, ...]  # of each point
    qualities: tuple[float, ...]  # of each point
    sizes: NDArray[np.uint32]  # (frames, points) container bytes
    image_hw: tuple[int, int]  # pixels

    def __post_init__(self) -> None:
        frames, points = self.sizes.shape
        if not (0 < frames <= _MAX_FRAMES and points == len(self.levels) == len(self.qualities)):
            raise ContentError(
                f"{frames} frames with {points} sizes, {len(self.levels)} levels and "
                f"{len(self.qualities)} qualities do not fit together; record the video again"
            )
        if int(self.sizes.min()) == 0:
            raise ContentError("a container of 0 bytes; record the video again")

    def column(self, point: OperatingPoint) -> int:
        """Which column of `sizes` holds a point.

        Raises:
            ContentError: it was not recorded.
        """
        for index, recorded in enumerate(zip(self.levels, self.qualities, strict=True)):
            if recorded == (point.level, point.quality):
                return index
        raise ContentError(
            f"level {point.level}, quality {point.quality:g} was not recorded; record the video "
            "at that point"
        )

    def size_bytes(self, frame_index: int, point: OperatingPoint) -> int:
        """Container bytes of a frame at a point; frames repeat."""
        return int(self.sizes[frame_index % len(self.sizes), self.column(point)])

    def scaled(self, image_hw: tuple[int, int]) -> Content:
        """Give the same video at another size: bytes in proportion to pixels."""
        factor = image_hw[0] * image_hw[1] / (self.image_hw[0] * self.image_hw[1])
        sizes = np.maximum(1, np.rint(self.sizes * factor)).astype(np.uint32)
        return Content(self.levels, self.qualities, sizes, image_hw)


def record_content(
    frames: Iterable[NDArray[np.uint8]],
    points: Sequence[tuple[int, float]],
    encode: Callable[[NDArray[np.uint8], int, float], int],
) -> Content:
    """Encode every frame of a video at every point and keep the numbers.

    Args:
        frames: (H, W, 3) RGB, all of one size.
        points: (level, quality) to encode at.
        encode: (picture, level, quality) -> bytes of its container.

    Raises:
        ContentError: there are no frames, or of several sizes.
    """
    sizes: list[list[int]] = []
    image_hw: tuple[int, int] | None = None
    for image in frames:
        found = (int(image.shape[0]), int(image.shape[1]))
        if image_hw not in (None, found):
            raise ContentError(f"frames of {image_hw} and of {found} pixels; take one camera")
        image_hw = found
        sizes.append([encode(image, level, quality) for level, quality in points])
    if image_hw is None:
        raise ContentError("the video has no frames")
    return Content(
        tuple(level for level, _ in points),
        tuple(float(quality) for _, quality in points),
        np.asarray(sizes, np.uint32),
        image_hw,
    )


def write_content(content: Content, path: Path) -> None:
    """Keep a recording in a compressed .npz."""
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            levels=np.asarray(content.levels, np.int64),
            qualities=np.asarray(content.qualities, np.float64),
            size_bytes=content.sizes,
            image_hw=np.asarray(content.image_hw, np.int64),
        )


def read_content(path: Path) -> Content:
    """Read a recording.

    Raises:
        ContentError: it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            levels, qualities, sizes, image_hw = (found[name] for name in _FIELDS)
        return Content(
            tuple(int(level) for level in levels),
            tuple(float(quality) for quality in qualities),
            sizes.astype(np.uint32),
            (int(image_hw[0]), int(image_hw[1])),
        )
    except (OSError, KeyError, ValueError, IndexError, TypeError, zipfile.BadZipFile) as exc:
        raise ContentError(f"{path} is no recording of a video: {exc}; record it again") from exc


def load_street() -> Content:
    """Give the recording that comes with the package: the sample video, with slim-n/3."""
    with as_file(files("studies.controller.simulation") / "street.npz") as path:
        return read_content(path)
