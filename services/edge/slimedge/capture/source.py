"""Where pictures come from: a video file, a directory of pictures, a network camera, a device.

    open_source("street.mp4") -> VideoFile       paced by its own timestamps
    open_source("pictures/")  -> PictureFolder   paced by a given rate, in the order of the names
    open_source("rtsp://...") -> LiveVideo       paced by the camera
    open_source("/dev/video0")-> LiveVideo

A source yields `Picture`s; clocks, threads and reconnects are the business of
`slimedge.capture.camera`.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from slimcodec.errors import ImageError
from slimcodec.image import files_in, load_image
from slimedge.errors import CameraError, CameraLostError
from slimops.address import without_passwords

logger = logging.getLogger(__name__)

_LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "srt", "udp")
_DEVICE_PREFIX = "/dev/video"
_OPEN_TIMEOUT_SECONDS = 5.0
_READ_TIMEOUT_SECONDS = 5.0  # a camera that is silent for so long is lost
_FALLBACK_FPS = 25.0  # of a file without timestamps


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a source."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    due_seconds: float | None  # after the first picture; None: it is live, so it is due now


class FrameSource(Protocol):
    """Something that can be played from its start as often as wanted."""

    def pictures(self) -> Iterator[Picture]:
        """Open the source and yield what it gives.

        Raises:
            CameraError: it cannot be used, now or ever.
            CameraLostError: it is live and went away, or is not there yet.
        """
        ...


def open_source(source: str, picture_fps: float) -> FrameSource:
    """Give the source that a setting names.

    Args:
        source: Path, `rtsp://...` or `/dev/videoN`.
        picture_fps: Pictures per second from a directory.

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
        options = {"rtsp_transport": "tcp"} if scheme.lower().startswith("rtsp") else {}
        return LiveVideo(source, None, options)
    if source.startswith(_DEVICE_PREFIX):
        return LiveVideo(source, "v4l2", {})
    path = Path(source)
    if path.is_dir():
        return PictureFolder(path, picture_fps)
    if path.is_file():
        return VideoFile(path)
    raise CameraError(f"{source}: no such file, directory or camera")


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video file; its pictures are due at their own times."""

    path: Path

    def pictures(self) -> Iterator[Picture]:
        found = False
        try:
            with closing(_open(str(self.path), None, {}, _READ_TIMEOUT_SECONDS)) as container:
                for picture in _timed(container):
                    found = True
                    yield picture
        except (av.error.FFmpegError, OSError) as exc:
            raise CameraError(f"{self.path}: cannot be played: {exc}") from exc
        if not found:
            raise CameraError(f"{self.path}: none of its pictures can be decoded")


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """The pictures of a directory in the order of their names; other files are passed over."""

    path: Path
    fps: float

    def pictures(self) -> Iterator[Picture]:
        paths = files_in(self.path)
        if not paths:
            raise CameraError(f"{self.path}: holds no pictures")
        for index, path in enumerate(paths):
            try:
                image = load_image(path)
            except (ImageError, OSError) as exc:
                raise CameraError(f"{path}: cannot be read: {exc}") from exc
            yield Picture(image, index / self.fps)


@dataclass(frozen=True, slots=True)
class LiveVideo:
    """A network camera or a device; its pictures are due when they come."""

    address: str
    file_format: str | None
    options: dict[str, str]
    read_timeout_seconds: float = _READ_TIMEOUT_SECONDS

    def pictures(self) -> Iterator[Picture]:
        try:
            with closing(
                _open(self.address, self.file_format, self.options, self.read_timeout_seconds)
            ) as container:
                for frame in _decode(container):
                    yield Picture(_upright(frame), None)
        except (av.error.FFmpegError, OSError) as exc:
            # neither in the message nor in a traceback: FFmpeg's error repeats the address
            raise CameraLostError(without_passwords(f"{self.address}: {exc}")) from None
        raise CameraLostError(without_passwords(f"{self.address}: the camera ended its stream"))


def _open(
    address: str, file_format: str | None, options: dict[str, str], read_timeout_seconds: float
) -> InputContainer:
    container = av.open(
        address,
        format=file_format,
        options=options,
        timeout=(_OPEN_TIMEOUT_SECONDS, read_timeout_seconds),
    )
    if not container.streams.video:
        container.close()
        raise CameraError(without_passwords(f"{address}: has no video stream"))
    return container


def _decode(container: InputContainer) -> Iterator[av.VideoFrame]:
    for packet in container.demux(container.streams.video[0]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as exc:  # damaged on its way: the next ones may be whole
            logger.debug("packet passed over", extra={"reason": str(exc)})
            continue
        yield from frames


def _timed(container: InputContainer) -> Iterator[Picture]:
    rate = float(container.streams.video[0].average_rate or _FALLBACK_FPS)
    first: float | None = None
    for index, frame in enumerate(_decode(container)):
        time = index / rate if frame.pts is None else frame.time
        first = time if first is None else first
        yield Picture(_upright(frame), max(0.0, time - first))


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    quarters = round(frame.rotation / 90)  # counterclockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
