"""The second stage: its batches, what stays as it is, what is tuned, and what that minimises.

    x -g_a(level)-> y -(* gain)-> round -(* inverse gain)-> y_hat     FrozenEncoder, no gradient
    y_hat -feature_transform-> f_hat -tail-> heads_hat                TunedDecoder
    x -stem-> f -tail-> heads                                         Teacher, no gradient

    L = detection * L_detector(heads_hat, boxes)
          + heads * (share of the teacher's heads that is lost) + features * (same, at the split)

The teacher is the detector on the uncompressed picture, so a codec can be tuned on pictures that
nobody labelled; with labels the two shares keep the tail from learning the labelled pictures by
heart.

Source: the second stage of the Entropic Student, Matsubara et al., WACV 2022,
https://arxiv.org/abs/2108.11898.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.codec import CodecNet
from slimnets.darknet.detector import Darknet
from slimnets.darknet.fold import fold_norms, freeze
from slimnets.darknet.layers import HeadSpec
from slimtrain.codec.loss import heads_lost, normalised_error
from slimtrain.data.pictures import NO_BOXES, Pictures
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.data import DetectorSampler
from slimtrain.detector.loss import detector_loss

# Nearer to the pictures' own resolution than a detector's training is: the codec's texture is that
# of whole pictures, and they are not shrunk before they are sent; half are cut out at their own
# size, with small objects as small as cameras send them. No mosaics: their seams cost bits that no
# camera's picture costs.
AUGMENTATION = Augmentation(
    mosaic_share=0.0, scale_range=(0.8, 2.2), native_share=0.5, brightness=0.2, saturation=0.3
)


@dataclass(frozen=True, slots=True)
class TailLossWeights:
    """Weights of the three terms; a zero leaves a term out, and its teacher is not run."""

    detection: float = 1.0  # of the detector's loss; only labelled pictures have it
    heads: float = 1.0  # of the share of the teacher's raw heads that is lost
    features: float = 0.5  # of the share of the features at the split that is lost


class FrozenEncoder:
    """Edge and entropy decoder as served: rounded symbols, never a gradient."""

    def __init__(self, codec: CodecNet, device: torch.device) -> None:
        self._codec = codec.eval().requires_grad_(False).to(device)
        self._codec.g_a.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, x: Tensor, level: Tensor, quality: Tensor) -> Tensor:
        """Latents as they leave the decoder.

        Args:
            x: (B, 3, H, W) in [0, 1], H and W multiples of 32.
            level: (B,) int64; each level that occurs runs once.
            quality: (B,) float, real numbers from 0 to qualities - 1.

        Returns:
            y_hat (B, M, H/16, W/16) float32, zero beyond each picture's level.
        """
        M = self._codec.config.latent_channels[-1]
        y_hat = x.new_zeros(x.shape[0], M, x.shape[2] // 16, x.shape[3] // 16)
        for number in sorted(set(level.tolist())):
            rows = (level == number).nonzero()[:, 0]
            with torch.autocast(x.device.type, torch.bfloat16):
                y = self._codec.analyse(x[rows], number)  # (b, M_level, h, w)
            gain, inverse = self._codec.gains(quality[rows], number)  # (b, M_level) each
            symbols = torch.round(y * gain[:, :, None, None])
            y_hat[rows, : y.shape[1]] = symbols * inverse[:, :, None, None]
        return y_hat


class TunedDecoder(nn.Module):
    """Feature transform and the detector behind the split; all other weights of the two are left
    alone.

    The tail's norms are folded into its convolutions. Serving folds them anyway; running statistics
    of batches of eight pictures at mixed rates would be noise, and the frozen ones of clean
    features are a scale and a shift, which the folded weights can learn. It is faster, too.

    Args:
        codec: gives its feature transform, which is tuned in place.
        detector: whose copy is tuned behind layer `split`.
    """

    def __init__(self, codec: CodecNet, detector: Darknet, split: int) -> None:
        super().__init__()
        self.split = split
        self.num_levels = codec.config.num_levels
        self.feature_transform = codec.feature_transform.requires_grad_(True)
        self.tail = fold_norms(detector, split + 1).requires_grad_(False)
        for parameter in self.tail_parameters():
            parameter.requires_grad_(True)

    def tail_parameters(self) -> list[nn.Parameter]:
        """Weights behind the split."""
        behind = self.tail.layers[self.split + 1 :]
        return [parameter for layer in behind for parameter in layer.parameters()]

    def forward(self, y_hat: Tensor, level: Tensor) -> tuple[Tensor, list[Tensor]]:
        """y_hat (B, M, h, w), level (B,) int64 -> f_hat (B, C, 2h, 2w) and the raw heads."""
        one_hot = F.one_hot(level, self.num_levels).to(y_hat.dtype)
        f_hat = self.feature_transform(y_hat, one_hot)
        return f_hat, self.tail.tail(f_hat, self.split)


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


@dataclass(frozen=True)
class TailBatch:
    """`x` (B, 3, S, S) in [0, 1]; `targets` (L, T, 6) of the first L pictures, in pixels."""

    x: Tensor
    targets: Tensor


class TailSampler:
    """Draws batches that depend on (seed, step) alone: labelled pictures, then unlabelled ones, in
    the proportion in which there are any.

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
