"""A frame's containers -> the picture that a person sees, on demand.

base [, enhancement] ─► kept? ─► picture
                     └► pool of threads: slimcloud.chain ─► y_hat ─ g_s ─► x_hat ─► picture
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slimcloud.chain import CodedFrame, DecodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.review.pictures.job_pool import JobPool
from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache
from slimcodec.decode import Latent
from slimcodec.model.artifact import CodecArtifact

_CACHE_BYTES = 128 * 2**20  # about 145 pictures of 640 x 480


class ImageDecoder(Protocol):
    """The part of `slimcloud.chain.ChainDecoder` that is needed here."""

    def decode(self, frame: CodedFrame) -> DecodedFrame: ...

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Origin:
    """What a picture was made from, and what that cost."""

    level: int  # widest level whose channels were used, 0 = narrowest
    quality: float  # 0 = coarsest; fractions lie between
    is_enhanced: bool  # an enhancement container was used
    bitstream_bytes: int  # of the containers used
    decode_seconds: float  # entropy decoding and synthesis


@dataclass(frozen=True)
class DecodedPicture:
    image: NDArray[np.uint8]  # (H, W, 3) RGB, read-only
    origin: Origin


def image_version(
    frame_id: FrameId, base_bytes: int, enhancement_bytes: int, decoder_id: str
) -> str:
    """The name of a frame's picture as stored now, known without its containers.

    A base is written once, and an enhancement gives way to a better one only, so their sizes say
    which picture they give.
    """
    parts = f"{frame_id}|{base_bytes}|{enhancement_bytes}|{decoder_id}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def sharp_quality_of(codec: CodecArtifact) -> float:
    """The quality that a frame is asked for at when a person wants a sharper picture: the finest
    but one, six tenths of the finest's bytes for 1.4 dB less (decision 46); 0, the frame's own,
    where a codec cannot refine.
    """
    return 0.0 if codec.context is None else max(0.0, codec.manifest.qualities - 2.0)


@dataclass(eq=False)
class Reconstructor:
    """Decodes pictures in a bounded pool of threads, each picture once, and keeps the latest.

    For one event loop; only `decoder` is used from the pool's threads and must be safe there.
    """

    decoder: ImageDecoder
    _: KW_ONLY
    decoder_id: str  # of weights and build; a change of either must change it
    num_workers: int = 2  # pictures decoded at the same time
    # jobs that wait; beyond it `BusyError`. At 0.1 to 0.3 s a picture the last waits a few seconds
    max_waiting: int = 16
    on_result: Callable[[CacheResult], None] = lambda _: None  # how each `picture` was answered
    on_decoded: Callable[[float], None] = lambda _: None  # seconds that a picture took

    def __post_init__(self) -> None:
        self.pool = JobPool("reconstruct", self.num_workers, self.max_waiting)
        self._pictures: SingleFlightCache[tuple[bytes, bytes | None], DecodedPicture] = (
            SingleFlightCache(_CACHE_BYTES, lambda picture: picture.image.nbytes, self.on_result)
        )

    async def picture(self, frame: CodedFrame) -> DecodedPicture:
        """The picture of these containers; those of the frame itself name what it needs.

        Raises:
            BusyError: it is not kept and the line is full.
            slimcodec.errors.CodecError: the containers cannot be decoded.
        """
        return await self._pictures.get(
            (frame.base, frame.enhancement), lambda: self.pool.run(lambda: self.decode(frame))
        )

    async def check(self, load: Callable[[], Latent]) -> None:
        """Make a picture of what `load` gives, really, and throw it away; raises what goes wrong.

        It waits in the line like every job and is never refused: a busy pool is able to work.
        """
        await self.pool.run_always(lambda: self.decoder.decode_image(load()))

    def close(self) -> None:
        """Refuse new jobs and wait for those that run."""
        self.pool.close()

    def decode(self, frame: CodedFrame) -> DecodedPicture:
        """The picture of these containers, not kept: for a thread of the pool. Raises as `picture`,
        but for `BusyError`.
        """
        started = time.perf_counter()
        latent = self.decoder.decode(frame).latent
        image = self.decoder.decode_image(latent)
        image.flags.writeable = False
        seconds = time.perf_counter() - started
        self.on_decoded(seconds)
        origin = Origin(
            level=latent.level,
            quality=latent.quality,
            is_enhanced=frame.enhancement is not None,
            bitstream_bytes=len(frame.base) + len(frame.enhancement or b""),
            decode_seconds=seconds,
        )
        return DecodedPicture(image, origin)
