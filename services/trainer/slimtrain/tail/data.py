"""Batches of the second stage: labelled pictures first, then unlabelled ones, in the proportion in
which there are any.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slimtrain.data.pictures import NO_BOXES, Pictures
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.data import DetectorSampler

# Nearer to the pictures' own resolution than a detector's training is: the codec's texture is that
# of whole pictures, and they are not shrunk before they are sent; half are cut out at their own
# size, with small objects as small as cameras send them. No mosaics: their seams cost bits that no
# camera's picture costs.
AUGMENTATION = Augmentation(
    mosaic_share=0.0, scale_range=(0.8, 2.2), native_share=0.5, brightness=0.2, saturation=0.3
)


@dataclass(frozen=True)
class TailBatch:
    """`x` (B, 3, S, S) in [0, 1]; `targets` (L, T, 6) of the first L pictures, in pixels."""

    x: Tensor
    targets: Tensor


class TailSampler:
    """Draws batches that depend on (seed, step) alone.

    Args:
        use_labels: False treats every picture as unlabelled.
    """

    def __init__(
        self,
        pictures: Pictures,
        image_size: int,
        device: torch.device,
        seed: int,
        use_labels: bool,
    ) -> None:
        labelled = [p for p in pictures if use_labels and p.boxes is not None]
        # the sampler refuses pictures without labels; here they have no boxes, and no loss on boxes
        others = without_boxes([p for p in pictures if not use_labels or p.boxes is None])
        self._share = len(labelled) / len(pictures)
        self._samplers = [
            DetectorSampler(part, image_size, device, AUGMENTATION, seed + offset)
            if len(part)
            else None
            for offset, part in enumerate((labelled, others))
        ]

    def batch(self, step: int, size: int) -> TailBatch:
        """The batch of a step; at least one picture of each kind that there is."""
        num_labelled = round(size * self._share)
        if 0 < self._share < 1:
            num_labelled = min(max(num_labelled, 1), size - 1)
        counts = (num_labelled, size - num_labelled)
        parts = [
            sampler.batch(step, count)
            for sampler, count in zip(self._samplers, counts, strict=True)
            if sampler is not None
        ]
        x = torch.cat([part.x for part in parts])
        return TailBatch(x, parts[0].targets[:num_labelled])


def without_boxes(pictures: Pictures) -> Pictures:
    """The same pictures with an empty list of boxes each."""
    return [replace(picture, boxes=NO_BOXES) for picture in pictures]
