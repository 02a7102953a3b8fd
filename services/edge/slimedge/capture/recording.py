"""A recording: a file or a folder, every picture of it, at the time when it was taken.

start that is given       + the time of the frame in the file, or of the picture at its rate
a file's creation_time    + the time of the frame
a picture's EXIF, else when its file was last changed
"""

import logging
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import av
from PIL import ExifTags, Image

from slimcodec.image import files_in
from slimedge.capture.source import FrameSource, PictureFolder
from slimedge.capture.video import Picture, Tell, Video
from slimedge.errors import CameraError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """A `FrameSource` whose pictures wait until they are asked for."""

    source: Video | PictureFolder
    begin_unix: float  # of pictures that do not say themselves when they were taken
    frames: int  # that it holds, about; 0 = not known
    waits: ClassVar[bool] = True
    again_seconds: ClassVar[None] = None

    def pictures(self, tell: Tell = logger.warning) -> Iterator[Picture]:
        """As `slimedge.capture.source.FrameSource` says."""
        for picture in self.source.pictures(tell):
            taken_unix = picture.taken_unix or self.begin_unix + (picture.due_seconds or 0.0)
            yield replace(picture, due_seconds=None, taken_unix=taken_unix)


def as_recording(source: FrameSource, start_unix: float | None) -> Recording:
    """A source that `open_source` gave, as a recording.

    Args:
        start_unix: When its first picture was taken, wall clock seconds; None: as the file says.

    Raises:
        CameraError: it is none, or cannot be read.
    """
    if isinstance(source, PictureFolder):
        if start_unix is None:
            source = replace(source, time_of=_taken_unix)
        return Recording(source, start_unix or 0.0, len(files_in(source.path)))
    if not isinstance(source, Video) or not Path(source.address).is_file():
        raise CameraError("a recording is a video file or a directory of pictures")
    try:
        with closing(source.open()) as container:
            stream = source.best_stream(container)
            seconds = (container.duration or 0) / av.time_base
            frames = stream.frames or round(seconds * float(stream.average_rate or 0))
            created = container.metadata.get("creation_time", "")
    except (av.error.FFmpegError, OSError) as exc:
        raise source.error(exc) from None
    begin_unix = (
        Path(source.address).stat().st_mtime - seconds if start_unix is None else start_unix
    )
    if start_unix is None:
        with suppress(ValueError):  # it is foreign text, if it is there; 1970 is a clock not set
            begin_unix = datetime.fromisoformat(created).timestamp() or begin_unix
    return Recording(source, begin_unix, frames)


def _taken_unix(path: Path) -> float:
    """When a picture was taken, wall clock seconds; without a zone, in that of this machine."""
    with suppress(Exception), Image.open(path) as picture:  # foreign tags: Pillow raises anything
        exif = picture.getexif().get_ifd(ExifTags.IFD.Exif)
        zone = exif.get(ExifTags.Base.OffsetTimeOriginal, "")
        form = f"%Y:%m:%d %H:%M:%S{'%z' if zone else ''}"
        said = f"{exif[ExifTags.Base.DateTimeOriginal]}{zone}"
        return datetime.strptime(said, form).timestamp()
    return path.stat().st_mtime
