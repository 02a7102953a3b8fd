"""A decoded picture -> the bytes of a response: boxes, scale and format as they were asked for.

containers ─ Reconstructor ─► picture ─► boxes ─► scaled ─► written ─► bytes, kept by entity tag
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcloud.review.pictures.negotiate import ImageFormat
from slimcloud.review.pictures.reconstruct import Picture, Reconstructor
from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache
from slimcodec.detection import Detection
from slimdetect.overlay import draw_detections

LOSSY_QUALITY = 90  # of 100, Pillow's scale: the encoder's own error stays well below the codec's
AVIF_SPEED = 8  # 0 slowest to 10 fastest
PNG_COMPRESS_LEVEL = 3  # 0 to 9: about three times as fast as the default 6, some percent larger
WEBP_METHOD = 2  # 0 fastest to 6


@dataclass(frozen=True)
class Rendering:
    """What to make of a picture.

    Attributes:
        image_format: format of the bytes.
        max_edge: the longer side is at most this, pixels; None keeps the size. Nothing is enlarged.
        overlay: detections to draw; None draws none.
    """

    image_format: ImageFormat
    max_edge: int | None = None
    overlay: tuple[Detection, ...] | None = None

    def etag(self, picture_version: str) -> str:
        """Strong entity tag (RFC 9110, section 8.8.3), with quotes, of a picture rendered so."""
        parts = f"{picture_version}|{self.image_format}|{self.max_edge}|{self.overlay!r}"
        return f'"{hashlib.sha256(parts.encode()).hexdigest()[:32]}"'


@dataclass(frozen=True)
class RenderedImage:
    """The bytes of a response, and the picture that they show.

    Attributes:
        level: widest level that was used, 0 = narrowest.
        decode_seconds: what the picture cost when it was decoded, seconds.
        bitstream_bytes: containers that it was decoded from.
    """

    data: bytes
    level: int
    quality: float
    is_enhanced: bool
    decode_seconds: float
    bitstream_bytes: int


class PictureRenderer:
    """Pictures as response bytes, each rendered once, the latest kept.

    Args:
        reconstructor: decodes, and lends its pool for rendering.
        max_cache_bytes: budget of kept responses, bytes.
        on_result: told how each call was answered.
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        max_cache_bytes: int,
        on_result: Callable[[CacheResult], None] = lambda _: None,
    ) -> None:
        self.reconstructor = reconstructor
        self._responses: SingleFlightCache[str, RenderedImage] = SingleFlightCache(
            max_cache_bytes, size_bytes=lambda rendered: len(rendered.data), on_result=on_result
        )

    async def render(
        self, base: bytes, enhancement: bytes | None, rendering: Rendering
    ) -> RenderedImage:
        """The picture of these containers, rendered; raises as `Reconstructor.picture`."""

        async def compute() -> RenderedImage:
            picture = await self.reconstructor.picture(base, enhancement)
            return await self.reconstructor.run(lambda: self._render(picture, rendering))

        etag = rendering.etag(self.reconstructor.version(base, enhancement))
        return await self._responses.get(etag, compute)

    def _render(self, picture: Picture, rendering: Rendering) -> RenderedImage:
        return RenderedImage(
            data=render_image(picture.image, rendering),
            level=picture.level,
            quality=picture.quality,
            is_enhanced=picture.is_enhanced,
            decode_seconds=picture.decode_seconds,
            bitstream_bytes=picture.bitstream_bytes,
        )


def render_image(image: NDArray[np.uint8], rendering: Rendering) -> bytes:
    """Draw, scale, write.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    if rendering.overlay is not None:
        image = draw_detections(image, rendering.overlay)
    pixels = Image.fromarray(image)
    if rendering.max_edge is not None and max(pixels.size) > rendering.max_edge:
        scale = rendering.max_edge / max(pixels.size)
        size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        pixels = pixels.resize(size, Image.Resampling.LANCZOS)
    return _write(pixels, rendering.image_format)


def _write(pixels: Image.Image, image_format: ImageFormat) -> bytes:
    buffer = io.BytesIO()
    match image_format:
        case ImageFormat.PNG:
            pixels.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
        case ImageFormat.WEBP:
            pixels.save(buffer, "WEBP", quality=LOSSY_QUALITY, method=WEBP_METHOD)
        case ImageFormat.JPEG:
            pixels.save(buffer, "JPEG", quality=LOSSY_QUALITY)
        case ImageFormat.AVIF:
            pixels.save(buffer, "AVIF", quality=LOSSY_QUALITY, speed=AVIF_SPEED)
    return buffer.getvalue()
