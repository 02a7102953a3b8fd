"""The last pictures that were sent, compressed: for people who want them sharper.

    KeptFrame ─► one thread: JPEG, deflated symbols ─► memory, or a file each
    sequence  ─► the same thread ─► KeptFrame

Bounded by bytes and frames; the oldest leave first. A restart forgets them: the cloud does not ask
for frames of an earlier start.
"""

import asyncio
import io
import logging
import shutil
import threading
import zlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slimcodec.symbols import FrameSymbols
from slimops.logs import LOG_CAMERA

logger = logging.getLogger(__name__)

# Of 100, Pillow's scale. 768 x 576: 113 kB and 2.9 ms on six cameras; a picture refined from it
# loses 0.1 dB (0.15 at most). 80: 79 kB and 0.26 dB; WebP 90: 89 kB, 0.17 dB, 32 ms.
_JPEG_QUALITY = 90
_MAX_WAITING = 8  # frames that are not compressed yet; the oldest is given up beyond it


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """What an enhancement is made from: the picture, the base that was sent, and what the cloud
    holds of the picture then.
    """

    sequence: int
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    base: bytes
    held: FrameSymbols | None = None  # with the context prior


@dataclass(frozen=True, slots=True)
class _Packed:
    data: bytes | None  # None: it is in its file
    size_bytes: int
    seconds: float  # of its capture


class Originals:
    """Keeps frames and gives them back; `close` it. For one event loop.

    Args:
        folder: For files, emptied at the start and at the end; None: in memory.
    """

    def __init__(self, max_frames: int, max_bytes: int, folder: Path | None = None) -> None:
        self._max_frames, self._max_bytes, self._folder = max_frames, max_bytes, folder
        self._waiting: OrderedDict[int, KeptFrame] = OrderedDict()
        self._packed: OrderedDict[int, _Packed] = OrderedDict()
        self._lock = threading.Lock()  # of both
        self._has_warned = False
        self.size_bytes = 0
        self._thread = ThreadPoolExecutor(1, "originals", LOG_CAMERA.set, (LOG_CAMERA.get(),))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, frame: KeptFrame, seconds: float) -> None:
        """Keep the newest frame, captured at some monotonic seconds; returns at once."""
        with self._lock:
            self._waiting[frame.sequence] = frame
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.popitem(last=False)
        with suppress(RuntimeError):  # it is closed
            self._thread.submit(self._pack, frame, seconds)

    async def get(self, sequence: int) -> KeptFrame | None:
        """The frame with this sequence, its picture as `pack` leaves it; None if it has left, never
        was, or cannot be read any more.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._find, sequence)

    @property
    def oldest(self) -> int | None:
        """Sequence of the oldest kept frame."""
        with self._lock:
            return next(iter(self._packed), None)

    @property
    def seconds(self) -> float:
        """For how long a frame will be kept, as things go; 0 while that is not known."""
        with self._lock:
            if len(self._packed) < 2:
                return 0.0
            kept = self._packed.values()
            oldest, newest, count = next(iter(kept)), next(reversed(kept)), len(kept)
            full = max(self.size_bytes / self._max_bytes, count / self._max_frames)
            # the next one may not fit any more, so it is full a frame before
            return (newest.seconds - oldest.seconds) / min(1.0, full * (count + 1) / count)

    def close(self) -> None:
        """End the thread after what it is doing, and forget all."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _pack(self, frame: KeptFrame, seconds: float) -> None:
        with self._lock:
            if frame.sequence not in self._waiting:
                return
        data = pack(frame)
        with self._lock:
            del self._waiting[frame.sequence]
        if len(data) > self._max_bytes or not self._write(frame.sequence, data):
            return
        with self._lock:
            kept = data if self._folder is None else None
            self._packed[frame.sequence] = _Packed(kept, len(data), seconds)
            self.size_bytes += len(data)
            leaving = []
            while len(self._packed) > self._max_frames or self.size_bytes > self._max_bytes:
                sequence, oldest = self._packed.popitem(last=False)
                self.size_bytes -= oldest.size_bytes
                leaving.append(sequence)
        if self._folder is not None:
            for sequence in leaving:
                self._path(sequence).unlink(missing_ok=True)

    def _write(self, sequence: int, data: bytes) -> bool:
        if self._folder is None:
            return True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path(sequence).write_bytes(data)
        except OSError as exc:
            with suppress(OSError):
                self._path(sequence).unlink(missing_ok=True)
            if not self._has_warned:
                self._has_warned = True
                logger.warning("originals are not kept: %s; frames cannot be made sharper", exc)
            return False
        return True

    def _find(self, sequence: int) -> KeptFrame | None:
        with self._lock:
            waiting, packed = self._waiting.get(sequence), self._packed.get(sequence)
        if waiting is not None:
            return waiting
        if packed is None:
            return None
        try:
            return unpack(self._path(sequence).read_bytes() if packed.data is None else packed.data)
        except (OSError, ValueError, KeyError, zlib.error, BadZipFile) as exc:
            logger.warning("original of frame %d cannot be read: %s", sequence, exc)
            return None

    def _path(self, sequence: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{sequence}.npz"


def pack(frame: KeptFrame) -> bytes:
    """A frame as bytes. Its picture loses a little where its symbols come with it; else an encoder
    would take it for another than its base was made of, and it loses nothing: 380 kB, 27 ms.
    """
    picture, packed = io.BytesIO(), io.BytesIO()
    arrays: dict[str, NDArray[np.generic]] = {}
    if (held := frame.held) is None:
        Image.fromarray(frame.image).save(picture, "WEBP", lossless=True, quality=0, method=0)
    else:
        Image.fromarray(frame.image).save(picture, "JPEG", quality=_JPEG_QUALITY)
        arrays = {
            "fingerprint": np.frombuffer(held.fingerprint, np.uint8),
            "image_hw": np.array(held.image_hw),
            "symbols": np.frombuffer(_deflate(held.symbols), np.uint8),
            "levels": held.levels,
            "qualities": held.qualities,
            "changed": held.changed,
            "depth": np.array(held.depth),
        }
    np.savez(
        packed,
        sequence=np.array(frame.sequence),
        image=np.frombuffer(picture.getbuffer(), np.uint8),
        base=np.frombuffer(frame.base, np.uint8),
        **arrays,
    )
    return packed.getvalue()


def unpack(data: bytes) -> KeptFrame:
    """The frame of such bytes.

    Raises:
        ValueError, KeyError, OSError, zlib.error, BadZipFile: they are others.
    """
    with np.load(io.BytesIO(data)) as file:
        image = np.asarray(Image.open(io.BytesIO(file["image"].tobytes())))
        held = None
        if "symbols" in file:
            levels = file["levels"]
            symbols = _inflate(file["symbols"].tobytes())
            h, w = (int(side) for side in file["image_hw"])
            held = FrameSymbols(
                fingerprint=file["fingerprint"].tobytes(),
                image_hw=(h, w),
                symbols=symbols.reshape(*levels.shape, -1),
                levels=levels,
                qualities=file["qualities"],
                changed=file["changed"],
                depth=int(file["depth"]),
            )
        return KeptFrame(int(file["sequence"]), image, file["base"].tobytes(), held)


def _deflate(symbols: NDArray[np.int16]) -> bytes:
    """Symbols of 768 x 576 at level 1: 221 kB -> 23 kB in 1.9 ms. Nearly all are 0, and with their
    sign in the lowest bit (zigzag) nearly all high bytes are: they come last, as one long run.
    """
    zigzag = (symbols << 1) ^ (symbols >> 15)
    deflate = zlib.compressobj(strategy=zlib.Z_RLE)
    return deflate.compress(zigzag.view(np.uint8).reshape(-1, 2).T.tobytes()) + deflate.flush()


def _inflate(data: bytes) -> NDArray[np.int16]:
    low_high = np.frombuffer(zlib.decompress(data), np.uint8).reshape(2, -1)
    zigzag = np.ascontiguousarray(low_high.T).view(np.uint16).reshape(-1)
    return ((zigzag >> 1) ^ -(zigzag & 1)).view(np.int16)
