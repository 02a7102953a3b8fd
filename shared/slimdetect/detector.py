"""Latents -> detections, and a whole picture -> detections for comparison.

```
y_hat (prefix) -zero-fill-> (B, M, h, w) -feature_transform-> f_hat -tail-> heads -> detections
image -pad-> x -stem-> f -the detector's tail-> heads -> detections
```
No pixels are decoded on the first path. Its tail is the codec's own, if its manifest lists a
`tail.onnx` (one that was tuned to f_hat), and the detector's otherwise; f always meets the
detector's. Scores and thresholds are those of whose tail it is, or the codec's where it has some
for its features in the detector's tail: f_hat is not f, and gives other scores. Graphs are loaded
when first needed and are safe to share.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Latent, one_hot_levels, widen_latents
from slimcodec.detection import Detection
from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Graph, Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.pixels import pad_to_multiple, to_x
from slimdetect.boxes import clip_detections, decode_heads, suppress
from slimdetect.scores import SHOWN, Scores, Wanted, class_ids_of

IOU_THRESHOLD = 0.5
FEATURE_TRANSFORM = "feature_transform.onnx"
TAIL = "tail.onnx"
# Of the pictures that run together: for two of 640 x 480 one run takes as long as two (on 2 cores),
# for two of 256 x 192 half as long. Memory is 200 bytes a pixel.
MAX_BATCH_PIXELS = 1 << 19
MAX_DETECTIONS = 300  # per picture, as in COCO tooling for dense detectors


def batch_size(pixels: int, max_batch_size: int) -> int:
    """Give how many pictures of so many pixels run together, 1 or more."""
    return max(1, min(max_batch_size, MAX_BATCH_PIXELS // pixels))


class Detector:
    """Detects on latents of one codec with the detector that the codec was trained for."""

    def __init__(
        self,
        codec_artifact: CodecArtifact,
        detector_artifact: DetectorArtifact,
        runtime: Runtime,
        max_batch_size: int = 8,
    ) -> None:
        """Check that codec and detector belong together.

        Args:
            codec_artifact: gives the feature transform, and the tail behind it if it has one.
            detector_artifact: gives stem, tail and heads.
            runtime: loads the graphs.
            max_batch_size: latents of one size that run together; fewer of large pictures.

        Raises:
            ModelError: the codec was trained for another detector, or a file of this one is missing
                or does not fit.
        """
        wanted = codec_artifact.manifest.detector
        if wanted != detector_artifact.manifest.reference:
            raise ModelError(
                f"codec {codec_artifact.label} was trained for detector "
                f"{f'{wanted.name}/{wanted.version}' if wanted else 'none'}; "
                f"found {detector_artifact.label}; use the one that it was trained for"
            )
        self.names = detector_artifact.names  # by class number; an error comes before any graph
        self._codec = codec_artifact
        self._of_pictures = Tail(detector_artifact, detector_artifact, runtime)
        has_tail = TAIL in codec_artifact.manifest.files
        model = codec_artifact if has_tail else detector_artifact
        self.scores = Scores(codec_artifact.manifest.scores or model.manifest.scores, self.names)
        self._tail = Tail(model, detector_artifact, runtime, self.scores)
        self._runtime = runtime
        self._max_batch_size = max_batch_size

    def detect_latents(
        self, latents: Sequence[Latent], wanted: Wanted = SHOWN
    ) -> list[list[Detection]]:
        """Give the detections of each latent, in their order; sizes and levels may differ."""
        by_size: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, latent in enumerate(latents):
            h, w = latent.y_hat.shape[2:]
            by_size[h, w].append(index)
        results: list[list[Detection]] = [[] for _ in latents]
        for latent_hw, indices in by_size.items():
            pixels = math.prod(latent_hw) * self._codec.manifest.latent_stride**2
            size = batch_size(pixels, self._max_batch_size)
            for start in range(0, len(indices), size):
                batch = indices[start : start + size]
                sizes = [latents[index].image_hw for index in batch]
                f_hat = self._features_of([latents[index] for index in batch])
                found = self._tail.detect(f_hat, sizes, wanted)
                for index, detections in zip(batch, found, strict=True):
                    results[index] = detections
        return results

    def detect_image(self, image: NDArray[np.uint8], wanted: Wanted = SHOWN) -> list[Detection]:
        """Give the detections of a picture, (H, W, 3) uint8 RGB, without the codec."""
        return self._of_pictures.detect_image(image, wanted, self._codec.manifest.pad_multiple)

    def warm_up(self) -> None:
        """Load the graphs of the latents' path now, so that no frame waits for them."""
        self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        self._tail.load()

    def _features_of(self, latents: Sequence[Latent]) -> NDArray[np.float32]:
        """f_hat (B, C, H/8, W/8) of latents of one size."""
        levels = self._codec.levels
        y_hat = widen_latents(latents, levels[-1].latent_channels)  # (B, M, h, w)
        level = one_hot_levels(latents, len(levels))  # (B, K)
        transform = self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        return transform(y_hat=y_hat, level=level)["f_hat"]


class Tail:
    """Features at the split -> boxes, with the tail of one model and what its scores mean."""

    def __init__(
        self,
        model: CodecArtifact | DetectorArtifact,
        detector: DetectorArtifact,
        runtime: Runtime,
        scores: Scores | None = None,
    ) -> None:
        """Keep whose tail it is, and what its scores mean; None: as that model says it."""
        self._model, self._detector = model, detector
        self._scores = scores or Scores(model.manifest.scores, detector.names)
        self._raw_scores = Scores((), detector.names)
        self._runtime = runtime

    def detect_image(
        self, image: NDArray[np.uint8], wanted: Wanted = SHOWN, pad_multiple: int | None = None
    ) -> list[Detection]:
        """Give the detections of a picture, (H, W, 3) uint8 RGB, by way of the detector's stem; it
        is padded to multiples of `pad_multiple` pixels, None: of the largest stride.
        """
        strides = [head.stride for head in self._detector.manifest.heads]
        x = pad_to_multiple(to_x(image), pad_multiple or max(strides))
        f = self._runtime.load(self._detector.file("stem.onnx"))(x=x)["f"]
        return self.detect(f, [(image.shape[0], image.shape[1])], wanted)[0]

    def load(self) -> Graph:
        return self._runtime.load(self._model.file(TAIL))

    def detect(
        self, f: NDArray[np.float32], sizes: Sequence[tuple[int, int]], wanted: Wanted
    ) -> list[list[Detection]]:
        """Detections of each row of f, whose pictures have these heights and widths, pixels."""
        outputs = self.load()(f=f)
        heads = [outputs[f"head_{index}"] for index in range(len(self._detector.manifest.heads))]
        scores = self._raw_scores if wanted.raw else self._scores
        least = scores.least(wanted)
        asked = class_ids_of(wanted.labels, self._detector.names)
        raw_floor, layout = scores.raw_floor(least), self._detector.manifest.heads
        found: list[list[Detection]] = []
        for row, image_hw in enumerate(sizes):
            raw = [head[row] for head in heads]
            candidates = scores.told(decode_heads(raw, layout, raw_floor), least)
            limits = (IOU_THRESHOLD, MAX_DETECTIONS, scores.iou_across)
            keep = suppress(*candidates, *limits, asked, scores.kinds)
            found.append(clip_detections(candidates, keep, image_hw, self._detector.names))
        return found
