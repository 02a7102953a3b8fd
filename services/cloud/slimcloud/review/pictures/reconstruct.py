"""Base and enhancement containers -> the picture that a person sees, on demand.

    base [, enhancement] ─► version ─► kept? ─► picture
                                    └► pool of threads: strings ─► y_hat ─ g_s ─► x_hat ─► picture

A picture is named by what it was made from: the digest of its containers and the decoder's
identity. The same containers through the same decoder give the same picture, so this name is what
the cache and the HTTP entity tag are keyed by.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache
from slimcodec.decode import Latent

DEFAULT_CACHE_BYTES = 256 * 2**20  # about 290 pictures of 640 x 480
DEFAULT_WORKERS = 2
DEFAULT_MAX_WAITING = (
    16  # at 0.1 to 0.3 s a picture: the last in the line waits a few seconds, no longer
)
MIN_RETRY_AFTER_SECONDS = 1.0
_SECONDS_PER_JOB_WEIGHT = 0.2  # of the newest job in the moving average of job seconds

Result = TypeVar("Result")


class ImageDecoder(Protocol):
    """The part of `slimcodec.decode.Decoder` that is needed here."""

    def decode_latent(self, base: bytes, enhancement: bytes | None = None) -> Latent: ...

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]: ...


class BusyError(Exception):
    """The decode pool and its line are full.

    Attributes:
        retry_after_seconds: how long the line needs at the present pace, seconds, at least 1.
    """

    def __init__(self, waiting: int, retry_after_seconds: float) -> None:
        super().__init__(f"{waiting} pictures are being decoded or wait for it; try again later")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Picture:
    """A decoded picture and what it was made from.

    Attributes:
        image: (H, W, 3) uint8 RGB, read-only.
        version: name of this picture's content, see `picture_version`.
        level: widest level whose channels were used, 0 = narrowest.
        quality: 0 = coarsest; fractions lie between.
        is_enhanced: an enhancement container was used.
        bitstream_bytes: size of the containers used, bytes.
        decode_seconds: entropy decoding and synthesis, seconds.
    """

    image: NDArray[np.uint8]
    version: str
    level: int
    quality: float
    is_enhanced: bool
    bitstream_bytes: int
    decode_seconds: float


def picture_version(decoder_id: str, base: bytes, enhancement: bytes | None) -> str:
    """The name of the picture that these containers give through this decoder, 32 hex digits."""
    digest = hashlib.sha256()
    for part in (decoder_id.encode(), base, enhancement or b""):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]


class Reconstructor:
    """Decodes pictures in a bounded pool of threads, each picture once, and keeps the latest.

    For one event loop; only `decoder` is used from the pool's threads and must be safe there.

    Args:
        decoder: containers -> picture.
        decoder_id: identity of weights and build; a change of either must change it.
        max_cache_bytes: budget of kept pictures, bytes.
        num_workers: pictures decoded at the same time, 1 or more.
        max_waiting: jobs that may wait for a worker; beyond it `BusyError`.
        on_result: called with how each call of `picture` was answered.
        on_decoded: called with the seconds that a picture took.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        decoder: ImageDecoder,
        *,
        decoder_id: str,
        max_cache_bytes: int = DEFAULT_CACHE_BYTES,
        num_workers: int = DEFAULT_WORKERS,
        max_waiting: int = DEFAULT_MAX_WAITING,
        on_result: Callable[[CacheResult], None] = lambda _: None,
        on_decoded: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.decoder_id = decoder_id
        self._decoder = decoder
        self._on_decoded = on_decoded
        self._clock = clock
        self._num_workers = num_workers
        self._max_jobs = num_workers + max_waiting
        self._jobs = 0
        self._job_seconds = 0.0
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="reconstruct")
        self._pictures: SingleFlightCache[str, Picture] = SingleFlightCache(
            max_cache_bytes,
            size_bytes=lambda picture: picture.image.nbytes,
            on_result=on_result,
        )

    def version(self, base: bytes, enhancement: bytes | None) -> str:
        """The name of the picture that `picture` would give, without decoding it."""
        return picture_version(self.decoder_id, base, enhancement)

    async def picture(self, base: bytes, enhancement: bytes | None = None) -> Picture:
        """The picture of these containers.

        Raises:
            BusyError: it is not kept and the line is full.
            slimcodec.errors.CodecError: the containers cannot be decoded.
        """
        version = self.version(base, enhancement)
        return await self._pictures.get(
            version, lambda: self.run(lambda: self._decode(version, base, enhancement))
        )

    async def run(self, job: Callable[[], Result]) -> Result:
        """Run `job` in the pool; encoding a response is such a job, too.

        A job whose caller is cancelled leaves the line; one that runs already is seen through.

        Raises:
            BusyError: the line is full.
        """
        if self._jobs >= self._max_jobs:
            line_seconds = self._jobs * self._job_seconds / self._num_workers
            raise BusyError(self._jobs, max(MIN_RETRY_AFTER_SECONDS, line_seconds))
        loop = asyncio.get_running_loop()
        running = self._pool.submit(self._timed, job)
        self._jobs += 1
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._job_ended))
        result, seconds = await asyncio.wrap_future(running)
        self._job_seconds += _SECONDS_PER_JOB_WEIGHT * (seconds - self._job_seconds)
        return result

    async def check(self, load: Callable[[], Latent]) -> None:
        """Make a picture of what `load` gives, really, and throw it away; raises what goes wrong.

        It waits in the line like every job and is never refused: a busy pool is able to work.
        """
        await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: self._decoder.decode_image(load())
        )

    def close(self) -> None:
        """Refuse new jobs and wait for those that run."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _job_ended(self) -> None:
        self._jobs -= 1

    def _timed(self, job: Callable[[], Result]) -> tuple[Result, float]:
        started = self._clock()
        return job(), self._clock() - started

    def _decode(self, version: str, base: bytes, enhancement: bytes | None) -> Picture:
        started = self._clock()
        latent = self._decoder.decode_latent(base, enhancement)
        image = self._decoder.decode_image(latent)
        image.flags.writeable = False
        seconds = self._clock() - started
        self._on_decoded(seconds)
        return Picture(
            image=image,
            version=version,
            level=latent.level,
            quality=latent.quality,
            is_enhanced=enhancement is not None,
            bitstream_bytes=len(base) + len(enhancement or b""),
            decode_seconds=seconds,
        )
