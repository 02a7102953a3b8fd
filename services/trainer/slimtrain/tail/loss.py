"""What the second stage minimises: the detector's own loss on labelled pictures, and the distance
to what the uncompressed detector says on all of them.

    L = detection * L_detector(heads_hat, boxes)
          + heads * (share of the teacher's heads that is lost) + features * (same, at the split)

The teacher is the detector on the uncompressed picture, so a codec can be tuned on pictures that
nobody labelled; with labels the two shares keep the tail from learning the labelled pictures by
heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slimnets.darknet.detector import Darknet
from slimnets.darknet.fold import freeze
from slimnets.darknet.layers import HeadSpec
from slimtrain.codec.loss import heads_lost, normalised_error
from slimtrain.detector.loss import detector_loss


@dataclass(frozen=True, slots=True)
class TailLossWeights:
    """Weights of the three terms; a zero leaves a term out, and its teacher is not run."""

    detection: float = 1.0  # of the detector's loss; only labelled pictures have it
    heads: float = 1.0  # of the share of the teacher's raw heads that is lost
    features: float = 0.5  # of the share of the features at the split that is lost


class Teacher:
    """The uncompressed detector: bf16, norms folded, never trained."""

    def __init__(self, detector: Darknet, split: int, device: torch.device) -> None:
        self._detector = freeze(detector).to(device)
        self._split = split

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) -> f (B, C, H/8, W/8)."""
        return self._detector.stem(x.bfloat16(), self._split)

    @torch.no_grad()
    def heads(self, f: Tensor) -> list[Tensor]:
        """Raw head maps of features."""
        return self._detector.tail(f, self._split)


def tail_losses(
    f_hat: Tensor,
    heads_hat: Sequence[Tensor],
    x: Tensor,
    targets: Tensor,
    teacher: Teacher,
    specs: Sequence[HeadSpec],
    weights: TailLossWeights,
) -> dict[str, Tensor]:
    """Scalars of one batch: `total` to minimise, the others for the log (zero where left out).

    Args:
        f_hat, heads_hat: of all B pictures.
        x: (B, 3, H, W).
        targets: (L, T, 6) boxes of the first L pictures, as `detector_loss` takes them.
    """
    zero = f_hat.new_zeros((), dtype=torch.float32)
    detection = heads = features = zero
    if weights.detection > 0 and len(targets):
        labelled = [raw[: len(targets)] for raw in heads_hat]
        detection = detector_loss(labelled, targets, specs).total
    if weights.heads > 0 or weights.features > 0:
        f = teacher.features(x)
        if weights.features > 0:
            features = normalised_error(f_hat, f).mean()
        if weights.heads > 0:
            heads = heads_lost(heads_hat, teacher.heads(f), specs).mean()
    total = weights.detection * detection + weights.heads * heads + weights.features * features
    parts = {"detection": detection, "heads": heads, "features": features}
    return {"total": total, **{name: part.detach() for name, part in parts.items()}}
