"""What pictures cost at every operating point, and what the detector still finds in them.

    image -stem, the detector's tail-> boxes of the uncompressed picture
    image -Encoder-> container -Decoder-> y_hat -feature transform, tail-> boxes of the point
    boxes of every point + truth -AP at IoU 0.5, numpy-> mAP50 over the uncompressed pictures'

The stack that serves, so its bytes and boxes are what a camera gets; no picture is decoded. The
truth is the labels beside the pictures; without any, what the detector sees in the uncompressed
pictures, whose mAP50 is then 1. The two answer different questions: what detections are worth, and
what the codec changes in them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.manifest import UtilitySource
from slimdetect.detector import Detector
from slimtrain.figures.mean_average_precision import (
    MEASURED,
    MIN_LABELS,
    Labels,
    ScoredBoxes,
    count_labels,
    match_boxes,
    mean_ap,
    pseudo_labels,
)

Picture = NDArray[np.uint8]
PointKey = tuple[int, int]  # level, quality


@dataclass(frozen=True)
class PicturePoints:
    """One picture at every operating point."""

    image_hw: tuple[int, int]
    num_bytes: dict[PointKey, int]  # of the container
    uncompressed: ScoredBoxes | None  # None, and `found` empty: no detector was asked
    found: dict[PointKey, ScoredBoxes]


@dataclass(frozen=True)
class Utilities:
    """mAP50 over that of the uncompressed pictures, of every (level, quality); as measured."""

    source: UtilitySource
    by_point: dict[PointKey, float]
    map50_uncompressed: float
    classes: int  # that it is the mean of
    labels: int  # of them


def measure_pictures(
    artifact: CodecArtifact,
    detector: DetectorArtifact | None,
    runtime: Runtime,
    pictures: Iterable[Picture],
) -> Iterator[PicturePoints]:
    """Measure pictures one after another, (H, W, 3) uint8 RGB each.

    Args:
        detector: the one that the codec was trained for; None: bytes only.

    Raises:
        CodecError: an artifact or a picture cannot be used.
    """
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    session = None if detector is None else Detector(artifact, detector, runtime, max_batch_size=1)
    points = [
        (level, quality)
        for level in range(artifact.widest_level + 1)
        for quality in range(artifact.manifest.qualities)
    ]
    for picture in pictures:
        containers = [encoder.encode(picture, *point).bitstream for point in points]
        found: dict[PointKey, ScoredBoxes] = {}
        uncompressed = None
        if session is not None:
            latents = [decoder.decode_latent(container) for container in containers]
            boxes = session.detect_latents(latents, MEASURED)
            found = dict(zip(points, map(ScoredBoxes.of, boxes), strict=True))
            uncompressed = ScoredBoxes.of(session.detect_image(picture, MEASURED))
        yield PicturePoints(
            image_hw=(picture.shape[0], picture.shape[1]),
            num_bytes=dict(zip(points, map(len, containers), strict=True)),
            uncompressed=uncompressed,
            found=found,
        )


def mean_bpp(pictures: Sequence[PicturePoints]) -> dict[PointKey, float]:
    """Container bits over pixels of all pictures, by (level, quality)."""
    num_pixels = sum(math.prod(picture.image_hw) for picture in pictures)
    return {
        point: 8 * sum(picture.num_bytes[point] for picture in pictures) / num_pixels
        for point in (pictures[0].num_bytes if pictures else {})
    }


def measure_utilities(
    pictures: Sequence[PicturePoints], labels: Sequence[Labels] | None
) -> Utilities | None:
    """Score every point against the truth; None where the detector finds nothing of it.

    Args:
        pictures: measured with a detector.
        labels: of each picture; None: nobody said what is in them.
    """
    seen = [picture.uncompressed for picture in pictures if picture.uncompressed is not None]
    if not seen or len(seen) != len(pictures):
        return None
    truth = [pseudo_labels(boxes) for boxes in seen] if labels is None else labels
    counts = count_labels(truth)
    chosen = {c for c, count in counts.items() if count >= MIN_LABELS} or set(counts)

    def map50(found: Sequence[ScoredBoxes]) -> float:
        matches = [each for each in match_boxes(found, truth) if each.class_id in chosen]
        return float(np.nan_to_num(mean_ap(matches))[0])

    map50_uncompressed = map50(seen)
    if not map50_uncompressed:
        return None
    return Utilities(
        source="uncompressed" if labels is None else "labels",
        by_point={
            point: map50([picture.found[point] for picture in pictures]) / map50_uncompressed
            for point in pictures[0].found
        },
        map50_uncompressed=map50_uncompressed,
        classes=len(chosen),
        labels=sum(counts[class_id] for class_id in chosen),
    )
