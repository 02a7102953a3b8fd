"""Integer entropy tables of a codec with a hyperprior: z's by channel, y's by scale index; counts
of what the encoder really emits, smoothed by the learned density and by Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import Tables
from slimnets.codec.codec import Codec
from slimnets.codec.config import CodecConfig
from slimnets.codec.hyperprior import NUM_SCALES, SCALES, Hyperprior
from slimnets.export.frequencies import to_tables

_Z_REACH = 255  # symbols beyond +- this go through the escape bin
_REACH = math.ceil(5 * SCALES[-1])  # likewise of y; 6e-7 of the widest Gaussian lies beyond
_PRIOR_COUNT = 32.0  # the prior weighs as many observed symbols


@torch.no_grad()
def tabulate_hyper(
    codec: Codec, pictures: Iterable[Tensor], table_steps: int = 1
) -> tuple[Tables, SymbolTables]:
    """Count the symbols of `pictures` and make the tables.

    Args:
        codec: with a hyperprior, on the CPU, with the weights that will be shipped.
        pictures: (1, 3, H, W) in [0, 1], H and W multiples of `config.pad_multiple`; training
            pictures, never validation.
        table_steps: rows of z's tables from one trained quality to the next.

    Returns:
        Tables of z, with the gains of y; and the tables of y, one for each scale.
    """
    config = codec.config
    qualities = torch.arange((config.qualities - 1) * table_steps + 1) / table_steps
    streams = _streams(config)
    shape = (len(qualities), sum(config.hyper_channels[level] for level, _ in streams))
    z_counts = np.zeros((*shape, 2 * _Z_REACH + 1), np.int64)
    y_counts = np.zeros((NUM_SCALES, 2 * _REACH + 1), np.int64)
    for x in pictures:
        first = 0
        for level, own in streams:
            hyperprior, y = _hyperprior(codec, level), codec.analyse(x, level)
            columns = slice(first, first + config.hyper_channels[level])
            first = columns.stop
            for row, quality in enumerate(qualities):
                v = y * codec.gains(quality[None], level)[0][:, :, None, None]
                z_hat = hyperprior.analyse(v, own).round()
                channel = torch.arange(z_hat.shape[1])[:, None, None].expand_as(z_hat)
                _count(z_counts[row, columns], channel, z_hat)
                _count(y_counts, hyperprior.scale_index(z_hat, own).long(), v.round())
    if not y_counts.any():
        raise ValueError("no pictures to count symbols on")
    smooth = np.concatenate([_z_probabilities(_hyperprior(codec, level)) for level, _ in streams])
    z = to_tables((z_counts + _PRIOR_COUNT * smooth).reshape(-1, 2 * _Z_REACH + 1))
    tables = Tables(
        codec.log_gain.exp().numpy(),
        codec.log_inverse_gain.exp().numpy(),
        z.cdf.reshape(*shape, -1),
        z.cdf_length.reshape(shape),
        z.offset.reshape(shape),
        table_steps,
    )
    return tables, to_tables(y_counts + _PRIOR_COUNT * _gaussian_probabilities())


def _streams(config: CodecConfig) -> list[tuple[int, int]]:
    """Levels whose latents are coded by themselves, and what their hyperpriors call them."""
    if config.sharing == "nested":
        return [(config.num_levels - 1, config.num_levels - 1)]
    return [(level, 0) for level in range(config.num_levels)]


def _hyperprior(codec: Codec, level: int) -> Hyperprior:
    prior = codec.prior_of(level)
    assert isinstance(prior, Hyperprior)
    return prior


def _count(counts: NDArray[np.int64], table: Tensor, symbols: Tensor) -> None:
    """Add symbols to the counts (T, 2 * reach + 1) of their tables."""
    num_tables, bins = counts.shape
    reach = bins // 2
    flat = table * bins + symbols.clamp(-reach, reach).long() + reach
    binned = torch.bincount(flat.flatten(), minlength=num_tables * bins)
    counts += binned.reshape(num_tables, bins).numpy()


def _z_probabilities(hyperprior: Hyperprior) -> NDArray[np.float64]:
    """(Mz, 2 * reach + 1) by the learned density."""
    channels = hyperprior.hyper_prefix[-1]
    grid = torch.arange(-_Z_REACH, _Z_REACH + 1, dtype=torch.float32).expand(1, channels, 1, -1)
    p = hyperprior.prior.likelihoods(grid, torch.ones(1, channels))[0, :, 0]
    learned: NDArray[np.float64] = p.double().numpy()
    return learned


def _gaussian_probabilities() -> NDArray[np.float64]:
    """(64, 2 * reach + 1), mean zero, deviations `SCALES`."""
    ends = (np.arange(-_REACH, _REACH + 2) - 0.5).tolist()
    rows = [[0.5 * math.erfc(-end / scale / math.sqrt(2)) for end in ends] for scale in SCALES]
    return np.diff(np.array(rows))
