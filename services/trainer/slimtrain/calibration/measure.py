"""What one picture costs at every operating point, and what the detector still finds in it.

    image -stem, the detector's tail-> boxes of the uncompressed picture
    image -Encoder-> container -Decoder-> y_hat -feature transform, tail-> boxes of the point

The stack that serves, so its bytes and boxes are what a camera gets; no picture is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimdetect.detector import Detector
from slimtrain.figures.mean_average_precision import MIN_SCORE, ScoredBoxes

Picture = NDArray[np.uint8]
PointKey = tuple[int, int]  # level, quality


@dataclass(frozen=True)
class PicturePoints:
    """One picture at every operating point."""

    image_hw: tuple[int, int]
    num_bytes: dict[PointKey, int]  # of the container
    uncompressed: ScoredBoxes | None  # None, and `found` empty: no detector was asked
    found: dict[PointKey, ScoredBoxes]

    @property
    def num_pixels(self) -> int:
        return self.image_hw[0] * self.image_hw[1]


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
            boxes = session.detect_latents(latents, MIN_SCORE)
            found = dict(zip(points, map(to_scored_boxes, boxes), strict=True))
            uncompressed = to_scored_boxes(session.detect_image(picture, MIN_SCORE))
        yield PicturePoints(
            image_hw=(picture.shape[0], picture.shape[1]),
            num_bytes=dict(zip(points, map(len, containers), strict=True)),
            uncompressed=uncompressed,
            found=found,
        )


def to_scored_boxes(detections: list[Detection]) -> ScoredBoxes:
    """A picture's detections as arrays."""
    boxes = np.asarray([detection.box_xyxy for detection in detections], np.float32)
    return ScoredBoxes(
        boxes_xyxy=boxes.reshape(-1, 4),
        scores=np.asarray([detection.score for detection in detections], np.float32),
        class_ids=np.asarray([detection.class_id for detection in detections], np.int64),
    )
