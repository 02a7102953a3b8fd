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
from slimdetect.scores import SHOWN, Scores, Wanted

IOU_THRESHOLD = 0.5
FEATURE_TRANSFORM = "feature_transform.onnx"
TAIL = "tail.onnx"
MAX_DETECTIONS = 300  # per picture, as in COCO tooling for dense detectors


class PictureDetector:
    """Detects in pictures, without a codec."""

    def __init__(
        self, artifact: DetectorArtifact, runtime: Runtime, pad_multiple: int | None = None
    ) -> None:
        """Check names and scores.

        Args:
            pad_multiple: of the sides that a picture is padded to, pixels; None: the largest
                stride.

        Raises:
            ModelError: a file of the detector is missing or does not fit.
        """
        strides = [head.stride for head in artifact.manifest.heads]
        self._pad_multiple = pad_multiple or max(strides)
        self._stem = artifact
        self._runtime = runtime
        self._tail = _Tail(
            artifact, artifact, Scores(artifact.manifest.scores, artifact.names), runtime
        )

    def detect_image(self, image: NDArray[np.uint8], wanted: Wanted = SHOWN) -> list[Detection]:
        """Give the detections of a picture, (H, W, 3) uint8 RGB."""
        x = pad_to_multiple(to_x(image), self._pad_multiple)
        f = self._runtime.load(self._stem.file("stem.onnx"))(x=x)["f"]
        return self._tail.detect(f, [(image.shape[0], image.shape[1])], wanted)[0]


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
            max_batch_size: latents of one size that run together; bounds memory.

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
        multiple = codec_artifact.manifest.pad_multiple
        self._pictures = PictureDetector(detector_artifact, runtime, multiple)
        has_tail = TAIL in codec_artifact.manifest.files
        tail_of = codec_artifact if has_tail else detector_artifact
        self.scores = Scores(codec_artifact.manifest.scores or tail_of.manifest.scores, self.names)
        self._tail = _Tail(tail_of, detector_artifact, self.scores, runtime)
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
        for indices in by_size.values():
            for start in range(0, len(indices), self._max_batch_size):
                batch = indices[start : start + self._max_batch_size]
                sizes = [latents[index].image_hw for index in batch]
                f_hat = self._features_of([latents[index] for index in batch])
                found = self._tail.detect(f_hat, sizes, wanted)
                for index, detections in zip(batch, found, strict=True):
                    results[index] = detections
        return results

    def detect_image(self, image: NDArray[np.uint8], wanted: Wanted = SHOWN) -> list[Detection]:
        """Give the detections of a picture, (H, W, 3) uint8 RGB, without the codec."""
        return self._pictures.detect_image(image, wanted)

    def warm_up(self) -> None:
        """Load the graphs of the latents' path now, so that no frame waits for them."""
        self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        self._tail.load()

    def _features_of(self, latents: Sequence[Latent]) -> NDArray[np.float32]:
        """f_hat (B, 256, H/8, W/8), for the usual split, of latents of one size."""
        levels = self._codec.levels
        y_hat = widen_latents(latents, levels[-1].latent_channels)  # (B, M, h, w)
        level = one_hot_levels(latents, len(levels))  # (B, K)
        transform = self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        return transform(y_hat=y_hat, level=level)["f_hat"]


class _Tail:
    """Features at the split -> boxes, with the tail of one model and what its scores mean."""

    def __init__(
        self,
        tail_of: CodecArtifact | DetectorArtifact,
        detector: DetectorArtifact,
        scores: Scores,
        runtime: Runtime,
    ) -> None:
        self._tail_of = tail_of
        self._heads, self._names = detector.manifest.heads, detector.names
        self._scores, self._raw_scores = scores, Scores((), detector.names)
        self._runtime = runtime

    def load(self) -> Graph:
        return self._runtime.load(self._tail_of.file(TAIL))

    def detect(
        self, f: NDArray[np.float32], sizes: Sequence[tuple[int, int]], wanted: Wanted
    ) -> list[list[Detection]]:
        """Detections of each row of f, whose pictures have these heights and widths, pixels."""
        outputs = self.load()(f=f)
        heads = [outputs[f"head_{index}"] for index in range(len(self._heads))]
        raw = ([head[row] for head in heads] for row in range(len(sizes)))
        return [self._boxes(maps, hw, wanted) for maps, hw in zip(raw, sizes, strict=True)]

    def _boxes(
        self, raw: Sequence[NDArray[np.float32]], image_hw: tuple[int, int], wanted: Wanted
    ) -> list[Detection]:
        scores = self._raw_scores if wanted.raw else self._scores
        least = scores.least(wanted)
        candidates = scores.told(decode_heads(raw, self._heads, scores.raw_floor(least)), least)
        keep = suppress(*candidates, IOU_THRESHOLD, MAX_DETECTIONS, scores.iou_across)
        detections = clip_detections(candidates, keep, image_hw, self._names)
        return [d for d in detections if not wanted.labels or d.label in wanted.labels]
