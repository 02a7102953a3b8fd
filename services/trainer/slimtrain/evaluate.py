"""What a codec is worth: every (level, quality) of ours and a JPEG ladder on one set of pictures.

    image -Encoder-> container -Decoder-> y_hat -+-feature transform, tail-> detections -> mAP
                                                 `-g_s-> picture -> PSNR, MS-SSIM
    image -JPEG-> picture -stem, tail-> detections -> mAP; picture -> PSNR, MS-SSIM

Bytes are those of whole containers and whole JPEG files; detections come from the serving stack, on
latents for ours and on pixels for JPEG; so what is measured is what a user gets. Everything but the
two durations is the same on every run on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from slimcodec.artifact import load_codec_artifact, load_detector_artifact
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.image import load_image
from slimcodec.runtime import OpenVinoRuntime, Runtime
from slimdetect.boxes import Detection
from slimdetect.session import Detector
from slimtrain.baseline import JPEG_QUALITIES, code_jpeg
from slimtrain.evaluation_table import (
    Evaluation,
    EvaluationRow,
    format_table,
    write_profile,
    write_tables,
)
from slimtrain.mean_average_precision import (
    MIN_SCORE,
    Labels,
    ScoredBoxes,
    labels_of,
    mean_average_precision,
)
from slimtrain.picture_quality import ms_ssim, psnr_db
from slimtrain.pictures import PICTURE_SUFFIXES, read_label_file

__all__ = [
    "Evaluation",
    "EvaluationError",
    "EvaluationRow",
    "evaluate",
    "format_table",
    "write_profile",
]

PSEUDO_LABEL_SCORE = 0.3
"""Without labels, the uncompressed picture's detections from this score on serve as labels."""
JPEG = "jpeg"


class EvaluationError(Exception):
    """The pictures, labels or operating points asked for cannot be evaluated."""


@dataclass
class _Sums:
    """What accumulates over pictures at one operating point."""

    num_bytes: int = 0
    psnr_db: list[float] = field(default_factory=list)
    ms_ssim: list[float] = field(default_factory=list)
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    found: list[ScoredBoxes] = field(default_factory=list)

    def add(
        self,
        image: NDArray[np.uint8],
        image_hat: NDArray[np.uint8],
        num_bytes: int,
        encode_seconds: float,
        decode_seconds: float,
        detections: Sequence[Detection],
    ) -> None:
        self.num_bytes += num_bytes
        self.psnr_db.append(psnr_db(image, image_hat))
        similarity = ms_ssim(image, image_hat)
        if similarity is not None:
            self.ms_ssim.append(similarity)
        self.encode_seconds += encode_seconds
        self.decode_seconds += decode_seconds
        self.found.append(_scored(detections))


def evaluate(
    codec: Path,
    detector: Path,
    images: Path,
    labels: Path | None,
    out: Path,
    *,
    levels: Sequence[int] | None = None,
    qualities: Sequence[int] | None = None,
    jpeg_qualities: Sequence[int] = JPEG_QUALITIES,
    limit: int | None = None,
    keep: Callable[[str], bool] | None = None,
    runtime: Runtime | None = None,
    show_progress: bool = True,
) -> Evaluation:
    """Measures a codec and JPEG and writes `table.json` and `table.md`.

    Args:
        codec: a codec artifact's folder.
        detector: a detector artifact's folder.
        images: a folder of pictures, or one with `images/` in it.
        labels: a folder of YOLO text files named as the pictures (a picture without one has no
            objects), or None: then the detections on the uncompressed pictures are the labels.
        out: where the tables go.
        levels: which levels; None is all. `qualities` likewise.
        limit: only so many pictures, the first by name.
        keep: only pictures whose file name it accepts, such as the validation split.
        runtime: None is OpenVINO with its own choice of threads and precision.

    Raises:
        EvaluationError: no picture, no label, or no such level or quality.
        CodecError, DetectError: an artifact or a picture cannot be used.
    """
    paths = _find_pictures(images, keep, limit)
    codec_artifact = load_codec_artifact(codec)
    detector_artifact = load_detector_artifact(detector)
    points = _operating_points(
        codec_artifact.widest_level + 1, codec_artifact.manifest.qualities, levels, qualities
    )
    runtime = runtime or OpenVinoRuntime()
    encoder, decoder = Encoder(codec_artifact, runtime), Decoder(codec_artifact, runtime)
    detect = Detector(codec_artifact, detector_artifact, runtime)

    ours = {point: _Sums() for point in points}
    jpeg = {quality: _Sums() for quality in jpeg_qualities}
    uncompressed: list[ScoredBoxes] = []
    truths: list[Labels] = []
    num_pixels = 0
    warmed: set[tuple[int, tuple[int, ...]]] = set()
    for path in tqdm(paths, unit="picture", disable=not show_progress):
        image = load_image(path)
        num_pixels += image.shape[0] * image.shape[1]
        seen = _scored(detect.detect_image(image, MIN_SCORE))
        uncompressed.append(seen)
        truths.append(_truth(seen, labels, path, image))
        for (level, quality), sums in ours.items():
            if (level, image.shape) not in warmed:
                # A graph compiles when it first meets a size; that is not what a picture costs.
                warmed.add((level, image.shape))
                first = encoder.encode(image, level, quality).bitstream
                decoder.decode_image(decoder.decode_latent(first))
            encoded = encoder.encode(image, level, quality)
            started = time.perf_counter()
            latent = decoder.decode_latent(encoded.bitstream)
            image_hat = decoder.decode_image(latent)
            decode_seconds = time.perf_counter() - started
            detections = detect.detect_latents([latent], MIN_SCORE)[0]
            num_bytes = len(encoded.bitstream)
            sums.add(
                image, image_hat, num_bytes, encoded.encode_seconds, decode_seconds, detections
            )
        for quality, sums in jpeg.items():
            coded = code_jpeg(image, quality)
            detections = detect.detect_image(coded.image_hat, MIN_SCORE)
            num_bytes = len(coded.bitstream)
            sums.add(
                image,
                coded.image_hat,
                num_bytes,
                coded.encode_seconds,
                coded.decode_seconds,
                detections,
            )
    if labels is not None and not any(len(truth.class_ids) for truth in truths):
        raise EvaluationError(
            f"{labels}: holds no box for any of {len(paths)} pictures; expected <picture>.txt"
        )

    map50_uncompressed = mean_average_precision(uncompressed, truths).map50

    def row(name: str, level: int | None, quality: int, sums: _Sums) -> EvaluationRow:
        return EvaluationRow(
            codec=name,
            level=level,
            quality=quality,
            pictures=len(paths),
            bytes=sums.num_bytes,
            bpp=8 * sums.num_bytes / num_pixels,
            psnr_db=float(np.mean(sums.psnr_db)),
            ms_ssim=float(np.mean(sums.ms_ssim)) if sums.ms_ssim else None,
            map50=mean_average_precision(sums.found, truths).map50,
            map50_uncompressed=map50_uncompressed,
            encode_seconds=sums.encode_seconds / len(paths),
            decode_seconds=sums.decode_seconds / len(paths),
        )

    rows = [row(codec_artifact.label, *point, sums) for point, sums in ours.items()]
    rows += [row(JPEG, None, quality, sums) for quality, sums in jpeg.items()]
    evaluation = Evaluation(rows, _labelled_by(labels, detector_artifact.label))
    write_tables(evaluation, out)
    return evaluation


def _find_pictures(
    images: Path, keep: Callable[[str], bool] | None, limit: int | None
) -> list[Path]:
    folder = images / "images" if (images / "images").is_dir() else images
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    chosen = [path for path in paths if keep is None or keep(path.name)][:limit]
    if not chosen:
        raise EvaluationError(
            f"{folder}: none of {len(paths)} pictures is left to evaluate; expected "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    return chosen


def _operating_points(
    num_levels: int,
    num_qualities: int,
    levels: Sequence[int] | None,
    qualities: Sequence[int] | None,
) -> list[tuple[int, int]]:
    chosen_levels = range(num_levels) if levels is None else sorted(set(levels))
    chosen_qualities = range(num_qualities) if qualities is None else sorted(set(qualities))
    for name, values, count in (
        ("level", chosen_levels, num_levels),
        ("quality", chosen_qualities, num_qualities),
    ):
        for value in values:
            if not 0 <= value < count:
                raise EvaluationError(f"{name} {value}; this codec has 0..{count - 1}")
    return [(level, quality) for level in chosen_levels for quality in chosen_qualities]


def _truth(
    seen: ScoredBoxes, labels: Path | None, picture: Path, image: NDArray[np.uint8]
) -> Labels:
    if labels is not None:
        boxes = read_label_file(labels / f"{picture.stem}.txt")
        return labels_of(boxes, (image.shape[0], image.shape[1]))
    sure = seen.scores >= PSEUDO_LABEL_SCORE
    return Labels(
        boxes_xyxy=seen.boxes_xyxy[sure],
        class_ids=seen.class_ids[sure],
        is_ignored=np.zeros(int(sure.sum()), np.bool_),
    )


def _scored(detections: Sequence[Detection]) -> ScoredBoxes:
    boxes = np.asarray([detection.box_xyxy for detection in detections], np.float32)
    return ScoredBoxes(
        boxes_xyxy=boxes.reshape(-1, 4),
        scores=np.asarray([detection.score for detection in detections], np.float32),
        class_ids=np.asarray([detection.class_id for detection in detections], np.int64),
    )


def _labelled_by(labels: Path | None, detector: str) -> str:
    if labels is not None:
        return "given as YOLO text"
    return (
        f"none given; {detector}'s own detections on the uncompressed pictures (score "
        f">= {PSEUDO_LABEL_SCORE}) stand in for them, so mAP50 says how much of what the detector "
        "sees is kept, not how right it is"
    )
