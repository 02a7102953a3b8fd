"""Integer entropy tables from what the encoder really emits: counts of symbols, smoothed by the
learned prior.

Floats end here. A table is a list of frequencies that sum to 2**16; edge and cloud read the same
file.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.tables import TOTAL_FREQUENCY, Tables
from slimnets.codec import Codec

_REACH = 255  # symbols beyond +-255 go through the escape bin
_PRIOR_COUNT = 32.0  # the prior weighs as many observed symbols
_TAIL = 2e-5  # bins whose probability, outward, sums to less than this are left to the escape


@torch.no_grad()
def tabulate(codec: Codec, pictures: Iterable[Tensor]) -> Tables:
    """Count the symbols of `pictures` and make the tables.

    Args:
        codec: on the CPU, with the weights that will be shipped.
        pictures: (1, 3, H, W) in [0, 1], H and W multiples of 32; training pictures, never
            validation.
    """
    Q, M = codec.log_gain.shape
    gain, inverse = codec.log_gain.exp(), codec.log_inverse_gain.exp()
    counts = np.zeros((Q, M, 2 * _REACH + 1), np.int64)
    for x in pictures:
        y = codec.g_a(x, codec.config.num_levels - 1)[0].reshape(M, -1)
        for q in range(Q):
            symbols = torch.round(y * gain[q][:, None]).clamp(-_REACH, _REACH).long() + _REACH
            flat = symbols + torch.arange(M)[:, None] * (2 * _REACH + 1)
            binned = torch.bincount(flat.flatten(), minlength=M * (2 * _REACH + 1))
            counts[q] += binned.reshape(M, -1).numpy()
    if not counts.any():
        raise ValueError("no pictures to count symbols on")
    v = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
    rows: list[list[tuple[int, NDArray[np.int64]]]] = []
    for q in range(Q):
        grid = v.expand(1, M, 1, -1)
        prior = codec.prior.likelihoods(grid, gain[q][None])[0, :, 0].double().numpy()
        rows.append([_frequencies(counts[q, m] + _PRIOR_COUNT * prior[m]) for m in range(M)])
    longest = max(len(f) for row in rows for _, f in row)
    cdf = np.zeros((Q, M, longest + 1), np.uint32)
    length = np.zeros((Q, M), np.int32)
    offset = np.zeros((Q, M), np.int32)
    for q, row in enumerate(rows):
        for m, (first, frequencies) in enumerate(row):
            n = len(frequencies)
            cdf[q, m, 1 : n + 1] = np.cumsum(frequencies)
            cdf[q, m, n + 1 :] = TOTAL_FREQUENCY
            length[q, m], offset[q, m] = n + 1, first
    return Tables(gain.numpy(), inverse.numpy(), cdf, length, offset)


def _frequencies(weights: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Value of the first bin, and integer frequencies (the last one is the escape's) that sum to
    2**16.
    """
    p = weights / weights.sum()
    low = int(np.searchsorted(np.cumsum(p), _TAIL))
    high = len(p) - int(np.searchsorted(np.cumsum(p[::-1]), _TAIL))  # one past the last kept
    low, high = min(low, _REACH), max(high, _REACH + 1)  # zero always has a bin
    kept = np.append(p[low:high], max(1.0 - p[low:high].sum(), 0.0))
    total = TOTAL_FREQUENCY
    spare = total - len(kept)
    exact = kept / kept.sum() * spare
    frequencies = np.floor(exact).astype(np.int64) + 1
    short = total - int(frequencies.sum())
    frequencies[np.argsort(exact - np.floor(exact))[::-1][:short]] += 1
    return low - _REACH, frequencies
