"""A feature transform that ends in the detector's own first layers.

y_hat -block, + correction at stride 16-> x_m, a picture for the machine -stem-> f_hat

With the weights that the detector has in front of its split it begins as "decode, then detect"
through a linear decoder; training then makes it a reader of what the codec leaves. It never runs
g_s.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.config import LATENT_STRIDE, CodecConfig
from slimnets.codec.transform import LEAK, BlockSynthesis, LevelInput, ResidualBlock
from slimnets.darknet.cfg import CfgSection, format_cfg, parse_cfg
from slimnets.darknet.detector import Darknet, LayerGraph
from slimnets.darknet.fold import fold_norms

_BLOCKS = 2  # residual blocks at stride 16


def stem_cfg(detector: Darknet, split: int) -> str:
    """The detector's layers 0 to `split` as `.cfg` text, their norms folded away."""
    net = detector.sections[0]
    channels = {key: value for key, value in net.options.items() if key == "channels"}
    layers = [_without_norm(section) for section in detector.sections[1 : split + 2]]
    return format_cfg([replace(net, options=channels), *layers])


def _without_norm(section: CfgSection) -> CfgSection:
    kept = {key: value for key, value in section.options.items() if key != "batch_normalize"}
    return replace(section, options=kept)


class StemFeatureTransform(nn.Module):
    """Any level's prefix -> features at the detector's split point, by way of a picture.

    The picture is linear in the latent, as `block` of g_s is, plus what two residual blocks at
    stride 16 see of the neighbouring blocks. Both parts are ours; the stem's layers are whatever
    `config.stem` says.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.feature_width
        self.first = LevelInput(config, width, kernel_size=1)
        self.body = nn.Sequential(
            nn.LeakyReLU(LEAK), *(ResidualBlock(width) for _ in range(_BLOCKS))
        )
        self.correction = BlockSynthesis(width)
        self.block = BlockSynthesis(config.latent_channels[-1])
        self.stem = LayerGraph(parse_cfg(config.stem))
        nn.init.zeros_(self.correction.conv.weight)
        for synthesis in (self.correction, self.block):
            nn.init.zeros_(synthesis.conv.get_parameter("bias"))

    @property
    def last_layer(self) -> int:
        """Number of the stem's last layer, whose output are the features."""
        return len(self.stem.layers) - 1

    def picture(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat (B, M, h, w), level (B, K) one-hot -> x_m (B, 3, 16h, 16w), about 0 to 1."""
        corrected = self.correction.pixels(self.body(self.first(y_hat, level)))
        return F.pixel_shuffle(self.block.pixels(y_hat) + corrected + 0.5, LATENT_STRIDE)

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat (B, M, h, w), level (B, K) one-hot -> f_hat (B, C, 16h/stride, 16w/stride)."""
        last = self.last_layer
        return self.stem.run(self.picture(y_hat, level), 0, (last,))[last]

    @torch.no_grad()
    def take_stem(self, detector: Darknet) -> None:
        """Copy the weights of the detector that `config.stem` was made from."""
        folded = fold_norms(detector).layers[: self.last_layer + 1]
        self.stem.layers.load_state_dict(folded.state_dict())

    @torch.no_grad()
    def take_block(self, block: BlockSynthesis) -> None:
        """Copy the linear part of g_s."""
        self.block.load_state_dict(block.state_dict())
