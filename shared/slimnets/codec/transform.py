"""The transforms: g_a at the edge (slimmable, tapered), g_s and the feature transform in the cloud
(any level's prefix).

x -g_a(level)-> y[:M_level] ... y_hat[:M_level] -feature_transform-> f_hat -tail-> detections
                                                -g_s--------------> x_hat

Beside the convolutions of both may lie a linear transform of 16 x 16 blocks, which begins as a DCT:
from the first step on the codec is a transform coder with a learned entropy model, and the
convolutions learn what a DCT cannot do. It costs 768 multiply-accumulates per latent sample, at
most 0.58 kMAC per pixel for 192 channels. Training changes the kernels like any others. Both run in
float32 even under autocast: the mean of a block needs more than the eight bits of bf16.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.codec.slimmable import CausalConv2d, CausalGDN

_KERNEL = 5  # pixels; 5x5/2 as in Balle et al. 2018
LEAK = 0.1
LATENT_SPREAD = 2.0  # standard deviation of every latent at the start, without a block transform
_IGDN_GAMMA = 0.1  # at the start, on the diagonal
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


class AnalysisTransform(nn.Module):
    """g_a: four 5x5/2 convolutions with GDN between them, and (if configured) a linear block
    transform beside them whose result is added.

    Source: the stack of Balle et al., "Variational image compression with a scale hyperprior"
    (2018), tapered. Channel-causal groups and the block transform are ours.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        picture = (3,) + (0,) * (config.num_levels - 1)
        groups = [picture, *(config.layer_groups(layer) for layer in range(4))]
        self.convs = nn.ModuleList(
            CausalConv2d(n_in, n_out, _KERNEL, stride=2) for n_in, n_out in pairwise(groups)
        )
        self.gdns = nn.ModuleList(CausalGDN(group) for group in groups[1:4])
        self.latent_channels = config.latent_channels
        M = self.latent_channels[-1]
        self.block = BlockAnalysis(M) if config.block_transform else None

    def forward(self, x: Tensor, level: int, lower_gradient: float = 1.0) -> Tensor:
        """x (B, 3, H, W) -> y (B, M_level, H/16, W/16); `lower_gradient` as in `CausalConv2d`."""
        out = x
        for i, conv in enumerate(self.convs):
            out = conv(out, level, lower_gradient)
            if i < len(self.gdns):
                out = self.gdns[i](out, level, lower_gradient)
        if self.block is not None:
            out = out + self.block(x, self.latent_channels[level])
        return out

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Centre and scale what every convolution gives of pictures x (B, 3, H, W).

        Latents that start far below one are nearly all rounded to zero; in a run that began so the
        wide groups stayed dead. Beside a block transform the last convolution starts at zero.

        Source: Mishkin and Matas, "All you need is a good init" (ICLR 2016).
        """
        widest, last = len(self.latent_channels) - 1, len(self.gdns)
        spread = 0.0 if self.block is not None else LATENT_SPREAD
        for i, conv in enumerate(self.convs):
            assert isinstance(conv, CausalConv2d)
            out = conv(x, widest)
            mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)).clamp_min(1e-6)
            conv.rescale((spread if i == last else 1.0) / deviation, mean)
            if i < last:
                x = self.gdns[i](conv(x, widest), widest)


class ResidualBlock(nn.Module):
    """x + conv(leaky(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class LevelInput(nn.Module):
    """First layer of a decoder: takes the full-width latent, zero beyond the level's prefix, and
    which level it is.

    A convolution over zeros equals the convolution of the prefix alone, so one graph (and one
    batch) serves all levels; the level's own bias tells the layers above how much is missing.
    """

    def __init__(self, config: CodecConfig, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            config.latent_channels[-1], out_channels, kernel_size, padding=kernel_size // 2
        )
        self.level_bias = nn.Linear(config.num_levels, out_channels, bias=False)

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat (B, M, h, w), level (B, K) one-hot -> (B, out_channels, h, w)."""
        y: Tensor = self.conv(y_hat) + self.level_bias(level)[:, :, None, None]
        return y


def _upsample(n_in: int, n_out: int) -> nn.Sequential:
    """Sub-pixel convolution, twice the height and width. Source: Shi et al., CVPR 2016."""
    return nn.Sequential(nn.Conv2d(n_in, n_out * 4, 3, padding=1), nn.PixelShuffle(2))


class InverseGDN(nn.Module):
    """Inverse generalised divisive normalisation, y_i = x_i * (beta_i + sum_j gamma_ij |x_j|).

    Source: as `slimnets.codec.slimmable.CausalGDN`; its approximate inverse with exponents of one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.root_beta = nn.Parameter(torch.ones(channels))
        self.root_gamma = nn.Parameter((_IGDN_GAMMA * torch.eye(channels) + 1e-3).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        gamma, beta = self.root_gamma.square(), self.root_beta.square()
        return x * F.conv2d(x.abs(), gamma[..., None, None], beta)


def _double(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(n_in, n_out, _KERNEL, 2, padding=_KERNEL // 2, output_padding=1)


class SynthesisTransform(nn.Module):
    """g_s: the picture from any level's latent, four transposed 5x5/2 convolutions with inverse
    GDN, and (if configured) a linear block transform beside them.

    Source: the stack of Balle et al. 2018, tapered.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        w16, w8, w4, w2 = config.synthesis_widths
        self.first = LevelInput(config, w16, kernel_size=1)
        self.body = nn.Sequential(
            _double(w16, w8),
            InverseGDN(w8),
            _double(w8, w4),
            InverseGDN(w4),
            _double(w4, w2),
            InverseGDN(w2),
            _double(w2, 3),
        )
        M = config.latent_channels[-1]
        self.block = BlockSynthesis(M) if config.block_transform else None

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat (B, M, h, w), level (B, K) one-hot -> x_hat (B, 3, 16h, 16w), not yet clipped."""
        x_hat: Tensor = self.body(self.first(y_hat, level)) + 0.5
        return x_hat if self.block is None else x_hat + self.block(y_hat)


class FeatureTransform(nn.Module):
    """Latent-space transform (LST): any level's prefix -> features at the detector's split point
    (stride 8).

    Source: the role is that of Choi and Bajic, "Scalable image coding for humans and machines" (TIP
    2022) and of the paper's machine decoder; the layers are ours, most of them at stride 16 where
    they are cheap.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.feature_width
        self.first = LevelInput(config, width, kernel_size=1)
        self.body = nn.Sequential(
            nn.LeakyReLU(LEAK),
            ResidualBlock(width),
            ResidualBlock(width),
            ResidualBlock(width),
            _upsample(width, width),
            ResidualBlock(width),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(width, config.feature_channels, 3, padding=1),
        )

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat (B, M, h, w), level (B, K) one-hot -> f_hat (B, feature_channels, 2h, 2w)."""
        f_hat: Tensor = self.body(self.first(y_hat, level))
        return f_hat
