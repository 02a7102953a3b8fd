"""Gains between those of trained qualities.

The geometric mean of two rows, halved eight times: square roots are exact in IEEE 754, powers and
logarithms are not, and with the context prior both ends must have the same gains
(`docs/decisions/0036-exact-gains.md`).
"""

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import QUALITY_STEPS, to_fixed


def gain_at(gains: NDArray[np.float32], quality: float) -> NDArray[np.float32]:
    """Return (M,) gains at a rounded quality: a stored row, or one between two of them.

    Args:
        gains: (Q, M), positive; one row per trained quality.
        quality: A multiple of 1/256, 0 to Q - 1.

    Source: Z. Cui et al., "Asymmetric gained deep image compression with continuous rate
    adaptation", CVPR 2021, equation 8: the weighted geometric mean of two trained gains.
    """
    below, part = divmod(to_fixed(quality), QUALITY_STEPS)
    if part == 0:
        stored: NDArray[np.float32] = gains[below]
        return stored
    low, high = gains[below : below + 2].astype(np.float64)
    for bit in reversed(range(QUALITY_STEPS.bit_length() - 1)):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if part >> bit & 1 else (low, middle)
    between: NDArray[np.float32] = low.astype(np.float32)
    return between
