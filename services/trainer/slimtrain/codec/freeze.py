"""Keep the narrow levels of a codec as they are while the wider ones learn.

The base is trained for the machine, then the groups above it for people, with the base frozen: its
symbols, and so what the detector reads at those levels, do not change by a bit.

Source of the order: "Base layer efficiency in scalable human-machine coding" (Foroutan et al., ICIP
2023); the gradients of narrow groups are independent of wide ones here, so it costs nothing.
"""

import torch
from torch import Tensor, nn

from slimnets.codec.codec import CodecNet
from slimnets.codec.hyperprior import Hyperprior, IntegerCausalConv2d
from slimnets.codec.prior import FactorizedPrior
from slimnets.codec.slimmable import CausalConv2d, CausalGDN


def freeze_levels(codec: CodecNet, count: int) -> None:
    """Freeze everything of the edge that levels 0 to `count` - 1 are made of; decoders go on. With
    all levels frozen only decoders learn, and containers stay what they are.

    Raises:
        ValueError: the codec has not so many levels.
    """
    config = codec.config
    if not 0 < count <= config.num_levels:
        raise ValueError(f"frozen_levels {count}; the codec has {config.num_levels} levels")
    M = config.latent_channels[count - 1]
    for module in codec.modules():
        if isinstance(module, CausalConv2d | IntegerCausalConv2d):
            for group in module.groups[:count]:
                group.requires_grad_(False)
        elif isinstance(module, CausalGDN):
            for parameter in (*module.beta[:count], *module.gamma[:count]):
                parameter.requires_grad_(False)
        elif isinstance(module, FactorizedPrior):
            hyper = isinstance(codec.prior, Hyperprior)
            rows = config.hyper_channels[count - 1] if hyper else M
            for parameter in module.parameters():
                _freeze(parameter, 0, rows)
    if codec.g_a.block is not None:
        for parameter in codec.g_a.block.parameters():
            _freeze(parameter, 0, M)
    for parameter in (codec.log_gain, codec.log_inverse_gain):
        _freeze(parameter, 1, M)


def _freeze(parameter: nn.Parameter, dim: int, count: int) -> None:
    """Take the gradient from the first `count` slices; Adam then leaves them where they are."""

    def masked(gradient: Tensor) -> Tensor:
        index = torch.arange(count, device=gradient.device)
        return gradient.index_fill(dim, index, 0.0)

    parameter.register_hook(masked)  # type: ignore[no-untyped-call]  # torch leaves it untyped
