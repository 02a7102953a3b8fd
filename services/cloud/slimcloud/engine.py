"""Stages 6 and 9 of 12, together: containers -> detections, in one thread of its own.

    containers ─ entropy decoder ─► y_hat ─ feature transform, tail ─► detections

The graphs run outside the event loop; one thread, for they use all cores by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slimcloud.canary import load_canary
from slimcloud.records import LabelledDetection
from slimcodec.artifact import CodecArtifact, DetectorArtifact
from slimcodec.decode import Decoder, Latent
from slimcodec.errors import BitstreamError
from slimcodec.runtime import Runtime
from slimdetect.session import Detector

__all__ = ["DetectionEngine", "EngineResult"]


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What became of one container: its detections, or the error that its bytes gave."""

    detections: Sequence[LabelledDetection]
    error: BitstreamError | None
    compute_seconds: float  # of the whole batch that it was in


class DetectionEngine:
    def __init__(
        self,
        codec: CodecArtifact,
        detector: DetectorArtifact,
        runtime: Runtime,
        *,
        max_pixels: int,
        max_batch_size: int,
        min_score: float,
    ) -> None:
        """Raises `slimdetect.errors.DetectorMismatchError` when the two do not belong together."""
        self._codec = codec
        self._decoder = Decoder(codec, runtime, max_pixels)
        self._detector = Detector(codec, detector, runtime, max_batch_size)
        self._min_score = min_score
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self.codec_label = codec.label
        self.detector_label = detector.label
        self.min_score = min_score

    @property
    def names(self) -> tuple[str, ...]:
        """Label of each class id."""
        return self._detector.names

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Pictures with equal ones can be detected in one batch."""
        return self._codec.latent_hw(image_hw)

    async def detect(self, containers: Sequence[bytes]) -> list[EngineResult]:
        """The detections of each container, in their order.

        A container whose bytes are bad has an error instead and does not harm the others; any other
        exception is of the whole batch.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._detect, list(containers))

    async def check(self) -> None:
        """Decode and detect once, really; raises what goes wrong.

        With the artifact's canary container where there is one, else with an empty latent.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._check)

    def close(self) -> None:
        """Let the batch that runs end, and take no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _detect(self, containers: list[bytes]) -> list[EngineResult]:
        started = time.perf_counter()
        latents: list[Latent] = []
        errors: list[BitstreamError | None] = []
        for container in containers:
            try:
                latents.append(self._decoder.decode_latent(container))
                errors.append(None)
            except BitstreamError as exc:
                errors.append(exc)
        found = iter(self._detector.detect_latents(latents, self._min_score) if latents else [])
        names = self._detector.names
        labelled = [
            [
                LabelledDetection(
                    box_xyxy=detection.box_xyxy,
                    score=detection.score,
                    class_id=detection.class_id,
                    label=names[detection.class_id],
                )
                for detection in ([] if error else next(found))
            ]
            for error in errors
        ]
        seconds = time.perf_counter() - started
        return [
            EngineResult(detections, error, seconds)
            for detections, error in zip(labelled, errors, strict=True)
        ]

    def _check(self) -> None:
        latent = load_canary(self._codec, self._decoder)
        self._detector.detect_latents([latent], self._min_score)
