"""What is measured: a codec at a (level, quality), a baseline at a quality, or no codec at all.

    image -Encoder-> container -Decoder-> y_hat -feature transform, tail-> boxes from features
                                          y_hat -g_s-> picture
    image -baseline-> file -> picture
    picture -> PSNR, MS-SSIM; picture -uncut detector-> boxes from pixels

Bytes are those of whole containers and files, boxes come from the serving stack; so what is
measured is what a user gets. All but the durations is the same on every run on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.psnr import psnr_db
from slimdetect.detector import Detector
from slimdetect.triage import TRIAGE_GRAPH, TRIAGE_SPEC
from slimtrain.evaluation.baseline import Baseline
from slimtrain.evaluation.measurement import Measurement
from slimtrain.figures.mean_average_precision import MIN_SCORE, ScoredBoxes
from slimtrain.figures.picture_quality import ms_ssim

DETECT, VIEW = "detect", "view"
Image = NDArray[np.uint8]


class OperatingPoint(Protocol):
    """One row of the table to be."""

    @property
    def codec(self) -> str: ...
    @property
    def level(self) -> int | None: ...
    @property
    def quality(self) -> float: ...
    @property
    def setting(self) -> str:
        """Everything that decides the results."""
        ...

    def measure(self, image: Image) -> Measurement: ...


@dataclass(frozen=True)
class ReferenceDetector:
    """The uncut detector that looks at decoded pictures, the same one behind every codec."""

    artifact: DetectorArtifact
    pad_multiple: int  # pixels; of the codec that it was opened with
    runtime: OpenVinoRuntime
    session: Detector

    @classmethod
    def open(
        cls, codec: CodecArtifact, artifact: DetectorArtifact, runtime: OpenVinoRuntime
    ) -> ReferenceDetector:
        session = Detector(codec, artifact, runtime)
        return cls(artifact, codec.manifest.pad_multiple, runtime, session)

    @property
    def setting(self) -> str:
        files = file_digests(self.artifact, ("stem.onnx", "tail.onnx", "weights.safetensors"))
        return f"detector {files} padded to {self.pad_multiple} at {self.runtime.precision}"

    def detect(self, image: Image) -> ScoredBoxes:
        return scored(self.session.detect_image(image, MIN_SCORE))


@dataclass(frozen=True)
class Uncompressed:
    """The detector on the pictures as they are: what every codec is held against."""

    detector: ReferenceDetector
    codec: str = "uncompressed"
    level: int | None = None
    quality: float = 0

    @property
    def setting(self) -> str:
        return self.detector.setting

    def measure(self, image: Image) -> Measurement:
        boxes = self.detector.detect(image)
        return Measurement(image.size, None, None, None, 0.0, None, None, boxes)


@dataclass(frozen=True)
class BaselinePoint:
    """A classic codec at one quality, then the uncut detector."""

    baseline: Baseline
    quality: float
    detector: ReferenceDetector
    level: int | None = None

    @property
    def codec(self) -> str:
        return self.baseline.name

    @property
    def setting(self) -> str:
        return f"{self.baseline.setting}; {self.detector.setting}"

    def measure(self, image: Image) -> Measurement:
        coded = self.baseline.code(image, int(self.quality))
        return Measurement(
            num_bytes=len(coded.bitstream),
            enhancement_bytes=None,
            psnr_db=psnr_db(image, coded.image_hat),
            ms_ssim=ms_ssim(image, coded.image_hat),
            encode_seconds=coded.encode_seconds,
            decode_seconds=coded.decode_seconds,
            from_features=None,
            from_pixels=self.detector.detect(coded.image_hat),
        )


@dataclass(frozen=True)
class ServedCodec:
    """One of our models, opened for measuring."""

    artifact: CodecArtifact
    encoder: Encoder
    decoder: Decoder
    detector: Detector | None  # its own, behind its feature transform; None: it only shows
    reference: ReferenceDetector
    setting: str
    tasks: tuple[frozenset[str], ...]  # of each level: "detect", "view" or both
    is_nested: bool  # whether a wide stream continues a narrow one
    _warmed: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        artifact: CodecArtifact,
        detector: DetectorArtifact | None,
        reference: ReferenceDetector,
    ) -> ServedCodec:
        """Args:
        detector: the one that the codec's features were trained for.
        reference: the one that looks at decoded pictures.
        """
        runtime = reference.runtime
        manifest = artifact.manifest
        tasks = manifest.tasks or ((DETECT, VIEW),) * len(manifest.levels)
        tail = file_digests(detector, ("tail.onnx", "weights.safetensors")) if detector else "none"
        made_for = [sorted(of_level) for of_level in tasks]
        # a triage head that came later changes nothing of what is measured
        measured = sorted(artifact.manifest.files.keys() - {TRIAGE_GRAPH, TRIAGE_SPEC})
        return cls(
            artifact=artifact,
            encoder=Encoder(artifact, runtime),
            decoder=Decoder(artifact, runtime),
            detector=Detector(artifact, detector, runtime) if detector else None,
            reference=reference,
            setting=f"codec {file_digests(artifact, measured)}, tail {tail}; {reference.setting}; "
            f"{made_for}",
            tasks=tuple(frozenset(of_level) for of_level in tasks),
            is_nested=manifest.streams == "nested",
        )

    def does(self, task: str, level: int) -> bool:
        """Whether the model was made for a task at this level."""
        return task in self.tasks[level] and (task != DETECT or self.detector is not None)

    def warm_up(self, image: Image, level: int, quality: float) -> None:
        """Run a picture's size once: a graph compiles when it first meets one, and that is not
        what a picture costs.
        """
        if (level, image.shape) not in self._warmed:
            self._warmed.add((level, image.shape))
            first = self.encoder.encode(image, level, _wire(quality)).bitstream
            latent = self.decoder.decode_latent(first)
            if self.does(VIEW, level):
                self.decoder.decode_image(latent)

    def enhancement_bytes(
        self, image: Image, base: bytes, level: int, quality: float
    ) -> int | None:
        """What must be sent after `base` for the widest level's picture; None where nothing can."""
        widest = self.artifact.widest_level
        if level == widest or not self.does(VIEW, widest):
            return None
        if self.is_nested:
            return len(self.encoder.enhance(image, base).bitstream)
        return len(self.encoder.encode(image, widest, _wire(quality)).bitstream)


@dataclass(frozen=True)
class ServedPoint:
    """One of our models at one level and quality, through the serving stack."""

    served: ServedCodec
    level: int
    quality: float

    @property
    def codec(self) -> str:
        return self.served.artifact.label

    @property
    def setting(self) -> str:
        return self.served.setting

    def measure(self, image: Image) -> Measurement:
        served = self.served
        served.warm_up(image, self.level, self.quality)
        encoded = served.encoder.encode(image, self.level, _wire(self.quality))
        started = time.perf_counter()
        latent = served.decoder.decode_latent(encoded.bitstream)
        does_view = served.does(VIEW, self.level)
        image_hat = served.decoder.decode_image(latent) if does_view else None
        decode_seconds = time.perf_counter() - started
        boxes: ScoredBoxes | None = None
        if served.detector is not None and served.does(DETECT, self.level):
            boxes = scored(served.detector.detect_latents([latent], MIN_SCORE)[0])
        return Measurement(
            num_bytes=len(encoded.bitstream),
            enhancement_bytes=served.enhancement_bytes(
                image, encoded.bitstream, self.level, self.quality
            ),
            psnr_db=None if image_hat is None else psnr_db(image, image_hat),
            ms_ssim=None if image_hat is None else ms_ssim(image, image_hat),
            encode_seconds=encoded.encode_seconds,
            decode_seconds=None if image_hat is None else decode_seconds,
            from_features=boxes,
            from_pixels=None if image_hat is None else served.reference.detect(image_hat),
        )


def file_digests(artifact: CodecArtifact | DetectorArtifact, names: Sequence[str]) -> str:
    """The digests of a model's files: they, not its name, say which model it is."""
    files = artifact.manifest.files
    return " ".join(files[name].sha256[:16] for name in names if name in files)


def scored(detections: Sequence[Detection]) -> ScoredBoxes:
    boxes = np.asarray([detection.box_xyxy for detection in detections], np.float32)
    return ScoredBoxes(
        boxes_xyxy=boxes.reshape(-1, 4),
        scores=np.asarray([detection.score for detection in detections], np.float32),
        class_ids=np.asarray([detection.class_id for detection in detections], np.int64),
    )


def _wire(quality: float) -> int | float:
    return int(quality) if float(quality).is_integer() else quality
