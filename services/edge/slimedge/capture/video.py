"""Video of a file, a network or a device -> upright pictures with square pixels.

packets of the best stream ─decode─> frame ─upright─> Picture, at its own time
                                       └─ damaged ──> told, and dropped
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from itertools import count
from typing import ClassVar, TypeAlias, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from slimedge.errors import CameraError, CameraLostError, CameraRefusedError
from slimops.address import without_passwords

logger = logging.getLogger(__name__)

_FALLBACK_FPS = 25.0  # of a file without timestamps
_LONGEST_STEP_SECONDS = 5.0  # between two frames of a file; a longer one is a jump of its clock
_LARGEST_ASPECT = 4  # of a pixel, either way; beyond it the file errs

Tell: TypeAlias = Callable[[str], None]  # takes why a picture was passed over


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a source."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    due_seconds: float | None  # after the first picture; None: it is due now
    taken_unix: float | None = None  # of a recording: wall clock, seconds; None: it is taken now


@dataclass(frozen=True, slots=True)
class Video:
    """Something that FFmpeg plays."""

    address: str
    file_format: str | None = None  # None: it is found out
    options: Mapping[str, str] = field(default_factory=dict)  # of FFmpeg
    _: KW_ONLY
    is_live: bool = False  # a network camera or a device: its pictures are due when they come
    again_seconds: float | None = None  # it gives one picture; the next one is asked for then
    timeout_seconds: float = 5.0  # a camera that is silent for so long is lost
    keep_damaged: bool = False  # show pictures that the decoder knows to be damaged
    waits: ClassVar[bool] = False
    _jumps: Iterator[int] = field(default_factory=count, repr=False, compare=False)

    def pictures(self, tell: Tell = logger.warning) -> Iterator[Picture]:
        """As `slimedge.capture.source.FrameSource` says."""
        found = False
        try:
            for picture in self._play(tell):
                found = True
                yield picture
                if self.again_seconds is not None:
                    return
        except (av.error.FFmpegError, OSError) as exc:
            raise self.error(exc) from None  # neither told nor traced: it repeats the address
        if self.is_live:
            raise CameraLostError(f"{self.name}: the camera ended its stream")
        if not found:
            raise CameraError(f"{self.name}: none of its pictures can be decoded")

    @property
    def name(self) -> str:
        """The address as it may be told."""
        return without_passwords(self.address)

    def error(self, error: av.error.FFmpegError | OSError) -> CameraError:
        """What an error of FFmpeg means for this source."""
        reason = error.strerror or str(error)
        if isinstance(error, av.error.ExitError):  # "Immediate exit requested"
            reason = f"no answer for {self.timeout_seconds:g} s"
        if not self.is_live:
            return CameraError(f"{self.name}: cannot be played: {reason}")
        if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
            return CameraRefusedError(f"{self.name}: {reason}; check user and password")
        return CameraLostError(f"{self.name}: {reason}")

    def open(self) -> InputContainer:
        """Open it with FFmpeg; to be closed."""
        return av.open(
            self.address,
            format=self.file_format,
            options=dict(self.options),
            timeout=self.timeout_seconds,
        )

    def _play(self, tell: Tell) -> Iterator[Picture]:
        with closing(self.open()) as container:
            stream = self.best_stream(container)
            times = _Times(1 / float(stream.average_rate or _FALLBACK_FPS), self.name, self._jumps)
            # HLS comes in segments of some seconds
            is_paced = not self.is_live or container.format.name == "hls"
            for frame in self._decode(container, stream, tell):
                image = _upright(frame, float(stream.sample_aspect_ratio or 1))
                said = None if frame.pts is None else frame.time
                yield Picture(image, times.due(said) if is_paced else None)

    def best_stream(self, container: InputContainer) -> VideoStream:
        """The largest, and no cover picture; the others are not even read."""
        covers = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if not s.disposition & covers]
        if not streams:
            raise CameraError(f"{self.name}: has no video stream")
        best = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
        for stream in container.streams:
            stream.discard = Discard.default if stream is best else Discard.all
        return best

    def _decode(
        self, container: InputContainer, stream: VideoStream, tell: Tell
    ) -> Iterator[av.VideoFrame]:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # damaged on its way: the next ones may be whole
                tell("damaged on its way, cannot be decoded")
                continue
            for frame in frames:
                if frame.is_corrupt and not self.keep_damaged:
                    tell("damaged on its way")
                else:
                    yield frame


@dataclass(slots=True)
class _Times:
    """When the frames of a file are due; where its clock jumps, a frame's time goes by."""

    frame_seconds: float
    name: str
    jumps: Iterator[int]  # counts those of every time that it is played; the first is told
    _last: float | None = None  # as the file says
    _due: float = 0.0

    def due(self, seconds: float | None) -> float:
        """Seconds after the first frame, for the time that the file says, if it says one."""
        step = 0.0 if self._last is None else self.frame_seconds
        if self._last is not None and seconds is not None:
            said = seconds - self._last
            if 0 <= said <= max(_LONGEST_STEP_SECONDS, 2 * self.frame_seconds):
                step = said
            else:
                logger.log(
                    logging.DEBUG if next(self.jumps) else logging.WARNING,
                    "%s: its clock jumps from %.1f to %.1f s, which is bridged",
                    *(self.name, self._last, seconds),
                )
        self._last = (self._last or 0.0) + step if seconds is None else seconds
        self._due += step
        return self._due


def _upright(frame: av.VideoFrame, aspect: float) -> NDArray[np.uint8]:
    """The picture of a frame as it is to be seen.

    Args:
        aspect: of a pixel, width over height; the shorter side is stretched.

    Source: the display matrix [a b u; c d v; x y w] takes (p, q) to (a p + c q, b p + d q);
    libavutil/display.h.
    """
    w, h = frame.width, frame.height
    if 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT:
        w, h = round(w * max(aspect, 1)), round(h / min(aspect, 1))
    image = frame.to_ndarray(format="rgb24", width=w, height=h).astype(np.uint8, copy=False)
    # frame.side_data would keep the frame, and FFmpeg's threads of it, until garbage is collected
    side_data = SideDataContainer(frame)  # type: ignore[call-arg]  # its stub lacks the constructor
    matrix = cast(bytes | None, side_data.get("DISPLAYMATRIX"))
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(matrix, np.int32, 5).tolist()
        if abs(a) < abs(b):
            image, a, d = image.transpose(1, 0, 2), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
