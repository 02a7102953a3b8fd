"""Image -> container bytes, on one worker thread.

    image -max_edge-> image -g_a-> y -gain, round-> symbols -entropy coder-> container

One thread: the graphs use all cores that they are given, so a second one would only make both
slower. An enhancement therefore waits behind at most one frame, and one frame behind it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.encode import EncodedImage, Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A container, the picture that it holds, and what it took."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB, after `max_edge`
    encoded: EncodedImage
    seconds: float  # scaling and encoding


class EncodeWorker:
    """Runs an encoder beside the event loop; `close` it."""

    def __init__(
        self, encoder: Encoder, max_edge: int | None, max_pixels: Callable[[], int] = lambda: 0
    ) -> None:
        self._encoder = encoder
        self._max_edge = max_edge
        self._max_pixels = max_pixels  # that the cloud takes; 0: it has not said
        self._has_warned = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    async def encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        """Scale the picture down to `max_edge` and encode it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encode, image, level, quality)

    async def enhance(
        self, image: NDArray[np.uint8], base: bytes, level: int | None = None
    ) -> EncodedImage:
        """Encode the channels that a base did not carry, up to a level; None: the widest."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encoder.enhance, image, base, level)

    async def close(self) -> None:
        """End the thread after what it is doing; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        start = time.perf_counter()
        limit = self._max_pixels()
        scaled = shrink(image, self._max_edge, limit)
        h, w = scaled_hw((image.shape[0], image.shape[1]), self._max_edge)
        if 0 < limit < h * w and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "pictures of %d x %d are scaled down to the %d pixels that the cloud takes; "
                "EDGE_MAX_EDGE makes them smaller",
                *(w, h, limit),
            )
        encoded = self._encoder.encode(scaled, level, quality)
        return EncodedFrame(scaled, encoded, time.perf_counter() - start)


def shrink(
    image: NDArray[np.uint8], max_edge: int | None, max_pixels: int = 0
) -> NDArray[np.uint8]:
    """Scale a picture (H, W, 3) down until no side is longer than `max_edge` pixels, and it has
    `max_pixels` at most; None and 0: no limit.
    """
    height, width = scaled_hw((image.shape[0], image.shape[1]), max_edge, max_pixels)
    if (height, width) == image.shape[:2]:
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def scaled_hw(
    image_hw: tuple[int, int], max_edge: int | None, max_pixels: int = 0
) -> tuple[int, int]:
    """Height and width, pixels, of a picture of this size after `shrink`."""
    height, width = image_hw
    scale = 1.0 if max_edge is None else min(1.0, max_edge / max(height, width))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    if not 0 < max_pixels < height * width:
        return height, width
    scale = math.sqrt(max_pixels / (height * width))
    return max(1, int(height * scale)), max(1, int(width * scale))
