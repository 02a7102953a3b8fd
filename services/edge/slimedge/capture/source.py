"""Where pictures come from: a video file, a directory of pictures, a network camera, a device.

    open_source("street.mp4") -> VideoFile       paced by its own timestamps
    open_source("pictures/")  -> PictureFolder   paced by a given rate, in the order of the names
    open_source("rtsp://...") -> LiveVideo       paced by the camera
    open_source("/dev/video0")-> LiveVideo

A source yields `Picture`s and tells which ones it passed over; clocks, threads and reconnects are
the business of `slimedge.capture.camera`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import av

from slimcodec.errors import ImageError
from slimcodec.image import files_in, load_image
from slimedge.capture.video import Picture, Tell, Video
from slimedge.errors import CameraError, CameraLostError
from slimops.address import check_encoded, without_passwords

logger = logging.getLogger(__name__)

_LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "srt", "udp")
_DEVICE_PREFIX = "/dev/video"


def warn(reason: str) -> None:
    """Take why a picture was passed over, where nobody counts them."""
    logger.warning("picture passed over", extra={"reason": reason})


class FrameSource(Protocol):
    """Something that can be played from its start as often as wanted."""

    @property
    def waits(self) -> bool:
        """Whether its pictures wait until they are asked for: none is newer than another."""
        ...

    def pictures(self, tell: Tell = warn) -> Iterator[Picture]:
        """Open the source and yield what it gives.

        Args:
            tell: takes why a picture was passed over; the next ones follow.

        Raises:
            CameraError: it cannot be used, now or ever.
            CameraLostError: it is live and went away, or is not there yet.
        """
        ...


def open_source(source: str, picture_fps: float, *, keep_damaged: bool = False) -> FrameSource:
    """Give the source that a setting names.

    Args:
        source: Path, `rtsp://...` or `/dev/videoN`.
        picture_fps: Pictures per second from a directory.
        keep_damaged: Yield pictures that the decoder knows to be damaged.

    Raises:
        CameraError: there is no such file, or the kind is not known.
    """
    scheme, separator, _ = source.partition("://")
    if separator:
        if scheme.lower() not in _LIVE_SCHEMES:
            shown = without_passwords(source)
            raise CameraError(
                f"{shown}: scheme {scheme!r} is not one of {', '.join(_LIVE_SCHEMES)}"
            )
        try:
            check_encoded(source)
        except ValueError as exc:
            raise CameraError(str(exc)) from None  # whose context would show the password
        options = {"rtsp_transport": "tcp"} if scheme.lower().startswith("rtsp") else {}
        return LiveVideo(Video(source, None, options, is_live=True, keep_damaged=keep_damaged))
    if source.startswith(_DEVICE_PREFIX):
        return LiveVideo(Video(source, "v4l2", is_live=True, keep_damaged=keep_damaged))
    path = Path(source)
    if path.is_dir():
        return PictureFolder(path, picture_fps)
    if path.is_file():
        return VideoFile(Video(source, keep_damaged=keep_damaged))
    raise CameraError(f"{source}: no such file, directory or camera")


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video file; its pictures are due at their own times."""

    video: Video
    waits: ClassVar[bool] = False

    def pictures(self, tell: Tell = warn) -> Iterator[Picture]:
        found = False
        try:
            for picture in self.video.play(tell):
                found = True
                yield picture
        except (av.error.FFmpegError, OSError) as exc:
            raise CameraError(f"{self.video.address}: cannot be played: {exc}") from exc
        if not found:
            raise CameraError(f"{self.video.address}: none of its pictures can be decoded")


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """The pictures of a directory in the order of their names; other files are passed over."""

    path: Path
    fps: float
    waits: ClassVar[bool] = True

    def pictures(self, tell: Tell = warn) -> Iterator[Picture]:
        paths = files_in(self.path)
        if not paths:
            raise CameraError(f"{self.path}: holds no pictures")
        found = False
        for index, path in enumerate(paths):
            try:
                image = load_image(path)
            except (ImageError, OSError) as exc:
                tell(str(exc))
                continue
            found = True
            yield Picture(image, index / self.fps)
        if not found:
            raise CameraError(f"{self.path}: none of its {len(paths)} pictures can be read")


@dataclass(frozen=True, slots=True)
class LiveVideo:
    """A network camera or a device; its pictures are due when they come."""

    video: Video
    waits: ClassVar[bool] = False

    def pictures(self, tell: Tell = warn) -> Iterator[Picture]:
        address = self.video.address
        try:
            yield from self.video.play(tell)
        except (av.error.FFmpegError, OSError) as exc:
            # neither in the message nor in a traceback: FFmpeg's error repeats the address
            raise CameraLostError(without_passwords(f"{address}: {exc}")) from None
        raise CameraLostError(without_passwords(f"{address}: the camera ended its stream"))
