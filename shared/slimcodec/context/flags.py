"""Which places of an inter frame changed, and how each of them is coded.

Two passes over the lattice, first the places whose row and column sum to an even number. The table
of a place is (10 * finer + around) * 6 + beside: whether the frame's quality is above the
reference's there; how many of the 3 x 3 places, itself among them, changed in the reference itself
(none in an intra frame); and in the second pass how many of its four neighbours changed, 5 in the
first. Then, for each changed place, whether it is coded alone (1) or as differences to the
reference (0), with a table by how many of its four neighbours changed. That makes three steps,
places row by row. No data mean that nothing changed.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from slimcodec.context.prior import ContextPrior
from slimcodec.entropy.steps import StepDecoder, StepEncoder
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import DamagedContainerError

_FIRST_PASS = 5  # in place of the number of changed neighbours


def encode_flags(
    prior: ContextPrior,
    changed: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    before: NDArray[np.bool_],
    finer: NDArray[np.bool_],
) -> bytes:
    """Return the data of a map of changes (h, w) and of the modes of changed places (h, w)."""
    if not changed.any():
        return b""
    coder, known = StepEncoder(), np.zeros_like(changed)
    for places, index in _passes(known, before, finer):
        coder.add(changed[places].astype(np.int32), prior.change_tables, index)
        known[places] = changed[places]
    coder.add(alone[changed].astype(np.int32), prior.mode_tables, neighbours(changed)[changed])
    return coder.finish()


def decode_flags(
    prior: ContextPrior, data: bytes, before: NDArray[np.bool_], finer: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which places changed, and which of them are coded alone, (h, w) each.

    Raises:
        DamagedContainerError: the data hold something else.
    """
    changed, alone = np.zeros_like(before), np.zeros_like(before)
    if data:
        coder = StepDecoder(data)
        for places, index in _passes(changed, before, finer):
            changed[places] = _take(coder, prior.change_tables, index)
        alone[changed] = _take(coder, prior.mode_tables, neighbours(changed)[changed])
        coder.finish()
    return changed, alone


def _take(coder: StepDecoder, tables: SymbolTables, index: NDArray[np.intp]) -> NDArray[np.bool_]:
    flags = coder.take(tables, index)
    if ((flags < 0) | (flags > 1)).any():
        raise DamagedContainerError("a flag is an escape, which no encoder writes")
    ones: NDArray[np.bool_] = flags == 1
    return ones


def neighbours(changed: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(h, w) how many of a place's four neighbours changed."""
    padded = np.pad(changed, 1).astype(np.intp)
    count: NDArray[np.intp] = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    )
    return count


def change_contexts(
    known: NDArray[np.bool_], before: NDArray[np.bool_], finer: NDArray[np.bool_], first: bool
) -> NDArray[np.intp]:
    """(h, w) the table of each place's flag; `known` are the changes of the first pass."""
    padded = np.pad(before, 1).astype(np.intp)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]  # (h, w), 0..9
    beside = _FIRST_PASS if first else neighbours(known)
    index: NDArray[np.intp] = (finer * 10 + around) * 6 + beside
    return index


def _passes(
    known: NDArray[np.bool_], before: NDArray[np.bool_], finer: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    i, j = np.indices(known.shape)
    for first in (True, False):
        places = ((i + j) % 2 == 0) == first
        yield places, change_contexts(known, before, finer, first)[places]
