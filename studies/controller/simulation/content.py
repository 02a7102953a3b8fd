"""What a camera saw, in numbers: container bytes of real frames at every point.

    video ─► every frame at every (level, quality) ─► len(container) ─► .npz, numbers only
                 └─ alone, and against the frames that came 1, 2, 4 ... before it

Recorded once, replayed in every simulation: so the bytes rise and fall as real ones do. A camera of
another size is taken to need bytes in proportion to its pixels. After the last frame the first one
comes again. A reference is at the frame's own point, and itself the end of a chain of frames each
of which refers to the one before; how many bytes more it takes where the point has changed in
between is not in the numbers.

`street.npz`, `street_jpeg.npz` and `street_webp.npz` beside this module are made of the sample
video, samples/street.mp4, by the study's `record`: the commands are in samples/README.md.
"""

from __future__ import annotations

import math
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slimcodec.whole_file import whole_file
from studies.controller.errors import ContentError

T = TypeVar("T")

_FIELDS = ("levels", "qualities", "size_bytes", "image_hw")
_INTER_FIELDS = ("gaps", "inter_size_bytes")  # in a recording with references
_MAX_FRAMES = 100_000
GAPS = (1, 2, 4, 8, 32)  # frames from a reference to the frame; between two, sizes are interpolated


@dataclass(frozen=True)
class Content:
    """A recorded video in numbers."""

    levels: tuple[int, ...]  # of each point
    qualities: tuple[float, ...]  # of each point
    sizes: NDArray[np.uint32]  # (frames, points) container bytes
    image_hw: tuple[int, int]  # pixels
    gaps: tuple[int, ...] = ()  # frames from a reference to the frame, rising; none: all are alone
    inter_sizes: NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint32))

    def __post_init__(self) -> None:
        frames, points = self.sizes.shape
        if self.gaps and self.inter_sizes.shape != (len(self.gaps), frames, points):
            raise ContentError(
                f"sizes against references {self.inter_sizes.shape}, expected "
                f"{(len(self.gaps), frames, points)}; record the video again"
            )
        if not (0 < frames <= _MAX_FRAMES and points == len(self.levels) == len(self.qualities)):
            raise ContentError(
                f"{frames} frames with {points} sizes, {len(self.levels)} levels and "
                f"{len(self.qualities)} qualities do not fit together; record the video again"
            )
        if 0 in self.sizes or 0 in self.inter_sizes:
            raise ContentError("a container of 0 bytes; record the video again")

    def column(self, level: int, quality: float) -> int:
        """Which column of `sizes` holds a point.

        Raises:
            ContentError: it was not recorded.
        """
        for index, recorded in enumerate(zip(self.levels, self.qualities, strict=True)):
            if recorded == (level, quality):
                return index
        raise ContentError(
            f"level {level}, quality {quality:g} was not recorded; record the video at that point"
        )

    def size_bytes(self, frame_index: int, level: int, quality: float, gap: int = 0) -> int:
        """Container bytes of a frame; frames repeat.

        Args:
            gap: Frames from its reference to it, beyond the widest as there; 0: it is alone.
        """
        frame, column = frame_index % len(self.sizes), self.column(level, quality)
        if not gap:
            return int(self.sizes[frame, column])
        between = np.log(self.inter_sizes[:, frame, column])
        return round(math.exp(np.interp(math.log(gap), np.log(self.gaps), between)))

    @property
    def alone(self) -> Content:
        """The same video, each frame coded alone."""
        return replace(self, gaps=(), inter_sizes=self.inter_sizes[:0])

    def from_frame(self, first: int) -> Content:
        """The same video, which begins with another frame."""
        sizes, inter_sizes = np.roll(self.sizes, -first, 0), np.roll(self.inter_sizes, -first, 1)
        return replace(self, sizes=sizes, inter_sizes=inter_sizes)

    def scaled(self, image_hw: tuple[int, int]) -> Content:
        """The same video at another size: bytes in proportion to pixels."""
        factor = image_hw[0] * image_hw[1] / (self.image_hw[0] * self.image_hw[1])
        sizes, inter_sizes = (
            np.maximum(1, np.rint(one * factor)).astype(np.uint32)
            for one in (self.sizes, self.inter_sizes)
        )
        return replace(self, sizes=sizes, inter_sizes=inter_sizes, image_hw=image_hw)


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


def record_references(
    content: Content,
    frames: Sequence[NDArray[np.uint8]],
    encode: Callable[[NDArray[np.uint8], int, float, T | None], tuple[int, T]],
    gaps: Sequence[int] = GAPS,
) -> Content:
    """Encode every frame at every point against earlier ones and add the numbers to a recording.

    Args:
        content: Of the same frames, coded alone.
        encode: (picture, level, quality, what is held of a reference) -> bytes of its container,
            what is held of it; no reference: alone.
        gaps: Frames from a reference to the frame, rising; the first is 1.
    """
    count = len(frames)
    sizes = np.zeros((len(gaps), *content.sizes.shape), np.uint32)
    for column, (level, quality) in enumerate(zip(content.levels, content.qualities, strict=True)):
        held: deque[T] = deque(maxlen=gaps[-1])  # of the frames before, the newest last
        for number in range(-gaps[-1], count):
            image, newest = frames[number % count], held[-1] if held else None
            size_bytes, symbols = encode(image, level, quality, newest)
            for row, gap in enumerate(gaps if number >= 0 else ()):
                if gap > 1:
                    size_bytes, _ = encode(image, level, quality, held[-gap])
                sizes[row, number, column] = size_bytes
            held.append(symbols)
    return replace(content, gaps=tuple(gaps), inter_sizes=sizes)


def write_content(content: Content, path: Path) -> None:
    """Keep a recording in a compressed .npz."""
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            levels=np.asarray(content.levels, np.int64),
            qualities=np.asarray(content.qualities, np.float64),
            size_bytes=content.sizes,
            image_hw=np.asarray(content.image_hw, np.int64),
            gaps=np.asarray(content.gaps, np.int64),
            inter_size_bytes=content.inter_sizes,
        )


def read_content(path: Path) -> Content:
    """Read a recording.

    Raises:
        ContentError: it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            levels, qualities, sizes, image_hw = (found[name] for name in _FIELDS)
            inter = [found[name] for name in _INTER_FIELDS if name in found]
        return Content(
            tuple(int(level) for level in levels),
            tuple(float(quality) for quality in qualities),
            sizes.astype(np.uint32),
            (int(image_hw[0]), int(image_hw[1])),
            *((tuple(inter[0].tolist()), inter[1].astype(np.uint32)) if inter else ()),
        )
    except (OSError, KeyError, ValueError, IndexError, TypeError, zipfile.BadZipFile) as exc:
        raise ContentError(f"{path} is no recording of a video: {exc}; record it again") from exc


def load_street() -> Content:
    """Give the recording that comes with the package: the sample video, with slim/2."""
    with as_file(files("studies.controller.simulation") / "street.npz") as path:
        return read_content(path)
