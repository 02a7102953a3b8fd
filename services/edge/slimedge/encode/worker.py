"""Image -> container bytes, on the process's one encoder thread.

    image -max_edge-> image -g_a-> y -gain, round-> symbols -entropy coder-> container
                       symbols of a frame that the cloud has ──────┘

A frame that goes now refers to one of which PERSISTED was heard. One that is kept for later refers
to one that was kept before it, and is sent after it: an outage may last longer than the cloud keeps
anything. So there are two sequences of references, each with its keys.

One thread: the graphs use all cores that they are given, so a second one would only make both
slower. An enhancement therefore waits behind at most one frame, and one frame behind it. What the
cloud has is told to the same thread, in its turn.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.encode import EncodedImage, Encoder
from slimcodec.errors import ImageError
from slimcodec.sequence import KEY_SECONDS, SentFrame, SequenceEncoder
from slimcodec.symbols import FrameSymbols

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Of frames of which it is not known whether the cloud has them; older ones are never referred to.
MAX_UNANSWERED = 32
MAX_UNANSWERED_BYTES = 32 * 2**20  # of their symbols


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A container, the picture that it holds, and what it took."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB, after `max_edge`
    encoded: EncodedImage
    seconds: float  # scaling and encoding
    sent: SentFrame | None = None  # of a frame that others may refer to


class EncodeWorker:
    """Runs an encoder beside the event loop, for one camera.

    Args:
        thread: Of one worker; others may use it, too.
    """

    def __init__(
        self,
        encoder: Encoder,
        max_edge: int | None,
        max_pixels: Callable[[], int] = lambda: 0,
        key_seconds: float = KEY_SECONDS,
        max_unanswered_bytes: int = MAX_UNANSWERED_BYTES,
        *,
        thread: Executor,
    ) -> None:
        self._encoder = encoder
        self._live = SequenceEncoder(encoder, 0, 0, key_seconds, max_depth=0)
        self._kept = SequenceEncoder(encoder, 0, 0, key_seconds, max_depth=0)
        self._unanswered: dict[int, SentFrame] = {}  # by number, the newest last
        self._max_unanswered_bytes = max_unanswered_bytes
        self._max_edge = max_edge
        self._max_pixels = max_pixels  # that the cloud takes; 0: it has not said
        self._has_warned = False
        self._thread = thread

    async def encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        """Scale the picture down to `max_edge` and encode it, for itself and no other."""
        return await self._on_thread(self._encode, image, level, quality)

    async def encode_next(
        self,
        image: NDArray[np.uint8],
        point: tuple[int, float],
        seconds: float,
        number: int,
        max_depth: int,
        *,
        for_later: bool = False,
    ) -> EncodedFrame:
        """Scale and encode the camera's next picture, with a reference if it may have one.

        Args:
            point: Level and quality.
            seconds: When it was taken, monotonic.
            number: Its sequence on the wire.
            max_depth: Frames that may have to be decoded before it; 0: it is coded alone.
            for_later: It is kept: it refers to what was kept, and not to what the cloud has.
        """
        arguments = image, point, seconds, number, max_depth, for_later
        return await self._on_thread(self._encode_next, *arguments)

    async def enhance(
        self,
        image: NDArray[np.uint8],
        base: bytes,
        held: FrameSymbols | None = None,
        level: int | None = None,
        quality: float = 0.0,
    ) -> EncodedImage:
        """Encode what a base lacks up to a level, None being the widest, and a quality; without
        `held`, what the cloud has of it, only channels at its own.
        """
        return await self._on_thread(self._enhance, image, base, held, level, quality)

    def is_key_due(self, seconds: float) -> bool:
        """Whether a picture that was taken then and goes now is a key, if any are."""
        return self._live.is_key_due(seconds)

    @property
    def will_refer(self) -> bool:
        """Whether the next picture may refer to another, as far as it is known yet."""
        return self._live.will_refer

    def answered(self, number: int, *, is_stored: bool) -> None:
        """The cloud has a frame now, and it may be named; or it never will."""
        self._do(self._answer, number, is_stored)

    def forget(self) -> None:
        """The cloud may have none of the frames so far: the next is coded alone."""
        self._do(self._live.forget)
        self.forget_kept()

    def forget_kept(self) -> None:
        """Frames that were kept may be lost: the next one that is kept is coded alone."""
        self._do(self._kept.forget)

    async def _on_thread(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        context = copy_context()  # which camera's the log is
        return await loop.run_in_executor(self._thread, context.run, work, *arguments)

    def _do(self, work: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # it is closed: nothing is encoded any more
            self._thread.submit(work, *arguments)

    def _answer(self, number: int, is_stored: bool) -> None:
        sent = self._unanswered.pop(number, None)
        if sent is not None:
            (self._live.received if is_stored else self._live.lost)(sent)

    def _encode(self, image: NDArray[np.uint8], level: int, quality: float) -> EncodedFrame:
        start = time.perf_counter()
        scaled = self._scale(image)
        encoded = self._encoder.encode(scaled, level, quality)
        return EncodedFrame(scaled, encoded, time.perf_counter() - start)

    def _enhance(
        self,
        image: NDArray[np.uint8],
        base: bytes,
        held: FrameSymbols | None,
        level: int | None,
        quality: float,
    ) -> EncodedImage:
        if held is None:
            return self._encoder.enhance(image, base, level)
        if held.depth == 0 and quality <= held.quality:
            with suppress(ImageError):  # what JPEG changed is much of what noise is coded as
                return self._encoder.enhance(image, base, level)  # fewer bytes
        return self._encoder.refine(image, held, level, quality)

    def _encode_next(
        self,
        image: NDArray[np.uint8],
        point: tuple[int, float],
        seconds: float,
        number: int,
        max_depth: int,
        for_later: bool,
    ) -> EncodedFrame:
        start = time.perf_counter()
        scaled, sequence = self._scale(image), self._kept if for_later else self._live
        sequence.level, sequence.quality = point
        sequence.max_depth = max_depth
        sent = sequence.encode(scaled, seconds, number)
        if for_later:
            self._kept.received(sent)  # should it be lost, `forget_kept` comes
        else:
            self._unanswered[number] = sent
            self._forget_oldest()
        return EncodedFrame(scaled, sent.encoded, time.perf_counter() - start, sent)

    def _forget_oldest(self) -> None:
        """Keep what is not answered within its bounds, the newest frame at least."""
        kept_bytes, newest_first = 0, list(reversed(self._unanswered.items()))
        for index, (number, sent) in enumerate(newest_first):
            symbols = sent.encoded.symbols
            kept_bytes += 0 if symbols is None else symbols.symbols.nbytes
            is_beyond = index >= MAX_UNANSWERED or kept_bytes > self._max_unanswered_bytes
            if index and is_beyond:
                del self._unanswered[number]

    def _scale(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
        return scaled


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
