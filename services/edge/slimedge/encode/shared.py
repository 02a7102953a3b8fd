"""What the cameras of one process share to encode: graphs, measured seconds, and one thread.

Each camera waits for its frame before it asks for the next one. So in the thread's queue stands one
of each, behind those that asked before: cameras take turns, however much one of them would take.
Where all together want more time than there is, each has a share of it (max-min fair: whoever wants
less leaves the rest to the others), and chooses levels for that.
"""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slimcodec.context.changes import Hysteresis
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact
from slimcodec.model.manifest import this_device
from slimedge.encode.calibration import EncodeCalibration
from slimedge.settings import EdgeSettings
from slimops.user_folder import user_folder

_THREAD_SHARE = 0.8  # of the thread's time may be wanted; with more, frames wait for each other
_INTERVAL_WEIGHT = 0.2  # of the last interval between frames in what is usual


@dataclass(frozen=True, slots=True)
class SharedCodec:
    """A codec, as all cameras have it that name it, but for the encoder's settings."""

    artifact: CodecArtifact
    encoder: Encoder
    calibration: EncodeCalibration


@dataclass(slots=True)
class _Demand:
    """What a camera would use: its frames, each at the widest level."""

    frame_seconds: float  # that a frame takes
    asked_at: float  # last, monotonic seconds
    interval_seconds: float = math.inf  # between two frames, usually

    def at(self, now: float) -> float:
        """Seconds of the thread in a second; ever less once no frames come."""
        return self.frame_seconds / max(self.interval_seconds, now - self.asked_at, 1e-3)


class FairShares:
    """How much of one thread's time each camera may use."""

    def __init__(self) -> None:
        self._demands: dict[str, _Demand] = {}

    def of(self, camera: str, frame_seconds: float, now: float) -> float | None:
        """Give the share of a camera that has just encoded a frame.

        Args:
            frame_seconds: That its frames take at the widest level.
            now: Monotonic seconds.

        Returns:
            The most that any camera may use; None: as much as it wants.
        """
        demand = _Demand(frame_seconds, now)
        if (before := self._demands.get(camera)) is not None:
            interval, usual = now - before.asked_at, before.interval_seconds
            usual = interval if math.isinf(usual) else usual
            demand.interval_seconds = usual + _INTERVAL_WEIGHT * (interval - usual)
        self._demands[camera] = demand
        wanted = sorted(one.at(now) for one in self._demands.values())
        left = _THREAD_SHARE
        for served, want in enumerate(wanted):
            part = left / (len(wanted) - served)
            if want > part and len(wanted) > 1:
                return part
            left -= want
        return None


class SharedEncoding:
    """Codecs by folder, each loaded once; `close` it.

    Args:
        num_threads: Of one graph's call; None: all cores.
    """

    def __init__(self, num_threads: int | None) -> None:
        self._num_threads = num_threads
        self._runtime: OpenVinoRuntime | None = None
        self._codecs: dict[Path, tuple[CodecArtifact, EncodeCalibration]] = {}
        self._loading = asyncio.Lock()
        self.shares = FairShares()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    async def load(self, settings: EdgeSettings) -> SharedCodec:
        """The codec that a camera names.

        Raises:
            ModelError: it is missing or altered.
        """
        async with self._loading:
            return await asyncio.to_thread(self._load, settings)

    def close(self) -> None:
        """End the thread after what it is doing; what waits is dropped."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, settings: EdgeSettings) -> SharedCodec:
        folder = find_model("codec", settings.model, settings.models_root)
        self._runtime = runtime = self._runtime or OpenVinoRuntime(self._num_threads)
        if folder not in self._codecs:
            artifact = load_codec_artifact(folder)
            self._codecs[folder] = (
                artifact,
                EncodeCalibration(
                    artifact.fingerprint,
                    artifact.profile,
                    this_device(self._num_threads),
                    settings.cache_folder or user_folder("XDG_CACHE_HOME", ".cache"),
                ),
            )
        artifact, calibration = self._codecs[folder]
        hysteresis = Hysteresis(settings.change_gain, settings.keep_threshold)
        return SharedCodec(artifact, Encoder(artifact, runtime, hysteresis=hysteresis), calibration)
