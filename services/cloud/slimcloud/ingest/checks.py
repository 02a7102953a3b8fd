"""Container -> checked frame. All that ingest asks of bytes from outside.

    Frame ─ kind, size ─ CRC32C ─ the decoder's own list (slimcodec.sections) ─► Container

The checksum is the message's, or that of the container where its version has one over all of it.

Symbols are not decoded here: that is the detector's work, and its cost.
"""

from collections.abc import Callable

import google_crc32c

from slimcloud.errors import FrameRefusedError
from slimcloud.store.records import StoredFrame
from slimcodec.container import Container, has_checksum
from slimcodec.model.artifact import CodecArtifact
from slimcodec.sections import check_enhances, parse_for

_WINDOW_US = 60_000_000  # the fastest passage of this long, and of the one before, counts
_NEVER_US = 2**64


class ContainerChecker:
    """Checks containers against one model and the limits of this cloud."""

    def __init__(self, artifact: CodecArtifact, *, max_frame_bytes: int, max_pixels: int) -> None:
        self._artifact = artifact
        self._max_frame_bytes = max_frame_bytes
        self._max_pixels = max_pixels

    def check_base(
        self, bitstream: bytes, crc32c: int, reference_hw: tuple[int, int] | None = None
    ) -> Container:
        """The parsed base container.

        Args:
            crc32c: of the message; 0: it leaves that to the container.
            reference_hw: height and width of the frame that it is said to need; None: of none.

        Raises:
            FrameRefusedError, slimcodec.errors.BitstreamError: what is wrong with it.
        """
        container = self._check(bitstream, crc32c, reference_hw)
        if container.is_enhancement:
            raise FrameRefusedError(
                "HEADER", f"enhancement of group {container.first_group} sent as a frame"
            )
        if reference_hw is not None and not container.is_inter:
            raise FrameRefusedError(
                "HEADER", "the container decodes alone, and the message names a reference"
            )
        return container

    def check_enhancement(self, bitstream: bytes, crc32c: int, base: StoredFrame) -> Container:
        """The parsed enhancement of a stored base; raises as `check_base`."""
        container = self._check(bitstream, crc32c, base.image_hw)
        check_enhances(
            container,
            level=base.level,
            quality=base.quality,
            image_hw=base.image_hw,
            is_inter=bool(base.reference_sequence),
        )
        return container

    def _check(
        self, bitstream: bytes, crc32c: int, image_hw: tuple[int, int] | None = None
    ) -> Container:
        if len(bitstream) > self._max_frame_bytes:
            raise FrameRefusedError(
                "TOO_LARGE",
                f"container of {len(bitstream)} bytes; at most {self._max_frame_bytes} are taken",
            )
        data = bitstream
        if not crc32c and has_checksum(bitstream):
            data, crc32c = bitstream[:-4], int.from_bytes(bitstream[-4:], "little")
        found = google_crc32c.value(data)
        if found != crc32c:
            raise FrameRefusedError(
                "CRC",
                f"container has CRC32C {found:08x}, expected is {crc32c:08x}; send it again",
                retryable=True,
            )
        return parse_for(self._artifact, bitstream, self._max_pixels, image_hw)


class AgeFloor:
    """The least age that a frame can have on arrival, though the two clocks are not in step.

    Of each stream, the frame with the fastest passage is taken to be of age 0. What another took
    longer than that, it must have waited: so no frame is called older than it is, whatever the
    edge's clock says. The fastest passage of the last one to two minutes counts, for clocks drift.
    """

    def __init__(self, clock_mono_us: Callable[[], int]) -> None:
        self._clock_mono_us = clock_mono_us
        self._window_end_us = clock_mono_us() + _WINDOW_US
        self._before = self._now = _NEVER_US  # least passage of the window before, and of this one

    def age_us(self, capture_mono_us: int) -> int:
        """Microseconds, 0 or more, from the edge's monotonic time of capture."""
        arrival_us = self._clock_mono_us()
        if arrival_us >= self._window_end_us:
            self._before, self._now = self._now, _NEVER_US
            self._window_end_us = arrival_us + _WINDOW_US
        passage = arrival_us - capture_mono_us
        self._now = min(self._now, passage)
        return passage - min(self._now, self._before)
