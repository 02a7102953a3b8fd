"""Latents -> detections, and a whole picture -> detections for comparison.

```
y_hat (prefix) -zero-fill-> (B, M, h, w) -feature_transform-> f_hat -tail-> heads -> detections
image -pad-> x -stem-> f -the detector's tail-> heads -> detections
```
No pixels are decoded on the first path. Its tail is the codec's own, if its manifest lists a
`tail.onnx` (one that was tuned to f_hat), and the detector's otherwise; f always meets the
detector's. Graphs are loaded when first needed and are safe to share.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Latent, one_hot_levels, widen_latents
from slimcodec.detection import Detection
from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Runtime
from slimcodec.image import pad_to_multiple, to_x
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimdetect.boxes import clip_detections, decode_heads, suppress

IOU_THRESHOLD = 0.5
FEATURE_TRANSFORM = "feature_transform.onnx"
TAIL = "tail.onnx"
MAX_DETECTIONS = 300  # per picture, as in COCO tooling for dense detectors


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
        self._names = detector_artifact.names  # an error comes before any graph is loaded
        self._codec = codec_artifact
        self._detector = detector_artifact
        has_tail = TAIL in codec_artifact.manifest.files
        self._latent_tail = codec_artifact if has_tail else detector_artifact
        self._runtime = runtime
        self._max_batch_size = max_batch_size

    def detect_latents(
        self, latents: Sequence[Latent], min_score: float = 0.25
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
                heads = self._heads_of([latents[index] for index in batch])
                for row, index in enumerate(batch):
                    raw = [head[row] for head in heads]
                    results[index] = self._boxes(raw, latents[index].image_hw, min_score)
        return results

    def detect_image(self, image: NDArray[np.uint8], min_score: float = 0.25) -> list[Detection]:
        """Give the detections of a picture, (H, W, 3) uint8 RGB, without the codec."""
        x = pad_to_multiple(to_x(image), self._codec.manifest.pad_multiple)
        f = self._runtime.load(self._detector.file("stem.onnx"))(x=x)["f"]
        heads = self._tail(self._detector, f)
        return self._boxes([head[0] for head in heads], (image.shape[0], image.shape[1]), min_score)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by class number."""
        return self._names

    def warm_up(self) -> None:
        """Load the graphs of the latents' path now, so that no frame waits for them."""
        self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        self._runtime.load(self._latent_tail.file(TAIL))

    def _heads_of(self, latents: Sequence[Latent]) -> list[NDArray[np.float32]]:
        """Raw head maps (B, A * (5 + C), h, w) of latents of one size."""
        levels = self._codec.levels
        y_hat = widen_latents(latents, levels[-1].latent_channels)  # (B, M, h, w)
        level = one_hot_levels(latents, len(levels))  # (B, K)
        transform = self._runtime.load(self._codec.file(FEATURE_TRANSFORM))
        return self._tail(self._latent_tail, transform(y_hat=y_hat, level=level)["f_hat"])

    def _tail(
        self, artifact: CodecArtifact | DetectorArtifact, f: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        heads = self._runtime.load(artifact.file(TAIL))(f=f)
        return [heads[f"head_{index}"] for index in range(len(self._detector.manifest.heads))]

    def _boxes(
        self, raw: Sequence[NDArray[np.float32]], image_hw: tuple[int, int], min_score: float
    ) -> list[Detection]:
        candidates = decode_heads(raw, self._detector.manifest.heads, min_score)
        keep = suppress(*candidates, iou_threshold=IOU_THRESHOLD, max_detections=MAX_DETECTIONS)
        return clip_detections(candidates, keep, image_hw, self._names)
