"""Fitted predictors -> the integers of `context.npz`, and parametric tables to begin with."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from slimcodec.context.prior import (
    FRACTIONS,
    MAX_FINENESS,
    MAX_MEAN_WEIGHTS,
    MAX_SUM,
    NUM_SCALES,
    SCALE_BITS,
)
from slimnets.export.onnx_file import to_array
from slimtrain.tabulate.predictor import LUT_STEPS, Predictor

ZERO_SCALE = 16  # the scale of exp(0)
SCALES_PER_UNIT = 4  # to a natural logarithm
REACH = 1023  # symbols beyond +- this go through the escape bin

# Both kinds of weights are stored in steps of 2**-10: of the scale's per step of the lut,
# SCALES_PER_UNIT / LUT_STEPS * 2**SCALE_BITS; of the mean's in eighths * 2**MEAN_BITS.
_WEIGHT_STEPS = 1024


def lut() -> NDArray[np.uint8]:
    """(256,) rint(16 log2(1 + a))."""
    steps: NDArray[np.uint8] = np.rint(LUT_STEPS * np.log2(1 + np.arange(256))).astype(np.uint8)
    return steps


def to_integers(predictor: Predictor) -> tuple[NDArray[np.int32], dict[str, NDArray[np.int16]]]:
    """A predictor's biases (Q, 3, M), and its weights by "kind_chunk_pass"; means that are all
    zero are left out.
    """
    kind = "inter" if predictor.inter else "intra"
    mean_kind = "inter_mean" if predictor.inter else "mean"
    bias = ZERO_SCALE + 0.5 + SCALES_PER_UNIT * to_array(predictor.bias).astype(np.float64)
    bias = np.rint(bias * 2**SCALE_BITS).astype(np.int32)
    weights: dict[str, NDArray[np.int16]] = {}
    for name, kernel in predictor.scale.items():
        rows = _rows(kernel)
        if predictor.inter:
            # the flag is one, not a whole step of LUT_STEPS as in the predictor
            rows[kernel.shape[1] - 1 :: kernel.shape[1]] *= LUT_STEPS
            fineness = to_array(predictor.fineness[name])[np.newaxis]
            rows = np.concatenate([rows, fineness])
        room = MAX_SUM - 1 - np.abs(bias).max()
        weights[f"{kind}_{name}"] = _bounded(rows, room // max(int(lut().max()), MAX_FINENESS))
    for name, kernel in predictor.mean.items():
        means = _bounded(_rows(kernel), MAX_MEAN_WEIGHTS)
        if means.any():
            weights[f"{mean_kind}_{name}"] = means
    return bias, weights


def _rows(kernel: Tensor) -> NDArray[np.float64]:
    """(n, C, 3, 3) -> (9 C, n), neighbour-major."""
    values: NDArray[np.float64] = to_array(kernel).astype(np.float64)
    return values.transpose(2, 3, 1, 0).reshape(-1, len(values))


def _bounded(weights: NDArray[np.float64], most: int) -> NDArray[np.int16]:
    """Integers whose magnitudes sum to at most `most` in every column."""
    scaled = weights * _WEIGHT_STEPS
    # a half for each that rounding may add
    room = most - np.count_nonzero(scaled, axis=0) / 2
    scaled *= np.minimum(1, room / np.maximum(np.abs(scaled).sum(0), 1))
    bounded: NDArray[np.int16] = np.clip(np.rint(scaled), -32767, 32767).astype(np.int16)
    return bounded


def table_scales() -> NDArray[np.float64]:
    """(384,) the scale that each table stands for."""
    exponents = (np.arange(NUM_SCALES) - ZERO_SCALE) / SCALES_PER_UNIT
    return np.repeat(np.exp(exponents), FRACTIONS)


def laplace_weights() -> NDArray[np.float64]:
    """(384, 2 * REACH + 1) probabilities of the table of every scale and eighth of the mean."""
    means = np.tile(np.arange(-FRACTIONS // 2, FRACTIONS // 2) / FRACTIONS, NUM_SCALES)
    ends = np.arange(-REACH, REACH + 2) - 0.5
    distance = (ends - means[:, np.newaxis]) / table_scales()[:, np.newaxis]
    below = 0.5 * np.exp(-np.abs(distance))
    return np.diff(np.where(distance < 0, below, 1 - below), axis=1)
