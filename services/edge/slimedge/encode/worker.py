"""Image -> container bytes, on one worker thread.

    image -max_edge-> image -g_a-> y -gain, round-> symbols -entropy coder-> container

One thread: the graphs use all cores that they are given, so a second one would only make both
slower. An enhancement therefore waits behind at most one frame, and one frame behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.encode import EncodedImage

T = TypeVar("T")


class FrameEncoder(Protocol):
    """What `slimcodec.encode.Encoder` does for the edge."""

    def encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedImage: ...

    def enhance(
        self, image: NDArray[np.uint8], base: bytes, level: int | None = None
    ) -> EncodedImage: ...


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A container, the picture that it holds, and what it took."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB, after `max_edge`
    encoded: EncodedImage
    seconds: float  # scaling and encoding


class EncodeWorker:
    """Runs an encoder beside the event loop; `close` it."""

    def __init__(self, encoder: FrameEncoder, max_edge: int | None) -> None:
        self._encoder = encoder
        self._max_edge = max_edge
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    async def encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        """Scale the picture down to `max_edge` and encode it."""
        return await self._run(lambda: self._encode(image, level, quality))

    async def enhance(
        self, image: NDArray[np.uint8], base: bytes, level: int | None = None
    ) -> EncodedImage:
        """Encode the channels that a base did not carry, up to a level; None: the widest."""
        return await self._run(lambda: self._encoder.enhance(image, base, level))

    async def close(self) -> None:
        """End the thread after what it is doing; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        start = time.perf_counter()
        scaled = shrink(image, self._max_edge)
        encoded = self._encoder.encode(scaled, level, quality)
        return EncodedFrame(scaled, encoded, time.perf_counter() - start)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def shrink(image: NDArray[np.uint8], max_edge: int | None) -> NDArray[np.uint8]:
    """Scale a picture (H, W, 3) down so that no side is longer than `max_edge` pixels."""
    height, width = image.shape[:2]
    if max_edge is None or max(height, width) <= max_edge:
        return image
    scale = max_edge / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def scaled_pixels(image_hw: tuple[int, int], max_edge: int | None) -> int:
    """Pixels of a picture of this size after `shrink`, to within rounding."""
    height, width = image_hw
    scale = 1.0 if max_edge is None else min(1.0, max_edge / max(height, width))
    return max(1, round(height * scale)) * max(1, round(width * scale))
