"""What the cameras of one process share to encode: graphs, measured seconds, and one thread.

Each camera waits for its frame before it asks for the next one. So in the thread's queue stands one
of each, behind those that asked before: cameras take turns, however much one of them would take.
"""

import asyncio
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


@dataclass(frozen=True, slots=True)
class SharedCodec:
    """A codec, as all cameras have it that name it, but for the encoder's settings."""

    artifact: CodecArtifact
    encoder: Encoder
    calibration: EncodeCalibration


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
