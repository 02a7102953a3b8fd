"""What `slimwire detect` is given, picture by picture: files, folders, videos, cameras."""

from __future__ import annotations

import errno
import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimcli.exits import needs_extra
from slimcli.streams import STANDARD, read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTAINER_SUFFIX = ".slim"
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
)
_FOLDER_FPS = 1.0  # of a folder that is played; nobody plays one here


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture, as it is or in a container."""

    name: str  # of its source
    container: bytes | None = None
    image: NDArray[np.uint8] | None = None  # (H, W, 3) RGB, where there is no container
    frame: int | None = None  # of a video: 0, 1, 2 ...
    seconds: float | None = None  # of a video that is a file: after its first picture


def expand(source: str) -> Sequence[str]:
    """The sources that a name stands for: those in a folder, those that match a pattern, or itself.

    Raises:
        FileNotFoundError: a folder or a pattern has none.
    """
    from slimcodec.image import PICTURE_SUFFIXES, files_in

    if is_camera(source) or (path := Path(source)).is_file() or path == STANDARD:
        return [source]
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES | {CONTAINER_SUFFIX}
    if path.is_dir():
        found = [str(p) for p in files_in(path, known)]
    elif glob.has_magic(source):
        found = [p for p in sorted(glob.glob(source, recursive=True)) if Path(p).is_file()]
    else:
        return [source]
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no picture, video or container there", source)
    return found


def read_shots(source: str, tell: Callable[[str], None]) -> Iterator[Shot]:
    """The pictures of one source that `expand` gave, in their order.

    Args:
        tell: takes which picture of a video was damaged, and passed over.

    Raises:
        ImageError: a file is neither container nor picture, and is not named as a video.
        CameraError: a video cannot be played, or a camera is not there.
        UnavailableError: it is a video, and nothing here plays videos.
    """
    if is_video(source):
        yield from _play(source, tell)
        return
    from slimcodec.container import MAGIC
    from slimcodec.errors import ImageError
    from slimcodec.image import is_picture, load_image

    data = read_bytes(Path(source))
    if data.startswith(MAGIC):
        yield Shot(source, container=data)
    elif is_picture(data):
        yield Shot(source, image=load_image(data))
    else:
        raise ImageError(f"{source}: neither a container nor a picture, and not named as a video")


def is_video(source: str) -> bool:
    """Whether a source has many pictures."""
    return is_camera(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_camera(source: str) -> bool:
    """Whether a source is an address or a device, not a file."""
    return "://" in source or source.startswith(("/dev/video", "/dev/v4l/"))


def _play(source: str, tell: Callable[[str], None]) -> Iterator[Shot]:
    with needs_extra("edge", "detect VIDEO"):
        from slimedge.capture.source import open_source
    from slimops.address import without_passwords

    name = without_passwords(source)
    pictures = open_source(source, _FOLDER_FPS).pictures(lambda why: tell(f"{name}: {why}"))
    for index, picture in enumerate(pictures):
        yield Shot(name, image=picture.image, frame=index, seconds=picture.due_seconds)
