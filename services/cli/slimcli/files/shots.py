"""What `slimwire detect` is given, picture by picture: files, folders, videos, cameras."""

from __future__ import annotations

import errno
import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimcli.exits import needs_extra
from slimcli.files.clip import open_clip, read_clip
from slimcli.streams import STANDARD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from slimcodec.decode import Decoder
    from slimcodec.sequence import ReceivedFrame

CONTAINER_SUFFIX = ".slim"
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
)
_FOLDER_FPS = 1.0  # of a folder that is played; nobody plays one here


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture, as it is, in a container, or decoded from a stream."""

    name: str  # of its source
    container: bytes | None = None
    image: NDArray[np.uint8] | None = None  # (H, W, 3) RGB, where there is no container
    frame: int | None = None  # of a video: 0, 1, 2 ...; of a stream: from 1 on, as in its source
    seconds: float | None = None  # of a video that is a file, or a stream: after its first picture
    fingerprint: bytes | None = None  # of the codec, of a container and a stream
    decoded: ReceivedFrame | None = None  # of a stream
    num_bytes: int | None = None  # of a stream: of this frame, and what refined before it


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


def read_shots(
    source: str,
    tell: Callable[[str], None],
    decoder_of: Callable[[bytes], Decoder],
    patience_seconds: float = 0.0,
) -> Iterator[Shot]:
    """The pictures of one source that `expand` gave, in their order.

    Args:
        tell: takes which picture of a video or a stream was damaged, and passed over.
        decoder_of: gives the decoder of the codec with a fingerprint.
        patience_seconds: how long to wait for more of a stream.

    Raises:
        ImageError: a file is neither container nor picture, and is not named as a video.
        BitstreamError: it is a stream whose header is damaged.
        CameraError: a video cannot be played, or a camera is not there.
        UnavailableError: it is a video, and nothing here plays videos.
    """
    if is_video(source):
        yield from _play(source, tell)
        return
    from slimcodec.container import MAGIC, parse_container
    from slimcodec.errors import ImageError
    from slimcodec.image import is_picture, load_image

    with open_clip(Path(source), patience_seconds) as opened:
        if not isinstance(opened, bytes):
            fingerprint, refined_bytes = opened.header.fingerprint, 0
            decoder = decoder_of(fingerprint)
            for record, frame in read_clip(opened, decoder, lambda why: tell(f"{source}: {why}")):
                refined_bytes += record.num_bytes
                if record.number is not None:
                    yield Shot(
                        source,
                        frame=record.number,
                        seconds=record.seconds,
                        fingerprint=fingerprint,
                        decoded=frame,
                        num_bytes=refined_bytes,
                    )
                    refined_bytes = 0
        elif opened.startswith(MAGIC):
            yield Shot(source, opened, fingerprint=parse_container(opened).fingerprint)
        elif is_picture(opened):
            yield Shot(source, image=load_image(opened))
        else:
            raise ImageError(
                f"{source}: neither a container, a stream nor a picture, and not named as a video"
            )


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
