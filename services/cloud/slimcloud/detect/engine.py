"""Containers -> detections, in one thread of its own.

    containers ─ slimcloud.chain ─► y_hat ─ triage ─┬─ feature transform, tail ─► detections
                                                   └─ quiet, or the enhancement is wanted ─► none

The graphs run outside the event loop; one thread, for they use all cores by themselves.

Triage is the first rung: is anything of interest in the picture? Judged on the narrowest latent.

    presence < threshold ─► QUIET      answered at once: no detector, no more bytes
    else                 ─► DETECT     from what the camera has sent
                         or ENHANCE    first ask the camera for the channels that it left out

With `enhance` cameras are told (Welcome) to send the narrowest level unasked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from slimcloud.chain import ChainDecoder, CodedFrame, DecodedFrame
from slimcloud.frame_id import FrameId
from slimcloud.settings import CloudSettings, split_words
from slimcodec.decode import Decoder, Latent
from slimcodec.detection import Detection
from slimcodec.errors import BitstreamError, ModelError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.symbols import FrameSymbols
from slimdetect.detector import Detector
from slimdetect.scores import Wanted, class_ids_of
from slimdetect.triage import TriageSession

_CANARY_FILE = "canary.slw"  # in the codec's directory, where the artifact has one


@dataclass(frozen=True, slots=True)
class EngineJob(CodedFrame):
    """One frame's containers, and what is to be done with them."""

    triage: bool = True  # False: it was judged before
    is_answered: bool = False  # its detections are known: it is decoded, and no graph runs


class TriageVerdict(Enum):
    QUIET = auto()
    DETECT = auto()
    ENHANCE = auto()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to become of a frame."""

    verdict: TriageVerdict
    presence: float | None = None  # 0 to 1; None where triage could not look
    level: int | None = None  # that ENHANCE asks for


_JUST_DETECT = Judgement(TriageVerdict.DETECT)


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What became of one frame: its detections, or the error that its bytes gave.

    There are detections only where the judgement is DETECT.
    """

    detections: Sequence[Detection]
    error: BitstreamError | None
    compute_seconds: float  # of the whole batch that it was in
    judgement: Judgement = _JUST_DETECT
    activity: float | None = None  # share of the places that it codes; None of one coded alone


class DetectionEngine:
    def __init__(
        self,
        codec: CodecArtifact,
        detector: DetectorArtifact,
        runtime: Runtime,
        settings: CloudSettings,
        triage: TriagePolicy | None = None,
        on_reference: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """Load what detecting needs.

        Args:
            on_reference: as of `slimcloud.chain.ChainDecoder`.

        Raises:
            ModelError: codec and detector do not belong together, or there is no such label.
        """
        self._triage = triage
        self._codec = codec
        self._decoder = Decoder(codec, runtime, settings.max_pixels)
        self._chains = ChainDecoder(self._decoder, codec, on_reference)
        self._detector = Detector(codec, detector, runtime, settings.max_batch_size)
        labels = tuple(split_words(settings.detect_labels))
        self._wanted = Wanted(settings.min_score, labels)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self.codec_label = codec.label
        self.detector_label = detector.label
        self.min_score = self._detector.scores.lowest(self._wanted)

    def latent_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Pictures with equal ones can be detected in one batch."""
        return self._codec.latent_hw(image_hw)

    def kept(self, frame_id: FrameId) -> FrameSymbols | None:
        """The symbols of a frame that was decoded lately; what needs it needs no chain then."""
        return self._chains.kept(frame_id)

    async def detect(self, jobs: Sequence[EngineJob]) -> list[EngineResult]:
        """The detections of each frame, in their order.

        A frame whose bytes are bad has an error instead and does not harm the others; any other
        exception is of the whole batch.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._detect, list(jobs))

    async def check(self) -> None:
        """Decode and detect, really, what `load_canary` gives; raises what goes wrong."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._check)

    def close(self) -> None:
        """Let the batch that runs end, and take no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _detect(self, jobs: list[EngineJob]) -> list[EngineResult]:
        started = time.perf_counter()
        decoded: dict[int, DecodedFrame] = {}
        errors: dict[int, BitstreamError] = {}
        for index, job in enumerate(jobs):
            try:
                decoded[index] = self._chains.decode(job)
            except BitstreamError as exc:
                errors[index] = exc
        asked = [i for i in decoded if not jobs[i].is_answered]
        judged = self._judge({i: decoded[i] for i in asked if jobs[i].triage})
        chosen = [i for i in asked if judged.get(i, _JUST_DETECT).verdict is TriageVerdict.DETECT]
        found = self._detector.detect_latents([decoded[i].latent for i in chosen], self._wanted)
        detections = dict(zip(chosen, found, strict=True))
        seconds = time.perf_counter() - started
        return [
            EngineResult(
                detections.get(i, []),
                errors.get(i),
                seconds,
                judged.get(i, _JUST_DETECT),
                decoded[i].activity if i in decoded else None,
            )
            for i in range(len(jobs))
        ]

    def _judge(self, frames: dict[int, DecodedFrame]) -> dict[int, Judgement]:
        if self._triage is None or not frames:
            return {}
        return dict(zip(frames, self._triage.judge(list(frames.values())), strict=True))

    def _check(self) -> None:
        latent = load_canary(self._codec, self._decoder)
        self._judge({0: DecodedFrame(latent)})
        self._detector.detect_latents([latent], self._wanted)


class TriagePolicy:
    """What the settings ask of triage.

    Args:
        names: of the detector's classes.

    Raises:
        ModelError: the codec has no triage head or no such level, or the detector no such label.
    """

    def __init__(
        self, settings: CloudSettings, codec: CodecArtifact, names: Sequence[str], runtime: Runtime
    ) -> None:
        self._session = TriageSession(codec, runtime)
        spec, threshold = self._session.spec, settings.triage_threshold
        self._class_ids = class_ids_of(split_words(settings.triage_labels) or spec.labels, names)
        self._threshold = spec.threshold if threshold is None else threshold
        # whether a wider stream begins with the narrowest latent
        self._is_nested = codec.manifest.streams == "nested"
        self._level = 0  # that is asked for; 0 = detect from what was sent
        if settings.triage == "enhance":
            self._level = settings.triage_level or codec.widest_level
            if not 0 < self._level <= codec.widest_level:
                raise ModelError(
                    f"triage asks for enhancements up to level {self._level}; codec {codec.label} "
                    f"has levels 0..{codec.widest_level}; set triage_level, or triage to detect"
                )

    def judge(self, frames: Sequence[DecodedFrame]) -> list[Judgement]:
        """What is to become of each frame."""
        judged = [_JUST_DETECT] * len(frames)
        latents = [frame.latent for frame in frames]
        seen = [i for i, latent in enumerate(latents) if self._is_nested or latent.level == 0]
        presences = self._session.presence([latents[i] for i in seen], self._class_ids)
        for i, presence in zip(seen, presences, strict=True):
            if presence < self._threshold:
                judged[i] = Judgement(TriageVerdict.QUIET, presence)
            elif frames[i].coded_level < self._level:
                judged[i] = Judgement(TriageVerdict.ENHANCE, presence, self._level)
            else:
                judged[i] = Judgement(TriageVerdict.DETECT, presence)
        return judged


def load_canary(codec: CodecArtifact, decoder: Decoder) -> Latent:
    """What a process really decodes when it is asked whether it is able to work: the latent of the
    artifact's canary container; without one, an empty latent.
    """
    canary = codec.directory / _CANARY_FILE
    if canary.exists():
        return decoder.decode_latent(canary.read_bytes())
    side = codec.manifest.pad_multiple
    hw = codec.latent_hw((side, side))
    y_hat = np.zeros((1, codec.levels[0].latent_channels, *hw), np.float32)
    levels = None if codec.context is None else np.zeros(hw, np.uint8)
    return Latent(y_hat, level=0, quality=0, image_hw=(side, side), levels=levels)
