"""A frame's containers -> a small picture for lists, without a network.

base [, enhancement] ─► kept? ─► JPEG
                     └► one thread: slimcloud.chain ─► y_hat ─ slimcodec.preview ─► JPEG
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from slimcloud.chain import CodedFrame
from slimcloud.review.pictures.job_pool import JobPool
from slimcloud.review.pictures.reconstruct import ImageDecoder
from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache
from slimcodec.preview import Previewer

_QUALITY = 75  # of 100, Pillow's scale; 192 x 144 take about 6 kB
_CACHE_BYTES = 16 * 2**20  # some 2,500 previews
_MAX_WAITING = 256  # previews of a few milliseconds each


@dataclass(eq=False)
class PreviewRenderer:
    """Previews as JPEG, each made once, the latest kept. For one event loop."""

    decoder: ImageDecoder
    previewer: Previewer
    on_result: Callable[[CacheResult], None] = lambda _: None  # how each call was answered

    def __post_init__(self) -> None:
        self._pool = JobPool("preview", num_workers=1, max_waiting=_MAX_WAITING)
        self._kept: SingleFlightCache[tuple[bytes, bytes | None], bytes] = SingleFlightCache(
            _CACHE_BYTES, len, self.on_result
        )

    async def jpeg(self, frame: CodedFrame) -> bytes:
        """The preview of these containers; those of the frame itself name what it needs.

        Raises:
            BusyError: it is not kept and the line is full.
            slimcodec.errors.CodecError: the containers cannot be decoded.
        """
        key = (frame.base, frame.enhancement)
        return await self._kept.get(key, lambda: self._pool.run(lambda: self._make(frame)))

    def close(self) -> None:
        """Refuse new ones and wait for that which is being made."""
        self._pool.close()

    def _make(self, frame: CodedFrame) -> bytes:
        pixels = self.previewer.preview(self.decoder.decode(frame).latent)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "JPEG", quality=_QUALITY)
        return data.getvalue()
