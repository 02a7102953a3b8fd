"""Integer entropy tables of a codec with a factorized prior, from what the encoder really emits:
counts of symbols, smoothed by the learned prior.

Floats end here. A table is a list of frequencies that sum to 2**16; edge and cloud read the same
file.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from slimcodec.entropy.tables import Tables
from slimnets.codec.codec import Codec
from slimnets.codec.prior import FactorizedPrior
from slimnets.export.frequencies import to_tables

TABLE_STEPS = 4  # rows from one trained quality to the next; measured in docs/develop/container.md

_REACH = 255  # symbols beyond +-255 go through the escape bin
_PRIOR_COUNT = 32.0  # the prior weighs as many observed symbols


@torch.no_grad()
def tabulate(codec: Codec, pictures: Iterable[Tensor], table_steps: int = TABLE_STEPS) -> Tables:
    """Count the symbols of `pictures` and make the tables.

    Args:
        codec: on the CPU, with the weights that will be shipped.
        pictures: (1, 3, H, W) in [0, 1], H and W multiples of `config.pad_multiple`; training
            pictures, never validation.
        table_steps: rows from one trained quality to the next.
    """
    config = codec.config
    qualities = torch.arange((config.qualities - 1) * table_steps + 1) / table_steps
    nested = config.sharing == "nested"
    levels = [config.num_levels - 1] if nested else list(range(config.num_levels))
    shape = (len(qualities), config.coded_rows[-1])
    counts = np.zeros((*shape, 2 * _REACH + 1), np.int64)
    for x in pictures:
        for level in levels:
            y, first = codec.analyse(x, level)[0], config.coded_rows[level]
            for row, quality in enumerate(qualities):
                v = y * codec.gains(quality[None], level)[0][0, :, None, None]
                counts[row, first : first + len(v)] += _count(v.flatten(1))
    if not counts.any():
        raise ValueError("no pictures to count symbols on")
    weights = counts.astype(np.float64)
    grid = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
    for level in levels:
        prior, first = codec.prior_of(level), config.coded_rows[level]
        assert isinstance(prior, FactorizedPrior)
        for row, quality in enumerate(qualities):
            gain, _ = codec.gains(quality[None], level)
            p = prior.likelihoods(grid.expand(1, gain.shape[1], 1, -1), gain)[0, :, 0]
            weights[row, first : first + len(p)] += _PRIOR_COUNT * p.double().numpy()
    tables = to_tables(weights.reshape(-1, 2 * _REACH + 1))
    return Tables(
        codec.log_gain.exp().numpy(),
        codec.log_inverse_gain.exp().numpy(),
        tables.cdf.reshape(*shape, -1),
        tables.cdf_length.reshape(shape),
        tables.offset.reshape(shape),
        table_steps,
    )


def _count(v: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """(M, n) gained latents -> (M, 2 * reach + 1) how often each symbol comes."""
    M, bins = v.shape[0], 2 * _REACH + 1
    symbols = torch.round(v).clamp(-_REACH, _REACH).long() + _REACH
    flat = symbols + torch.arange(M)[:, None] * bins
    return torch.bincount(flat.flatten(), minlength=M * bins).reshape(M, bins).numpy()
