"""Symbols whose tables depend on earlier symbols: steps, one after another on one ANS stack.

The data are the words alone (`slimcodec.entropy.ans`). The bins of a step come by the number of
their table, and those of one table in the order of the step. The values of its escapes follow in
that same order and in rounds: first the lowest three bits of each, then the next three of those
that go on, and so forth. A round's digit is coded as one of 16 bins of equal frequency, 8 more than
its three bits where the value goes on. The last digit of several is not 0, and there are 12 at
most.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.ans import (
    WRONG_FORM,
    Model,
    Order,
    check_empty,
    decode_bins,
    encode_bins,
    from_bins,
    open_coder,
    to_bins,
    with_models,
)
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import DamagedContainerError

_DIGIT_BITS = 3  # of an escaped value
_MAX_ESCAPE_BITS = 33  # of a distance between int32 symbols, and its side
_DIGITS = constriction.stream.model.Uniform(2 << _DIGIT_BITS)


class StepEncoder:
    """Collects the steps of one section, in the order in which they will be decoded."""

    def __init__(self) -> None:
        self._parts: list[tuple[Model, NDArray[np.int32]]] = []

    def add(
        self, symbols: NDArray[np.int32], tables: SymbolTables, index: NDArray[np.integer[Any]]
    ) -> None:
        """Add a step: symbols (n,) and the table of each."""
        if not symbols.size:
            return
        order = Order.of(index, index.shape, tables)
        bins, escaped, values = to_bins(order.sort(symbols), order, tables)
        self._parts += with_models(bins, order, tables)
        while escaped.size:
            more = values >= 1 << _DIGIT_BITS
            digits = (values & (1 << _DIGIT_BITS) - 1) + (more << _DIGIT_BITS)
            self._parts.append((_DIGITS, digits.astype(np.int32)))
            escaped, values = escaped[more], values[more] >> _DIGIT_BITS

    def finish(self) -> bytes:
        """Return the section's data."""
        return encode_bins(self._parts)


class StepDecoder:
    """Gives the symbols of `StepEncoder`'s data, step by step; the data may be from anywhere."""

    def __init__(self, data: bytes) -> None:
        self._coder = open_coder(data)

    def take(self, tables: SymbolTables, index: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the next step's symbols (n,), given the table of each.

        Raises:
            DamagedContainerError: an escape in a form that the encoder never writes.
        """
        if not index.size:
            return np.empty(0, np.int32)
        order = Order.of(index, index.shape, tables)
        bins, escaped = decode_bins(self._coder, order, tables)
        values = self._escape_values(escaped.size)
        return order.unsort(from_bins(bins, escaped, values, order, tables))

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DamagedContainerError: the data held more than the steps.
        """
        check_empty(self._coder)

    def _escape_values(self, count: int) -> NDArray[np.int64]:
        values = np.zeros(count, np.int64)
        if not count:
            return values
        going_on, shift = np.arange(count), 0
        while going_on.size:
            if shift > _MAX_ESCAPE_BITS:
                raise DamagedContainerError("data has an escaped value beyond int32")
            digits = self._coder.decode(_DIGITS, int(going_on.size)).astype(np.int64)
            values[going_on] |= (digits & (1 << _DIGIT_BITS) - 1) << shift
            if shift and (digits == 0).any():
                raise DamagedContainerError(WRONG_FORM)
            going_on = going_on[digits >= 1 << _DIGIT_BITS]
            shift += _DIGIT_BITS
        return values
