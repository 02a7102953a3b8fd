"""How a codec begins: with the weights of another (a retrained codec, another detector), with a
prior that fits its latents, and with the detector's own first layers where it has a stem; and which
of its levels stay as they begin.

    block of g_s, stem of the detector -> transform -fit_picture-> its picture is near the original
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.codec.prior import FactorizedPrior
from slimnets.codec.slimmable import CausalConv2d, CausalGDN
from slimnets.codec.stem_transform import StemFeatureTransform, stem_cfg
from slimnets.darknet.detector import Darknet
from slimtrain.codec.artifact import read_codec
from slimtrain.data.crops import CropSampler

FIT_STEPS = 300
_STEM = "feature_transform.stem."
_FIT_BATCH = 16  # crops
_FIT_LEARNING_RATE = 5e-2  # of densities; Adam, falling to nothing
_FIT_NETWORK_SHARE = 0.04  # of that, for layers beside them
_PICTURE_LEARNING_RATE = 1e-3
_PICTURE_WARM_UP = 50  # steps: Adam's second moments
# Of the learning rate: the stem knows its trade, the block begins as what g_s has learned.
_STEM_SHARES = {"stem.": 0.3, "block.": 0.1}

Draw = Callable[[int], tuple[Tensor, Tensor, Tensor]]


def begin_with(codec: CodecNet, source: Path) -> list[str]:
    """Copy every weight of `source` whose name and shape fit, and return the names of the others.

    Args:
        source: a codec artifact's folder, or a checkpoint of `slimwire train codec` (of which the
            average is taken).

    Raises:
        ValueError: nothing fits, so that this would not be a beginning.
    """
    config, given = read_codec(source)
    if config.get("stem", "") != codec.config.stem:  # another detector's; some shapes might fit
        given = {k: v for k, v in given.items() if not k.startswith(_STEM)}
    ours = codec.state_dict()
    fitting = {k: v for k, v in given.items() if k in ours and v.shape == ours[k].shape}
    if not fitting:
        raise ValueError(f"{source}: no weight fits this configuration; begin without it")
    codec.load_state_dict({**ours, **fitting})
    return sorted(set(ours) - set(fitting))


def begin_stem(codec: CodecNet, detector: Darknet, crops: CropSampler, new: Sequence[str]) -> None:
    """Begin what a feature transform of kind "stem" (any other is left alone) has not been given.

    Args:
        new: names of the weights that did not come from another codec.
    """
    transform = codec.feature_transform
    if not isinstance(transform, StemFeatureTransform):
        return
    if any(name.startswith(_STEM) for name in new):
        transform.take_stem(detector)
    if "feature_transform.block.conv.weight" not in new or codec.g_s.block is None:
        return
    transform.take_block(codec.g_s.block)
    config = codec.config

    @torch.no_grad()
    def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
        x = crops.batch(step, _FIT_BATCH)
        quality = torch.rand(_FIT_BATCH, device=x.device) * (config.qualities - 1)
        level = torch.randint(config.num_levels, (_FIT_BATCH,), device=x.device)
        y = codec.analyse(x, config.num_levels - 1)
        gain, inverse = (g[:, :, None, None] for g in codec.gains(quality, config.num_levels - 1))
        return x, *codec.prefix(torch.round(y * gain) * inverse, level)

    fit_picture(transform, draw)


def give_stem(codec: CodecNet, detector: Darknet, split: int, width: int | None = None) -> CodecNet:
    """The same codec with a feature transform of kind "stem", begun from g_s and the detector.

    Args:
        width: channels of it at stride 16; None: as the codec's has.

    Raises:
        ValueError: the codec has no block transform to begin from.
    """
    if codec.g_s.block is None:
        raise ValueError(
            "a stem begins from the linear path of g_s, and this codec has none; train one with "
            "block_transform: true"
        )
    own = replace(
        codec.config,
        feature_transform="stem",
        feature_width=width or codec.config.feature_width,
    )
    config = shape_for(own, detector, split)
    given = CodecNet(config)
    rest = {k: v for k, v in codec.state_dict().items() if not k.startswith("feature_transform.")}
    given.load_state_dict(rest, strict=False)
    transform = given.feature_transform
    assert isinstance(transform, StemFeatureTransform)
    transform.take_block(codec.g_s.block)
    transform.take_stem(detector)
    return given


def shape_for(config: CodecConfig, detector: Darknet, split: int) -> CodecConfig:
    """The shape with what is the detector's own in it."""
    stem = stem_cfg(detector, split) if config.feature_transform == "stem" else ""
    channels = detector.split_point(split).channels
    return replace(config, feature_channels=channels, stem=stem)


def fit_picture(transform: StemFeatureTransform, draw: Draw, steps: int = FIT_STEPS) -> None:
    """Fit the transform's picture to the original, before any feature is asked for.

    Heads behind the linear part of a trained g_s alone are further from the detector's than the
    best constant (docs/decisions/0011-stem.md), since its convolutions learned to lean on it.

    Args:
        draw: step -> x (B, 3, H, W), y_hat (B, M, h, w) and level (B, K) one-hot.
    """

    def error(step: int) -> Tensor:
        x, y_hat, level = draw(step)
        with torch.autocast(x.device.type, torch.bfloat16):
            return F.mse_loss(transform.picture(y_hat, level), x)

    groups = [
        (parameters, share * _PICTURE_LEARNING_RATE)
        for share, parameters in learning_shares(transform)
    ]
    _fit(groups, error, steps, _PICTURE_WARM_UP)


def _fit(
    groups: Iterable[tuple[list[nn.Parameter], float]],
    error: Callable[[int], Tensor],
    steps: int,
    warm_up: int = 1,
) -> None:
    """Minimise by Adam, each group at its learning rate, which falls to nothing."""
    optimizer = torch.optim.Adam([{"params": group, "peak": peak} for group, peak in groups])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / warm_up) * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        error(step).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()


def learning_shares(transform: nn.Module) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Shares of the learning rate, each with the parameters of a feature transform that have it."""
    by_share: dict[float, list[nn.Parameter]] = {}
    for name, parameter in transform.named_parameters():
        share = next((s for prefix, s in _STEM_SHARES.items() if name.startswith(prefix)), 1.0)
        by_share.setdefault(share, []).append(parameter)
    yield from by_share.items()


def fit_prior(codec: CodecNet, crops: CropSampler, steps: int = FIT_STEPS) -> None:
    """Fit the prior alone to the latents that g_a gives now.

    A prior that overrates the bits of fine coefficients lets the codec give them up before it has
    learned what they cost: a run that began as a DCT of 27.8 dB at 0.42 bpp stood at 26.2 dB and
    0.53 bpp after 2,300 steps.
    """

    def bpp(step: int) -> Tensor:
        x = crops.batch(step, _FIT_BATCH)
        quality = torch.rand(_FIT_BATCH, device=x.device) * (codec.config.qualities - 1)
        return codec.bits(x, quality).sum() / x[:, 0].numel()

    densities, layers = split_prior(codec)
    rates = (_FIT_LEARNING_RATE, _FIT_LEARNING_RATE * _FIT_NETWORK_SHARE)
    groups = zip((densities, layers), rates, strict=True)
    _fit([(group, rate) for group, rate in groups if group], bpp, steps)


def split_prior(codec: CodecNet) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the prior's densities, and of what layers another kind has beside them."""
    densities = {
        id(parameter)
        for module in codec.prior.modules()
        if isinstance(module, FactorizedPrior)
        for parameter in module.parameters()
    }
    parameters = list(codec.prior.parameters())
    return [p for p in parameters if id(p) in densities], [
        p for p in parameters if id(p) not in densities
    ]


def freeze_levels(codec: CodecNet, count: int) -> None:
    """Freeze everything of the edge that levels 0 to `count` - 1 are made of; decoders go on. With
    all levels frozen only decoders learn, and containers stay what they are.

    The base is trained for the machine, then the groups above it for people: its symbols, and so
    what the detector reads at those levels, do not change by a bit.

    Raises:
        ValueError: the codec has not so many levels.

    Source of the order: "Base layer efficiency in scalable human-machine coding" (Foroutan et al.,
    ICIP 2023); the gradients of narrow groups are independent of wide ones here: it costs nothing.
    """
    config = codec.config
    if not 0 < count <= config.num_levels:
        raise ValueError(f"frozen_levels {count}; the codec has {config.num_levels} levels")
    M = config.latent_channels[count - 1]
    for module in codec.modules():
        if isinstance(module, CausalConv2d):
            for group in module.groups[:count]:
                group.requires_grad_(False)
        elif isinstance(module, CausalGDN):
            for parameter in (*module.beta[:count], *module.gamma[:count]):
                parameter.requires_grad_(False)
        elif isinstance(module, FactorizedPrior):
            for parameter in module.parameters():
                _freeze(parameter, 0, config.prior_channels[count - 1])
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
