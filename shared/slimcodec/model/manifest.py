"""What a model's `manifest.json` and `profile.json` say, checked field by field."""

import os
import platform
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from slimcodec.container import MAX_LEVELS, MAX_QUALITY, Prior, Streams

MANIFEST_FORMAT = 1
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

ModelName = Annotated[str, Field(pattern=MODEL_NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # older readers skip newer fields


class FileRecord(_Frozen):
    """Digest and length of one file of the artifact."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class ModelReference(_Frozen):
    """Another model, by name and version."""

    name: ModelName
    version: Annotated[int, Field(ge=1)]


class Level(_Frozen):
    """One width of the analysis transform."""

    level: Annotated[int, Field(ge=0, lt=MAX_LEVELS)]
    latent_channels: Annotated[int, Field(ge=1)]  # M_l, all that the level sends
    hyper_channels: Annotated[int, Field(ge=0)] = 0  # of z; 0 without a hyperprior
    channels: tuple[int, ...] = ()  # outputs of each layer of g_a
    kmac_per_pixel: Annotated[float, Field(ge=0)]  # all that the edge runs, per pixel


class Head(_Frozen):
    """One of the detector's heads."""

    stride: Annotated[int, Field(ge=1)]  # pixels per cell
    anchors: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)]  # (w, h), pixels
    scale_x_y: float = 1.0
    new_coords: bool = False  # probabilities instead of logits; sides are (2 * t)^2 anchors


class Split(_Frozen):
    """Where the detector is cut."""

    layer: Annotated[int, Field(ge=0)]
    channels: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]


class ClassScore(_Frozen):
    """What the scores of one class mean: of its boxes with the raw score s, the part
    1 / (1 + exp(-(slope * logit(s) + offset))) is right, and that is the score which is told.

    Source: Platt, Probabilistic outputs for support vector machines, 1999.
    """

    slope: Annotated[float, Field(gt=0)]
    offset: float
    # told scores from which on a box is shown; None: such boxes are shown only if asked for
    threshold: Annotated[float, Field(ge=0, le=1)] | None


class _Manifest(_Frozen):
    format: Literal[1]
    name: ModelName
    version: Annotated[int, Field(ge=1)]
    files: dict[FileName, FileRecord]
    training: dict[str, JsonValue] = {}
    figures: dict[str, JsonValue] = {}
    licence: str
    # By class number, of what this model's own tail says, or of a codec's features in the
    # detector's tail; empty: raw scores are told, and one threshold is for all classes.
    scores: tuple[ClassScore, ...] = ()

    @property
    def label(self) -> str:
        """The model for people, as `name/version`."""
        return f"{self.name}/{self.version}"


Task = Literal["detect", "view"]


class CodecManifest(_Manifest):
    """`manifest.json` of a codec."""

    kind: Literal["codec"]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    pad_multiple: Annotated[int, Field(ge=1, le=1024)]
    latent_stride: Annotated[int, Field(ge=1, le=256)]
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=MAX_LEVELS)]
    qualities: Annotated[int, Field(ge=1, le=MAX_QUALITY + 1)]
    detector: ModelReference | None = None
    streams: Streams = "nested"
    prior: Prior = "factorized"
    hyper_stride: Annotated[int, Field(ge=1, le=1024)] | None = None  # pixels; with a hyperprior
    tasks: tuple[tuple[Task, ...], ...] = ()  # that each level was trained for; empty: both, all

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if [entry.level for entry in self.levels] != list(range(len(self.levels))):
            raise ValueError("levels must be numbered 0, 1, 2, ... in order")
        widths = [0, *(entry.latent_channels for entry in self.levels)]
        if sorted(set(widths)) != widths:
            raise ValueError("latent_channels must grow from level to level")
        if self.tasks and len(self.tasks) != len(self.levels):
            raise ValueError("tasks must be given for every level or for none")
        if self.prior == "context" and self.streams != "nested":
            raise ValueError("a context prior has nested streams")
        if self.pad_multiple % self.latent_stride:
            raise ValueError("pad_multiple must be a multiple of latent_stride")
        hyper_widths = [0, *(entry.hyper_channels for entry in self.levels)]
        if self.prior != "hyperprior":
            if any(hyper_widths) or self.hyper_stride is not None:
                raise ValueError("hyper_channels and hyper_stride belong to a hyperprior")
        elif sorted(set(hyper_widths)) != hyper_widths:
            raise ValueError("hyper_channels must grow from level to level, from 1 or more")
        elif self.hyper_stride is None or self.pad_multiple % self.hyper_stride:
            raise ValueError("pad_multiple must be a multiple of hyper_stride")
        return self


class DetectorManifest(_Manifest):
    """`manifest.json` of a detector."""

    kind: Literal["detector"]
    split: Split
    classes: Annotated[int, Field(ge=1)]
    # in the order of the outputs `head_0`, `head_1`, ... of the tail
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]

    @property
    def reference(self) -> ModelReference:
        """What a codec that was trained for it says of it."""
        return ModelReference(name=self.name, version=self.version)


UtilitySource = Literal["labels", "uncompressed"]


class ProfilePoint(_Frozen):
    """What one operating point costs and gives, measured on validation pictures."""

    level: Annotated[int, Field(ge=0)]
    quality: Annotated[float, Field(ge=0)]
    bpp: Annotated[float, Field(gt=0)]  # container bits per original pixel
    # mAP50 over that of the uncompressed pictures, of classes with enough labels if there are any
    map50_relative: float | None = None
    psnr_db: float | None = None
    # mAP50 over that of the uncompressed pictures, on the pictures that the bpp is of; instead of
    # `map50_relative` for the controller
    utility: float | None = None


class Device(NamedTuple):
    """A processor, and how much of it the encoder may use."""

    processor: str
    threads: int


def this_device(num_threads: int | None = None) -> Device:
    """Which device this is, as far as seconds measured on one say something about another.

    Args:
        num_threads: Threads of one encoding; None: as many as this process may use.
    """
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()  # ARM's has no such line
    return Device(processor, num_threads or len(os.sched_getaffinity(0)))


class EncodeTiming(_Frozen):
    """How long one device takes to encode a picture of one size."""

    level: Annotated[int, Field(ge=0)]
    height: Annotated[int, Field(ge=1)]  # pixels
    width: Annotated[int, Field(ge=1)]
    encode_seconds: Annotated[float, Field(gt=0)]  # median, image to bitstream


class Calibration(_Frozen):
    """What `slimwire calibrate` measured on one device."""

    device: str  # the processor, as it names itself
    threads: Annotated[int, Field(ge=1)] | None = None  # of one encoding; None: it was not said
    timings: tuple[EncodeTiming, ...]
    pictures: Annotated[int, Field(ge=0)] = 0  # that gave the points' bpp; 0: it is not from here
    command: str = ""

    def encode_seconds(self, level: int, pixels: int) -> float | None:
        """Give the seconds of a level for a picture of another size; None: it was not timed.

        Linear in pixels between two sizes; in proportion to them beyond the smallest and the
        largest.
        """
        known = sorted(
            (timing.height * timing.width, timing.encode_seconds)
            for timing in self.timings
            if timing.level == level
        )
        if not known:
            return None
        if pixels <= known[0][0] or pixels >= known[-1][0]:
            size, seconds = known[0] if pixels <= known[0][0] else known[-1]
            return seconds * pixels / size
        upper = next(index for index, (size, _) in enumerate(known) if size >= pixels)
        (small, fast), (large, slow) = known[upper - 1], known[upper]
        return fast + (slow - fast) * (pixels - small) / (large - small)


class Profile(_Frozen):
    """`profile.json`: the measured operating points of a codec."""

    points: tuple[ProfilePoint, ...]
    pictures: Annotated[int, Field(ge=1)]  # that the points were measured on, if not by calibration
    command: str = ""
    # What `utility` holds detections against: labels, or detections in the uncompressed pictures.
    utility_source: UtilitySource | None = None
    utility_pictures: Annotated[int, Field(ge=0)] = 0
    utility_command: str = ""
    calibration: Calibration | None = None
