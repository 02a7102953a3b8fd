"""Containers -> detections, in one thread of its own.

    containers ─ entropy decoder ─► y_hat ─ triage ─┬─ feature transform, tail ─► detections
                                                    └─ quiet, or the enhancement is wanted ─► none

The graphs run outside the event loop; one thread, for they use all cores by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slimcloud.detect.canary import load_canary
from slimcloud.detect.triage import Judgement, TriagePolicy, Verdict
from slimcodec.decode import Decoder, Latent
from slimcodec.detection import Detection
from slimcodec.errors import BitstreamError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimdetect.detector import Detector
from slimdetect.triage import class_ids_of

_JUST_DETECT = Judgement(Verdict.DETECT, None)


@dataclass(frozen=True, slots=True)
class EngineJob:
    """One frame's containers. `triage` is False for a frame that was judged before."""

    base: bytes
    enhancement: bytes | None = None
    triage: bool = True


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What became of one frame: its detections, or the error that its bytes gave.

    There are detections only where the judgement is DETECT.
    """

    detections: Sequence[Detection]
    error: BitstreamError | None
    compute_seconds: float  # of the whole batch that it was in
    judgement: Judgement = _JUST_DETECT


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
        labels: Sequence[str] = (),
        triage: TriagePolicy | None = None,
    ) -> None:
        """Load what detecting needs.

        Args:
            labels: Of detections to keep; none: all.

        Raises:
            ModelError: codec and detector do not belong together.
            ModelError: the detector has no such label.
        """
        self._triage = triage
        self._codec = codec
        self._decoder = Decoder(codec, runtime, max_pixels)
        self._detector = Detector(codec, detector, runtime, max_batch_size)
        self._kept = frozenset(class_ids_of(labels or self._detector.names, self._detector.names))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self.codec_label = codec.label
        self.detector_label = detector.label
        self.min_score = min_score
        self.enhance_level = None if triage is None else triage.level  # that triage asks for

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Pictures with equal ones can be detected in one batch."""
        return self._codec.latent_hw(image_hw)

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        """The detections of each frame, in their order.

        A frame whose bytes are bad has an error instead and does not harm the others; any other
        exception is of the whole batch.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._detect, list(jobs))

    async def check(self) -> None:
        """Decode and detect once, really; raises what goes wrong.

        With the artifact's canary container where there is one, else with an empty latent.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._check)

    def close(self) -> None:
        """Let the batch that runs end, and take no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _detect(self, jobs: list[EngineJob]) -> list[EngineResult]:
        started = time.perf_counter()
        latents: dict[int, Latent] = {}
        errors: dict[int, BitstreamError] = {}
        for index, job in enumerate(jobs):
            try:
                latents[index] = self._decoder.decode_latent(job.base, job.enhancement)
            except BitstreamError as exc:
                errors[index] = exc
        judged = self._judge({i: latent for i, latent in latents.items() if jobs[i].triage})
        chosen = [i for i in latents if judged.get(i, _JUST_DETECT).verdict is Verdict.DETECT]
        found = self._detector.detect_latents([latents[i] for i in chosen], self.min_score)
        kept = [[box for box in boxes if box.class_id in self._kept] for boxes in found]
        detections = dict(zip(chosen, kept, strict=True))
        seconds = time.perf_counter() - started
        return [
            EngineResult(detections.get(i, []), errors.get(i), seconds, judged.get(i, _JUST_DETECT))
            for i in range(len(jobs))
        ]

    def _judge(self, latents: dict[int, Latent]) -> dict[int, Judgement]:
        if self._triage is None or not latents:
            return {}
        return dict(zip(latents, self._triage.judge(list(latents.values())), strict=True))

    def _check(self) -> None:
        latent = load_canary(self._codec, self._decoder)
        self._judge({0: latent})
        self._detector.detect_latents([latent], self.min_score)
