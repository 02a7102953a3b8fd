"""What is measured: a codec at a (level, quality), a baseline at a quality, or no codec at all.

    image -Encoder-> container -Decoder-> y_hat -feature transform, tail-> boxes from features
                                          y_hat -g_s-> picture
    image -baseline-> file -> picture
    picture -> PSNR, MS-SSIM; picture -uncut detector-> boxes from pixels

Bytes are those of whole containers and files, boxes come from the serving stack; so what is
measured is what a user gets. All but the durations is the same on every run on one machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
import pytorch_msssim
import torch
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.pixels import psnr_db
from slimdetect.detector import Detector
from slimdetect.triage import TRIAGE_GRAPH, TRIAGE_SPEC
from slimtrain.evaluation.baseline import Baseline
from slimtrain.figures.mean_average_precision import MEASURED, ScoredBoxes

DETECT, VIEW = "detect", "view"
MIN_SIDE = 161  # a picture with a shorter side has no window at the coarsest of MS-SSIM's scales
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Measurement:
    """One picture at one operating point; None where a codec does not do that."""

    num_bytes: int  # whole file or container
    encode_seconds: float
    decode_seconds: float | None = None  # file to pixels
    enhancement_bytes: int | None = None  # what a viewer still needs after this stream
    psnr_db: float | None = None
    ms_ssim: float | None = None  # None too for a picture that is too small for it
    from_features: ScoredBoxes | None = None
    from_pixels: ScoredBoxes | None = None


@dataclass(frozen=True)
class PointUnderTest:
    """One row of the table to be."""

    codec: str
    level: int | None  # None: the codec has no levels
    quality: float
    setting: str  # everything that decides the results
    measure: Callable[[Image], Measurement]
    artifact: CodecArtifact | None = None  # of one of our models; None for codecs of others


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
    ) -> Self:
        session = Detector(codec, artifact, runtime)
        return cls(artifact, codec.manifest.pad_multiple, runtime, session)

    @property
    def setting(self) -> str:
        files = file_digests(self.artifact, ("stem.onnx", "tail.onnx", "weights.safetensors"))
        return f"detector {files} padded to {self.pad_multiple} at {self.runtime.precision}"

    def detect(self, image: Image) -> ScoredBoxes:
        return ScoredBoxes.of(self.session.detect_image(image, MEASURED))

    def compare(
        self, measured: Measurement, image: Image, image_hat: Image, decode_seconds: float
    ) -> Measurement:
        """With what the decoded picture is worth, to people and to the detector."""
        return replace(
            measured,
            decode_seconds=decode_seconds,
            psnr_db=psnr_db(image, image_hat),
            ms_ssim=ms_ssim(image, image_hat),
            from_pixels=self.detect(image_hat),
        )


def uncompressed_point(detector: ReferenceDetector) -> PointUnderTest:
    """The detector on the pictures as they are: what every codec is held against."""

    def measure(image: Image) -> Measurement:
        return Measurement(image.size, 0.0, from_pixels=detector.detect(image))

    return PointUnderTest("uncompressed", None, 0, detector.setting, measure)


def baseline_point(baseline: Baseline, quality: int, detector: ReferenceDetector) -> PointUnderTest:
    """A codec of others at one quality, then the uncut detector."""

    def measure(image: Image) -> Measurement:
        coded = baseline.code(image, quality)
        measured = Measurement(len(coded.bitstream), coded.encode_seconds)
        return detector.compare(measured, image, coded.image_hat, coded.decode_seconds)

    setting = f"{baseline.setting}; {detector.setting}"
    return PointUnderTest(baseline.name, None, quality, setting, measure)


@dataclass(frozen=True)
class ServedCodec:
    """One of our models, opened for measuring."""

    artifact: CodecArtifact
    encoder: Encoder
    decoder: Decoder
    detector: Detector | None  # its own, behind its feature transform; None: it only shows
    reference: ReferenceDetector
    setting: str
    _warmed: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        artifact: CodecArtifact,
        detector: DetectorArtifact | None,
        reference: ReferenceDetector,
    ) -> Self:
        """Args:
        detector: the one that the codec's features were trained for.
        reference: the one that looks at decoded pictures.
        """
        runtime = reference.runtime
        tail = file_digests(detector, ("tail.onnx", "weights.safetensors")) if detector else "none"
        # a triage head that came later changes nothing of what is measured
        measured = sorted(artifact.manifest.files.keys() - {TRIAGE_GRAPH, TRIAGE_SPEC})
        return cls(
            artifact=artifact,
            encoder=Encoder(artifact, runtime),
            decoder=Decoder(artifact, runtime),
            detector=Detector(artifact, detector, runtime) if detector else None,
            reference=reference,
            setting=f"codec {file_digests(artifact, measured)}, tail {tail}; {reference.setting}; "
            f"{artifact.manifest.tasks}",
        )

    def does(self, task: str, level: int) -> bool:
        """Whether the model was made for a task at this level."""
        tasks = self.artifact.manifest.tasks  # none said: made for both
        is_made_for = not tasks or task in tasks[level]
        return is_made_for and (task != DETECT or self.detector is not None)

    def point(self, level: int, quality: float) -> PointUnderTest:
        """This model at one level and quality, through the serving stack."""
        label = self.artifact.label
        measure = partial(self.measure, level=level, quality=quality)
        return PointUnderTest(label, level, quality, self.setting, measure, self.artifact)

    def measure(self, image: Image, level: int, quality: float) -> Measurement:
        """One picture there and back."""
        wanted = int(quality) if float(quality).is_integer() else quality
        self._warm_up(image, level, wanted)
        encoded = self.encoder.encode(image, level, wanted)
        started = time.perf_counter()
        latent = self.decoder.decode_latent(encoded.bitstream)
        image_hat = self.decoder.decode_image(latent) if self.does(VIEW, level) else None
        decode_seconds = time.perf_counter() - started
        boxes: ScoredBoxes | None = None
        if self.detector is not None and self.does(DETECT, level):
            boxes = ScoredBoxes.of(self.detector.detect_latents([latent], MEASURED)[0])
        measured = Measurement(
            num_bytes=len(encoded.bitstream),
            encode_seconds=encoded.encode_seconds,
            enhancement_bytes=self._enhancement_bytes(image, encoded.bitstream, level, wanted),
            from_features=boxes,
        )
        if image_hat is None:
            return measured
        return self.reference.compare(measured, image, image_hat, decode_seconds)

    def _warm_up(self, image: Image, level: int, quality: int | float) -> None:
        """Run a size once: a graph compiles when it first meets one, which no picture costs."""
        if (level, image.shape) not in self._warmed:
            self._warmed.add((level, image.shape))
            first = self.encoder.encode(image, level, quality).bitstream
            latent = self.decoder.decode_latent(first)
            if self.does(VIEW, level):
                self.decoder.decode_image(latent)

    def _enhancement_bytes(
        self, image: Image, base: bytes, level: int, quality: int | float
    ) -> int | None:
        """What must be sent after `base` for the widest level's picture; None where nothing can."""
        widest = self.artifact.widest_level
        if level == widest or not self.does(VIEW, widest):
            return None
        if self.artifact.manifest.streams == "nested":
            return len(self.encoder.enhance(image, base).bitstream)
        return len(self.encoder.encode(image, widest, quality).bitstream)


def file_digests(artifact: CodecArtifact | DetectorArtifact, names: Sequence[str]) -> str:
    """The digests of a model's files: they, not its name, say which model it is."""
    files = artifact.manifest.files
    return " ".join(files[name].sha256[:16] for name in names if name in files)


def ms_ssim(original: Image, decoded: Image) -> float | None:
    """Multi-scale structural similarity, the mean of R, G and B; None for too small a picture.

    Source: Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment,
    Asilomar 2003.
    """
    if min(original.shape[:2]) < MIN_SIDE:
        return None
    x, x_hat = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (original, decoded))
    return float(pytorch_msssim.ms_ssim(x, x_hat, data_range=255))
