"""Frames -> one file, made while it is sent: a ZIP of pictures with their boxes, or a film.

    frames, oldest first ─ one at a time, in the pool of the pictures ─► picture ─► file ─► bytes

Nothing is kept: neither the pictures, which would push out those that people look at, nor the file.
"""

import asyncio
import json
import logging
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcloud.chain import CodedFrame
from slimcloud.review.pictures.reconstruct import Reconstructor
from slimcloud.review.pictures.render import ImageFormat, encode_image
from slimcodec.detection import Detection
from slimcodec.errors import CodecError
from slimdetect.overlay import draw_detections

logger = logging.getLogger(__name__)

_MILLISECOND = Fraction(1, 1000)
_GROUP_FRAMES = 25  # of a film: it is sent, and can be shown from, once in so many frames
# At quality 20 of 51 the film adds little to the codec's own error
_X264_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "threads": "1"}


@dataclass(frozen=True, slots=True)
class ExportFrame:
    """One frame of an export."""

    name: str  # of its picture, without the ending
    captured_us: int
    coded: CodedFrame | None  # None: it is gone
    facts: Mapping[str, Any]  # as JSON
    boxes: Sequence[Detection] = ()  # to draw


class ExportFile:
    """A file that grows by pictures; what was written is taken from it piece by piece, so nobody
    can seek in it.
    """

    def __init__(self) -> None:
        self._written = bytearray()

    def add(self, frame: ExportFrame, image: NDArray[np.uint8] | None) -> None:
        """Append the picture of a frame, (H, W, 3) RGB; None: there is none to be had."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing follows."""
        raise NotImplementedError

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self._written)
        self._written.clear()
        return taken

    def write(self, data: bytes) -> int:
        """For the library that writes the file."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """For the same: there is nothing to do."""


async def export(
    frames: AsyncIterator[ExportFrame], file: ExportFile, reconstructor: Reconstructor
) -> AsyncIterator[bytes]:
    """The pieces of `file` with these frames.

    It has one thread of the pool at most, and waits in its line like everybody. A frame that cannot
    be decoded is left out.
    """

    def add(frame: ExportFrame) -> None:
        image = None
        if frame.coded is not None:
            try:
                image = draw_detections(reconstructor.decode(frame.coded).image, frame.boxes)
            except CodecError as exc:
                logger.warning("frame %s is left out of an export: %s", frame.name, exc)
        file.add(frame, image)

    async for frame in frames:
        adding = asyncio.ensure_future(reconstructor.pool.run_always(partial(add, frame)))
        try:
            await asyncio.shield(adding)
        except asyncio.CancelledError:  # a job that runs is seen through: it has the file
            await asyncio.wait({adding})
            raise
        if piece := file.take():
            yield piece
    await reconstructor.pool.run_always(file.end)
    yield file.take()


class ZipExport(ExportFile):
    """Pictures, and `frames.json` as the last: what is known of each, with its boxes.

    Args:
        facts: of the whole, beside `frames`.
    """

    def __init__(self, image_format: ImageFormat, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self._image_format = image_format
        self._facts = dict(facts)
        self._frames: list[dict[str, Any]] = []
        self._archive = zipfile.ZipFile(self, "w")  # type: ignore[call-overload]  # it only writes

    def add(self, frame: ExportFrame, image: NDArray[np.uint8] | None) -> None:
        name = None
        if image is not None:
            name = f"{frame.name}.{self._image_format.name.lower()}"
            self._archive.writestr(name, encode_image(Image.fromarray(image), self._image_format))
        self._frames.append({"file": name, **frame.facts})

    def end(self) -> None:
        document = json.dumps({**self._facts, "frames": self._frames}, indent=1)
        self._archive.writestr("frames.json", document, zipfile.ZIP_DEFLATED)
        self._archive.close()


class FilmExport(ExportFile):
    """H.264 in a fragmented MP4; each picture is shown until the next was captured.

    A picture of another size than the first is scaled to it; odd sides lose their last pixel.

    Raises:
        ModuleNotFoundError: PyAV, the extra "film", is not installed.
    """

    def __init__(self) -> None:
        import av

        super().__init__()
        self._av = av
        fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self._film = av.open(self, "w", format="mp4", options=fragmented)
        self._stream = self._film.add_stream("libx264", options=_X264_OPTIONS)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _MILLISECOND
        self._stream.codec_context.gop_size = _GROUP_FRAMES
        self._begin_us: int | None = None
        self._last = -1  # milliseconds

    def add(self, frame: ExportFrame, image: NDArray[np.uint8] | None) -> None:
        if image is None:
            return
        h, w = (max(2, side - side % 2) for side in image.shape[:2])
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:h, :w]), "rgb24")
        if self._begin_us is None:
            self._begin_us = frame.captured_us
            self._stream.height, self._stream.width = h, w
        elif (self._stream.height, self._stream.width) != (h, w):
            picture = picture.reformat(self._stream.width, self._stream.height)
        self._last = max(self._last + 1, (frame.captured_us - self._begin_us) // 1000)
        picture.pts, picture.time_base = self._last, _MILLISECOND
        self._film.mux(self._stream.encode(picture))

    def end(self) -> None:
        if self._begin_us is not None:
            self._film.mux(self._stream.encode(None))
        self._film.close()
