"""The two halves of the second stage: what stays as it is, and what is tuned.

    x -g_a(level)-> y -(* gain)-> round -(* inverse gain)-> y_hat     FrozenEncoder, no gradient
    y_hat -feature_transform-> f_hat -tail-> raw heads                TunedDecoder

Source: the second stage of the Entropic Student, Matsubara et al., WACV 2022,
https://arxiv.org/abs/2108.11898.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.codec import CodecNet
from slimnets.darknet.detector import Darknet
from slimnets.darknet.fold import fold_norms


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
