"""Integer entropy tables from what the encoder really emits: counts of symbols, smoothed by the
learned densities.

    y -gain-> v -round-> symbols                        factorized prior: counted by channel
              `-h_a, round-> z_hat -h_s-> scale index   hyperprior: z by channel, v by scale index

Floats end here. A table is a list of frequencies that sum to 2**16; edge and cloud read the same
file.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import TOTAL_FREQUENCY, Tables
from slimnets.codec.codec import CodecNet
from slimnets.codec.hyperprior import NUM_SCALES, SCALES, Hyperprior

TABLE_STEPS = 4  # rows from one trained quality to the next; measured in docs/develop/container.md

_REACH = 255  # symbols beyond +- this go through the escape bin
_SCALED_REACH = math.ceil(5 * SCALES[-1])  # likewise, by scale: 6e-7 of the widest lies beyond
_PRIOR_COUNT = 32.0  # the prior weighs as many observed symbols
_TAIL = 2e-5  # bins whose probability, outward, sums to less than this are left to the escape


def tabulate(
    codec: CodecNet, pictures: Iterable[Tensor], table_steps: int = TABLE_STEPS
) -> tuple[Tables, SymbolTables | None]:
    """Count the symbols of `pictures` and make the tables.

    Args:
        codec: on the CPU, with the weights that will be shipped.
        pictures: (1, 3, H, W) in [0, 1], H and W multiples of `config.pad_multiple`; training
            pictures, never validation.
        table_steps: rows from one trained quality to the next.

    Returns:
        Gains, and tables by channel: of y, or of a hyperprior's z; and with a hyperprior the tables
        of y, one for each scale.
    """
    counts, by_scale = count_symbols(codec, pictures, table_steps)
    return join_tables(codec, counts, by_scale, table_steps)


@torch.no_grad()
def count_symbols(
    codec: CodecNet, pictures: Iterable[Tensor], table_steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """How often each symbol is: by row of quality and channel, smoothed; and by scale, if any."""
    prior, widest = codec.prior, codec.config.num_levels - 1
    is_hyper = isinstance(prior, Hyperprior)
    channels = (codec.config.hyper_channels if is_hyper else codec.config.latent_channels)[-1]
    qualities = torch.arange((codec.config.qualities - 1) * table_steps + 1) / table_steps
    counts = np.zeros((len(qualities), channels, 2 * _REACH + 1), np.int64)
    by_scale = np.zeros((NUM_SCALES, 2 * _SCALED_REACH + 1), np.int64)
    for x in pictures:
        y = codec.analyse(x, widest)
        for row, quality in enumerate(qualities):
            symbols = y * codec.gains(quality[None], widest)[0][:, :, None, None]
            if isinstance(prior, Hyperprior):
                v = symbols
                symbols = prior.analyse(v, widest).round()
                _count(by_scale, prior.scale_index(symbols, widest).long(), v)
            channel = torch.arange(symbols.shape[1])[:, None, None].expand_as(symbols)
            _count(counts[row], channel, symbols)
    if not counts.any():
        raise ValueError("no pictures to count symbols on")
    smoothed = [_PRIOR_COUNT * _probabilities(codec, quality[None]) for quality in qualities]
    return counts + np.stack(smoothed), by_scale.astype(np.float64) if is_hyper else None


def join_tables(
    codec: CodecNet,
    counts: NDArray[np.float64],
    by_scale: NDArray[np.float64] | None,
    table_steps: int,
) -> tuple[Tables, SymbolTables | None]:
    """What `tabulate` gives, of the counts (rows, channels, symbols) and (scales, symbols)."""
    tables = to_tables(counts.reshape(-1, counts.shape[-1]))
    shape = counts.shape[:2]
    by_channel = Tables(
        codec.log_gain.detach().exp().numpy(),
        codec.log_inverse_gain.detach().exp().numpy(),
        tables.cdf.reshape(*shape, -1),
        tables.cdf_length.reshape(shape),
        tables.offset.reshape(shape),
        table_steps,
    )
    if by_scale is None:
        return by_channel, None
    return by_channel, to_tables(by_scale + _PRIOR_COUNT * _gaussian_probabilities())


def _count(counts: NDArray[np.int64], table: Tensor, v: Tensor) -> None:
    """Add the symbols that v rounds to to the counts (T, 2 * reach + 1) of their tables."""
    num_tables, bins = counts.shape
    reach = bins // 2
    flat = table * bins + v.round().clamp(-reach, reach).long() + reach
    binned = torch.bincount(flat.flatten(), minlength=num_tables * bins)
    counts += binned.reshape(num_tables, bins).numpy()


def _probabilities(codec: CodecNet, quality: Tensor) -> NDArray[np.float64]:
    """(channels, 2 * reach + 1) by the learned density of what a prior codes by channel."""
    prior = codec.prior
    if isinstance(prior, Hyperprior):
        density, gain = prior.prior, torch.ones(1, prior.hyper_prefix[-1])
    else:
        density, gain = prior, codec.gains(quality, codec.config.num_levels - 1)[0]
    grid = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32).expand(1, gain.shape[1], 1, -1)
    p: NDArray[np.float64] = density.likelihoods(grid, gain)[0, :, 0].double().numpy()
    return p


def _gaussian_probabilities() -> NDArray[np.float64]:
    """(64, 2 * reach + 1), mean zero, deviations `SCALES`."""
    ends = (np.arange(-_SCALED_REACH, _SCALED_REACH + 2) - 0.5).tolist()
    rows = [[0.5 * math.erfc(-end / scale / math.sqrt(2)) for end in ends] for scale in SCALES]
    return np.diff(np.array(rows))


def to_tables(weights: NDArray[np.float64]) -> SymbolTables:
    """One table for each row of weights (T, 2 * reach + 1) of the symbols from -reach to reach."""
    rows = [_to_frequencies(each) for each in weights]
    longest = max(len(frequencies) for _, frequencies in rows)
    cdf = np.full((len(rows), longest + 1), TOTAL_FREQUENCY, np.uint32)
    for row, (_, frequencies) in zip(cdf, rows, strict=True):
        row[0] = 0
        row[1 : len(frequencies) + 1] = np.cumsum(frequencies)
    length = np.array([len(frequencies) + 1 for _, frequencies in rows], np.int32)
    return SymbolTables(cdf, length, np.array([first for first, _ in rows], np.int32))


def _to_frequencies(weights: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Weights (2 * reach + 1,) -> the symbol of the first bin, and frequencies that sum to 2**16,
    the last one the escape's.
    """
    reach = len(weights) // 2
    p = weights / weights.sum()
    low = int(np.searchsorted(np.cumsum(p), _TAIL))
    high = len(p) - int(np.searchsorted(np.cumsum(p[::-1]), _TAIL))  # one past the last kept
    low, high = min(low, reach), max(high, reach + 1)  # zero always has a bin
    kept = np.append(p[low:high], max(1.0 - p[low:high].sum(), 0.0))
    spare = TOTAL_FREQUENCY - len(kept)
    exact = kept / kept.sum() * spare
    frequencies = np.floor(exact).astype(np.int64) + 1
    short = TOTAL_FREQUENCY - int(frequencies.sum())
    frequencies[np.argsort(exact - np.floor(exact))[::-1][:short]] += 1
    return low - reach, frequencies
