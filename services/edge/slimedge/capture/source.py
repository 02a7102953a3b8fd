"""Where pictures come from: a video file, a directory of pictures, a network camera, a device.

    open_source("street.mp4") -> Video           paced by its own timestamps
    open_source("pictures/")  -> PictureFolder   paced by a given rate, in the order of the names
    open_source("rtsp://...") -> Video           live: paced by the camera
    open_source("/dev/video0")-> Video

A source yields `Picture`s and tells which ones it passed over; clocks, threads and reconnects are
the business of `slimedge.capture.camera`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from slimcodec.errors import ImageError
from slimcodec.image import files_in, load_image
from slimedge.capture.video import Picture, Tell, Video
from slimedge.errors import CameraError
from slimops.address import check_encoded, without_passwords

logger = logging.getLogger(__name__)

_DEVICES = ("/dev/video", "/dev/v4l/")
_LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "srt", "udp", "http", "https")


class FrameSource(Protocol):
    """Something that can be played from its start as often as wanted."""

    @property
    def waits(self) -> bool:
        """Whether its pictures wait until they are asked for: none is newer than another."""
        ...

    @property
    def again_seconds(self) -> float | None:
        """Whether it is played again and again, and with which pause, as it gives snapshots."""
        ...

    def pictures(self, tell: Tell = logger.warning) -> Iterator[Picture]:
        """Open the source and yield what it gives.

        Args:
            tell: takes why a picture was passed over; the next ones follow.

        Raises:
            CameraError: it cannot be used, now or ever.
            CameraLostError: it is live and went away, or is not there yet.
        """
        ...


def open_source(
    source: str,
    picture_fps: float,
    *,
    options: Mapping[str, str] | None = None,
    timeout_seconds: float = 5.0,
    snapshot_seconds: float | None = None,
    keep_damaged: bool = False,
) -> FrameSource:
    """Give the source that a setting names.

    Args:
        source: Path, URL or `/dev/videoN`.
        picture_fps: Pictures per second from a directory.
        options: Of FFmpeg.
        timeout_seconds: A camera that is silent for so long is lost.
        snapshot_seconds: The URL gives one picture, and the next one after so long.
        keep_damaged: Yield pictures that the decoder knows to be damaged.

    Raises:
        CameraError: there is no such file, or the kind is not known.
    """
    given = options or {}
    scheme, separator, _ = source.partition("://")
    is_device = source.startswith(_DEVICES)
    if separator and scheme.lower() not in _LIVE_SCHEMES:
        shown = without_passwords(source)
        raise CameraError(f"{shown}: scheme {scheme!r} is not one of {', '.join(_LIVE_SCHEMES)}")
    if separator or is_device:
        try:
            check_encoded(source if separator else "")
        except ValueError as exc:
            raise CameraError(str(exc)) from None  # whose context would show the password
        transport = {"rtsp_transport": "tcp"} if scheme.lower().startswith("rtsp") else {}
        return Video(
            source,
            "v4l2" if is_device else None,
            transport | dict(given),
            is_live=True,
            again_seconds=snapshot_seconds,
            timeout_seconds=timeout_seconds,
            keep_damaged=keep_damaged,
        )
    path = Path(source)
    if path.is_dir():
        return PictureFolder(path, picture_fps)
    if path.exists():  # a file, or a pipe
        return Video(
            source, options=given, timeout_seconds=timeout_seconds, keep_damaged=keep_damaged
        )
    raise CameraError(f"{source}: no such file, directory or camera")


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """The pictures of a directory in the order of their names; other files are passed over."""

    path: Path
    fps: float
    time_of: Callable[[Path], float] | None = None  # when a picture was taken; None: it is now
    waits: ClassVar[bool] = True
    again_seconds: ClassVar[None] = None

    def pictures(self, tell: Tell = logger.warning) -> Iterator[Picture]:
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
            yield Picture(image, index / self.fps, self.time_of and self.time_of(path))
        if not found:
            raise CameraError(f"{self.path}: none of its {len(paths)} pictures can be read")
