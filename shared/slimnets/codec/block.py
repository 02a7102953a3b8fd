"""A linear 16 x 16 block transform beside the convolutions of g_a and g_s, which begins as a DCT.

x -BlockAnalysis-> y (added to what the convolutions give)
y_hat -BlockSynthesis-> x_hat (likewise)

From the first step on the codec is a transform coder with a learned entropy model, and the
convolutions learn what a DCT cannot do. It costs 768 multiply-accumulates per latent sample, at
most 0.58 kMAC per pixel for 192 channels. Training changes the kernels like any others. Both run in
float32 even under autocast: the mean of a block needs more than the eight bits of bf16.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.config import LATENT_STRIDE

_UNIT = 60 / 255  # of a picture in [0, 1]: a latent of one, which is one symbol at a gain of one


class BlockAnalysis(nn.Module):
    """Blocks of 16 x 16 pixels -> `channels` coefficients."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, LATENT_STRIDE, stride=LATENT_STRIDE)

    def forward(self, x: Tensor, channels: int) -> Tensor:
        """x (B, 3, H, W) -> the first `channels` coefficients (B, channels, H/16, W/16)."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.conv.weight[:channels].flatten(1)[:, :, None, None]
            # a 1x1 convolution over gathered blocks: on the CPU far faster than a 16x16 one
            blocks = F.pixel_unshuffle(x.float(), LATENT_STRIDE)  # (B, 768, H/16, W/16)
            return F.conv2d(blocks, weight, self.conv.get_parameter("bias")[:channels])


class BlockSynthesis(nn.Module):
    """Coefficients -> blocks of 16 x 16 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, 3, LATENT_STRIDE, stride=LATENT_STRIDE)

    def forward(self, y_hat: Tensor) -> Tensor:
        """y_hat (B, M, h, w) -> (B, 3, 16h, 16w), around zero."""
        return F.pixel_shuffle(self.pixels(y_hat), LATENT_STRIDE)

    def pixels(self, y_hat: Tensor) -> Tensor:
        """y_hat (B, M, h, w) -> each block's pixels as channels (B, 768, h, w)."""
        with torch.autocast(y_hat.device.type, enabled=False):
            weight = self.conv.weight.flatten(1).T[:, :, None, None]
            bias = self.conv.get_parameter("bias").repeat_interleave(LATENT_STRIDE**2)
            return F.conv2d(y_hat.float(), weight, bias)


@torch.no_grad()
def start_as_dct(analysis: BlockAnalysis, synthesis: BlockSynthesis, x: Tensor) -> None:
    """Set both to a DCT of orthonormal colours, its coefficients in the order of their variance
    over the pictures x (B, 3, H, W).

    Of all colours and frequencies the M of largest variance are kept, so that the narrowest level
    holds what matters most to the squared error.
    """
    basis = _dct_basis().to(x)  # (768, 3, 16, 16)
    order = F.conv2d(x, basis, stride=LATENT_STRIDE).var((0, 2, 3)).argsort(descending=True)
    kept = basis[order[: analysis.conv.out_channels]]
    analysis.conv.weight.copy_(kept / _UNIT)
    bias = -0.5 * kept.sum((1, 2, 3)) / _UNIT  # g_s adds the 0.5 again
    analysis.conv.get_parameter("bias").copy_(bias)
    synthesis.conv.weight.copy_(kept * _UNIT)
    nn.init.zeros_(synthesis.conv.get_parameter("bias"))


def _dct_basis() -> Tensor:
    """Orthonormal basis of 16 x 16 blocks in three colours, (768, 3, 16, 16)."""
    n = torch.arange(LATENT_STRIDE, dtype=torch.float64)
    dct = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / LATENT_STRIDE)  # (frequency, sample)
    dct[0] *= 0.5**0.5
    dct *= (2 / LATENT_STRIDE) ** 0.5
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)  # luminance, red to blue, green to magenta
    basis = torch.einsum("kc,uy,vx->kuvcyx", colours, dct, dct)
    return basis.reshape(-1, 3, LATENT_STRIDE, LATENT_STRIDE).float()
