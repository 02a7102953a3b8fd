"""A context prior of random weights, for tests: nothing is fitted, everything is coded."""

from itertools import pairwise

import numpy as np

from slimcodec.context.prior import (
    CHANGE_CONTEXTS,
    FRACTIONS,
    MODE_CONTEXTS,
    NEIGHBOURS,
    NUM_SCALES,
    PASSES,
    ContextPrior,
)
from slimcodec.entropy.symbol_tables import SymbolTables

_REACH = 12  # symbols of the toy's tables; others escape
_MOST = 65_309  # of 2**16: 0.005 bits


def toy_context(ends: tuple[int, ...] = (2, 4, 6), qualities: int = 3) -> ContextPrior:
    """Every kind of weights in every step, small and deterministic."""
    random, M = np.random.default_rng(7), ends[-1]
    weights = {}
    for k, (a, b) in enumerate(pairwise((0, *ends))):
        n = b - a
        for p in range(PASSES if k == 0 else PASSES - 1):
            sizes = {"intra": NEIGHBOURS * b, "mean": NEIGHBOURS * b, "inter_mean": NEIGHBOURS * b}
            sizes["inter"] = NEIGHBOURS * (2 * b + n + 1) + 1
            for kind, size in sizes.items():
                most = 90 if kind.endswith("mean") else 60
                weights[f"{kind}_{k}_{p}"] = random.integers(-20, most, (size, n)).astype(np.int16)
    bias = random.integers(20_000, 60_000, (2, qualities, PASSES, M)).astype(np.int32)
    lut = np.rint(16 * np.log2(1 + np.arange(256))).astype(np.uint8)
    return ContextPrior(
        lut=lut,
        ends=np.array(ends, np.int32),
        bias=bias[0],
        inter_bias=bias[1],
        changed=random.integers(1000, 60_000, CHANGE_CONTEXTS).astype(np.int32),
        alone=random.integers(1000, 60_000, MODE_CONTEXTS).astype(np.int32),
        tables=laplace_tables(),
        weights=weights,
    )


def laplace_tables() -> SymbolTables:
    """The 384 tables, each of a Laplace distribution of its scale and mean."""
    scale = np.exp((np.arange(NUM_SCALES) - 16) / 4)[:, np.newaxis, np.newaxis]
    mean = (np.arange(FRACTIONS) - FRACTIONS // 2)[:, np.newaxis] / FRACTIONS
    edges = np.arange(-_REACH, _REACH + 2) - 0.5 - mean
    half = 0.5 * np.exp(-np.abs(edges) / scale)
    below = np.where(edges < 0, half, 1 - half)
    plain = np.diff(below, axis=2)
    whole = np.concatenate([plain, 1 - plain.sum(2, keepdims=True)], axis=2).reshape(
        NUM_SCALES * FRACTIONS, -1
    )
    frequencies = 1 + np.floor(whole * (65_536 - whole.shape[1])).astype(np.int64)
    frequencies[np.arange(len(whole)), frequencies.argmax(1)] += 65_536 - frequencies.sum(1)
    excess = np.maximum(frequencies.max(1) - _MOST, 0)
    frequencies[np.arange(len(whole)), frequencies.argmax(1)] -= excess
    frequencies[:, -1] += excess
    cdf = np.pad(frequencies.cumsum(1), ((0, 0), (1, 0)))
    count = len(cdf)
    return SymbolTables(
        cdf.astype(np.uint32),
        np.full(count, cdf.shape[1], np.int32),
        np.full(count, -_REACH, np.int32),
    )
