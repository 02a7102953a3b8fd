"""What the sent frames would take as JPEG: a comparison for people, off the hot path.

Exactly the frames that were sent are counted: a picture is offered when it is encoded, measured
when its frame is sent for the first time, and dropped when its frame is lost.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimedge.event import EdgeObserver, JpegMeasured

JPEG_QUALITY = 75  # of Pillow, which is libjpeg's scale; its default subsampling, 4:2:0


def jpeg_size_bytes(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> int:
    """Bytes of a picture (H, W, 3) RGB as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return file.tell()


class JpegMeter:
    """Compresses pictures on a thread of its own and tells the observer their bytes."""

    def __init__(
        self,
        observer: EdgeObserver,
        measure: Callable[[NDArray[np.uint8]], int] = jpeg_size_bytes,
    ) -> None:
        self._observer = observer
        self._measure = measure
        self._offered: dict[int, NDArray[np.uint8]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jpeg")

    def offer(self, sequence: int, image: NDArray[np.uint8]) -> None:
        """Keep a picture until its frame is sent or lost."""
        self._offered[sequence] = image

    def take(self, sequence: int) -> None:
        """The frame was sent: measure its picture, once."""
        image = self._offered.pop(sequence, None)
        if image is not None:
            task = asyncio.create_task(self._report(sequence, image))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def drop(self, sequence: int) -> None:
        """The frame will not be sent."""
        self._offered.pop(sequence, None)

    async def finish(self) -> None:
        """Wait for what is being measured and end the thread."""
        await asyncio.gather(*self._running)
        self._thread.shutdown(wait=False)

    async def _report(self, sequence: int, image: NDArray[np.uint8]) -> None:
        loop = asyncio.get_running_loop()
        size = await loop.run_in_executor(self._thread, self._measure, image)
        self._observer.notify(JpegMeasured(sequence, size))
