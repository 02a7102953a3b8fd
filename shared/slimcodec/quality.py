"""Quality as a real number: 0 is the coarsest trained point, 1 the next; in steps of 1/256.

    quality --to_fixed--> 8.8 fixed point --table_position--> entropy tables, by integers only
                                `-- gain_at: between the trained neighbours, in the logarithm

Whoever takes a quality from outside rounds it once with `round_quality`; from there on it is a
multiple of 1/256, which a float holds exactly, and both ends see the same number.

Source: Z. Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation",
CVPR 2021, equation 8 (gains between two trained ones: the weighted geometric mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUALITY_STEPS = 256  # fixed-point steps between two trained qualities


def round_quality(quality: float) -> float:
    """Return the nearest multiple of 1/256, ties to even."""
    return round(quality * QUALITY_STEPS) / QUALITY_STEPS


def to_fixed(quality: float) -> int:
    """Return a rounded quality in 8.8 fixed point.

    Raises:
        ValueError: it was not rounded.
    """
    fixed = quality * QUALITY_STEPS
    if fixed != round(fixed):
        raise ValueError(f"quality {quality} is no multiple of 1/{QUALITY_STEPS}; round_quality it")
    return round(fixed)


def table_position(quality: float, table_steps: int) -> tuple[int, int]:
    """Return the row of tables at or below a rounded quality, and how far it is to the next row.

    Args:
        quality: A multiple of 1/256.
        table_steps: Rows from one trained quality to the next.

    Returns:
        The row, and 0 to 255: 256ths of the way to the row above.
    """
    return divmod(to_fixed(quality) * table_steps, QUALITY_STEPS)


def gain_at(gains: NDArray[np.float32], quality: float) -> NDArray[np.float32]:
    """Return (M,) gains at a rounded quality: a stored row, or one between two of them.

    Args:
        gains: (Q, M), positive; one row per trained quality.
        quality: A multiple of 1/256, 0 to Q - 1.
    """
    below, part = divmod(to_fixed(quality), QUALITY_STEPS)
    if part == 0:
        stored: NDArray[np.float32] = gains[below]
        return stored
    import numpy as np  # headers of containers have qualities, too, and need no numpy

    low, high = np.log(gains[below : below + 2].astype(np.float64))
    between: NDArray[np.float64] = np.exp(low + (high - low) * (part / QUALITY_STEPS))
    return between.astype(np.float32)
