"""Integer entropy tables from what the encoder really emits: counts of symbols, smoothed by the
learned densities.

    y -gain-> v -round-> symbols, counted by channel

Floats end here. A table is a list of frequencies that sum to 2**16; edge and cloud read the same
file.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import TOTAL_FREQUENCY, Tables
from slimnets.codec.codec import CodecNet
from slimnets.codec.prior import FactorizedPrior

TABLE_STEPS = 4  # rows from one trained quality to the next; measured in docs/develop/container.md

REACH = 255  # symbols beyond +- this go through the escape bin
PRIOR_COUNT = 32.0  # the prior weighs as many observed symbols
_TAIL = 2e-5  # bins whose probability, outward, sums to less than this are left to the escape


def tabulate(codec: CodecNet, pictures: Iterable[Tensor], table_steps: int = TABLE_STEPS) -> Tables:
    """Count the symbols of `pictures` and make the tables: gains, and tables by channel.

    Args:
        codec: on the CPU, with the weights that will be shipped.
        pictures: (1, 3, H, W) in [0, 1], H and W multiples of `config.pad_multiple`; training
            pictures, never validation.
        table_steps: rows from one trained quality to the next.

    Raises:
        ValueError: there are no pictures.
    """
    return join_tables(codec, count_symbols(codec, pictures, table_steps), table_steps)


@torch.no_grad()
def count_symbols(
    codec: CodecNet, pictures: Iterable[Tensor], table_steps: int
) -> NDArray[np.float64]:
    """How often each symbol is, by row of quality and channel, smoothed: (rows, M, symbols)."""
    widest, M = codec.config.num_levels - 1, codec.config.latent_channels[-1]
    qualities = table_qualities(codec, table_steps)
    gains = [codec.gains(quality[None], widest)[0] for quality in qualities]
    counts = np.zeros((len(qualities), M, 2 * REACH + 1), np.int64)
    for x in pictures:
        y = codec.analyse(x, widest)
        channel = torch.arange(M)[:, None, None].expand_as(y)
        for row, gain in enumerate(gains):
            add_counts(counts[row], channel, y * gain[:, :, None, None])
    if not counts.any():
        raise ValueError("no pictures to count symbols on")
    return counts + PRIOR_COUNT * np.stack([probabilities(codec.prior, gain) for gain in gains])


def table_qualities(codec: CodecNet, table_steps: int) -> Tensor:
    """The qualities that have tables of their own, (rows,)."""
    return torch.arange((codec.config.qualities - 1) * table_steps + 1) / table_steps


def join_tables(codec: CodecNet, counts: NDArray[np.float64], table_steps: int) -> Tables:
    """What `tabulate` gives, of the counts (rows, channels, symbols)."""
    tables = to_tables(counts.reshape(-1, counts.shape[-1]))
    shape = counts.shape[:2]
    return Tables(
        codec.log_gain.detach().exp().numpy(),
        codec.log_inverse_gain.detach().exp().numpy(),
        tables.cdf.reshape(*shape, -1),
        tables.cdf_length.reshape(shape),
        tables.offset.reshape(shape),
        table_steps,
    )


def add_counts(counts: NDArray[np.int64], table: Tensor, v: Tensor) -> None:
    """Add the symbols that v rounds to to the counts (T, 2 * reach + 1) of their tables."""
    num_tables, bins = counts.shape
    reach = bins // 2
    flat = table * bins + v.round().clamp(-reach, reach).long() + reach
    binned = torch.bincount(flat.flatten(), minlength=num_tables * bins)
    counts += binned.reshape(num_tables, bins).numpy()


def probabilities(prior: FactorizedPrior, gain: Tensor) -> NDArray[np.float64]:
    """Of each symbol by the learned density at a gain (1, channels): (channels, symbols)."""
    grid = torch.arange(-REACH, REACH + 1, dtype=torch.float32).expand(1, gain.shape[1], 1, -1)
    p: NDArray[np.float64] = prior.likelihoods(grid, gain)[0, :, 0].double().numpy()
    return p


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
