"""A decoded picture -> the bytes of a response: boxes, scale and format as they were asked for.

containers ─ Reconstructor ─► picture ─► boxes ─► scaled ─► written ─► bytes, the latest kept

Source of the format's choice: RFC 9110, section 12.5.1 (Accept) and 12.4.2 (quality values).
"""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from slimcloud.chain import CodedFrame
from slimcloud.review.pictures.reconstruct import DecodedPicture, Origin, Reconstructor
from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache
from slimcodec.detection import Detection
from slimdetect.overlay import draw_detections

LOSSY_QUALITY = 90  # of 100, Pillow's scale: the encoder's own error stays well below the codec's
_CACHE_BYTES = 64 * 2**20  # of kept responses
_WEIGHT = re.compile(r"0(\.\d*)?|1(\.0*)?")


class ImageFormat(StrEnum):
    """A format that pictures are served in; the value is its media type.

    Of formats that a client names with the same weight it gets the first of these. At 640 x 480,
    quality 90: WebP 49 kB, PNG 425 kB, AVIF 67 kB in twice the time, JPEG 69 kB.
    """

    WEBP = "image/webp"
    PNG = "image/png"
    AVIF = "image/avif"
    JPEG = "image/jpeg"


_SAVE_OPTIONS = {
    ImageFormat.WEBP: {"quality": LOSSY_QUALITY, "method": 2},  # 0 fastest to 6
    # 0 to 9: about three times as fast as the default 6, some percent larger
    ImageFormat.PNG: {"compress_level": 3},
    ImageFormat.AVIF: {"quality": LOSSY_QUALITY, "speed": 8},  # 0 slowest to 10 fastest
    ImageFormat.JPEG: {"quality": LOSSY_QUALITY},
}


def choose_format(accept: str | None) -> ImageFormat | None:
    """The best format for this `Accept` header; None if no format of ours is acceptable.

    The highest weight wins; among equals, a format that the client names wins over one that only a
    wildcard covers, and of those PNG: nothing of the decoded picture is lost. No header is the same
    as `*/*`. Ranges that cannot be read are passed over.
    """
    weights = _weights(accept) if accept and accept.strip() else {"*/*": 1.0}

    def preference(image_format: ImageFormat) -> tuple[float, bool, bool]:
        ranges = (image_format.value, "image/*", "*/*")  # the most specific that is given counts
        weight = next((weights[given] for given in ranges if given in weights), 0.0)
        is_named = image_format.value in weights
        return weight, is_named, not is_named and image_format is ImageFormat.PNG

    best = max(ImageFormat, key=preference)
    return best if preference(best)[0] > 0 else None


def _weights(accept: str) -> dict[str, float]:
    """The media ranges of a header with their weights, 0 (not acceptable) to 1."""
    weights = {}
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        if _WEIGHT.fullmatch(weight):
            weights[media_range] = float(weight)
    return weights


@dataclass(frozen=True)
class Rendering:
    """What to make of a picture."""

    image_format: ImageFormat
    # the longer side is at most this, pixels; None keeps the size. Nothing is enlarged
    max_edge: int | None = None
    overlay: tuple[Detection, ...] | None = None  # detections to draw; None draws none

    def etag(self, picture_version: str) -> str:
        """Strong entity tag (RFC 9110, section 8.8.3), with quotes, of a picture rendered so."""
        parts = f"{picture_version}|{self.image_format}|{self.max_edge}|{self.overlay!r}"
        return f'"{hashlib.sha256(parts.encode()).hexdigest()[:32]}"'


@dataclass(frozen=True)
class RenderedImage:
    """The bytes of a response, and the origin of the picture that they show."""

    data: bytes
    origin: Origin


@dataclass(eq=False)
class PictureRenderer:
    """Pictures as response bytes, each rendered once, the latest kept."""

    reconstructor: Reconstructor  # decodes, and lends its pool for rendering
    on_result: Callable[[CacheResult], None] = lambda _: None  # how each call was answered

    def __post_init__(self) -> None:
        self._responses: SingleFlightCache[tuple[bytes, bytes | None, Rendering], RenderedImage] = (
            SingleFlightCache(_CACHE_BYTES, lambda rendered: len(rendered.data), self.on_result)
        )

    async def render(self, frame: CodedFrame, rendering: Rendering) -> RenderedImage:
        """The picture of these containers, rendered; raises as `Reconstructor.picture`."""

        async def compute() -> RenderedImage:
            picture = await self.reconstructor.picture(frame)
            return await self.reconstructor.pool.run(lambda: _render(picture, rendering))

        key = (frame.base, frame.enhancement, rendering)
        return await self._responses.get(key, compute)


def _render(picture: DecodedPicture, rendering: Rendering) -> RenderedImage:
    image = picture.image  # (H, W, 3) uint8 RGB
    if rendering.overlay is not None:
        image = draw_detections(image, rendering.overlay)
    pixels = Image.fromarray(image)
    if rendering.max_edge is not None and max(pixels.size) > rendering.max_edge:
        scale = rendering.max_edge / max(pixels.size)
        size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        pixels = pixels.resize(size, Image.Resampling.LANCZOS)
    return RenderedImage(encode_image(pixels, rendering.image_format), picture.origin)


def encode_image(pixels: Image.Image, image_format: ImageFormat) -> bytes:
    """A picture as a file of this format."""
    data = io.BytesIO()
    pixels.save(data, image_format.name, **_SAVE_OPTIONS[image_format])
    return data.getvalue()
