"""Symbols <-> bins of their tables <-> the words of an ANS coder.

Every symbol has the number of its table. Symbols are coded in the order of these numbers, and those
of one table as they come. A symbol outside its table is coded as the escape bin, and as a value
2 * distance + (1 if below else 0), where the distance is counted from the nearest symbol outside
the table; so any int32 comes back exactly. The values come in the order of the escapes.

The coder is ANS as in `constriction` (64-bit state, 32-bit words, 24-bit probabilities). The words,
little-endian, are a stack: the last word is taken first. Zero bytes at the end of the last word are
left out, and filled up again. A bin has its frequency and the cumulative one before it, both times
2**(24 - bits of its table).

    begin      state = 0, then fill
    bin        low = state mod 2**24; the bin in whose frequencies low lies;
               state = state // 2**24 * frequency + low - cumulative, then fill
    fill       while state < 2**32 and a word is left: state = state * 2**32 + word
    end        state = 0 and no word is left, or the data are damaged

`constriction`'s `Categorical` model makes integers of floats: a bin gets 1 + its share of 2**24 -
bins. With the weights frequency - 1, of frequencies that sum to 2**24 (those of a stored table
times 2**8), which float32 holds exactly, that share is the weight itself: the table, with no
rounding. A test compares the words with an integer-only implementation.

Source: J. Duda et al., "The use of asymmetric numeral systems as an accurate replacement for
Huffman coding", PCS 2015; R. Bamler, "Understanding entropy coding with ANS", arXiv:2201.01741.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import constriction
import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import DamagedContainerError

Model: TypeAlias = constriction.stream.model.Model
Coder: TypeAlias = constriction.stream.stack.AnsCoder

CODER_PRECISION_BITS = 24  # of constriction's default models
WRONG_FORM = "data has an escaped value in a form that no encoder writes"

_WORD_BYTES = 4
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Order:
    """The order in which symbols are coded: by table, and within one as they come."""

    places: NDArray[np.intp] | None  # (n,) where each coded symbol stands; None: in this order
    tables: NDArray[np.integer[Any]]  # those that are used, ascending
    counts: NDArray[np.intp]  # symbols of each

    @classmethod
    def of(
        cls, index: NDArray[np.integer[Any]], shape: tuple[int, ...], tables: SymbolTables
    ) -> "Order":
        places_of_one, places = 1, None
        if index.shape == (shape[0], 1, 1):  # a table for each channel: need not be spread out
            flat, places_of_one = index.ravel(), shape[1] * shape[2]
        else:
            flat = np.broadcast_to(index, shape).ravel()
        if (flat[1:] < flat[:-1]).any():
            # numpy sorts 16-bit numbers four times as fast as wider ones
            places = flat.astype(np.uint16).argsort(kind="stable")
            flat = flat[places]
        assert not flat.size or (flat[0] >= 0 and flat[-1] < tables.num_tables), "no such table"
        starts = np.flatnonzero(np.concatenate(([-1], flat[:-1])) != flat)
        counts = np.append(starts[1:], flat.size) - starts
        return cls(places, flat[starts], counts * places_of_one)

    @property
    def parts(self) -> list[tuple[int, slice]]:
        """Each table that is used, and where its symbols stand in the coded order."""
        ends = self.counts.cumsum()
        starts = ends - self.counts
        bounds = zip(self.tables.tolist(), starts.tolist(), ends.tolist(), strict=True)
        return [(table, slice(start, end)) for table, start, end in bounds]

    def per_symbol(self, values: NDArray[np.int32]) -> NDArray[np.int32]:
        """(T,) -> (n,) in the coded order."""
        repeated: NDArray[np.int32] = values[self.tables].repeat(self.counts)
        return repeated

    def sort(self, symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        """Any shape -> (n,) in the coded order."""
        flat = symbols.ravel()
        return flat if self.places is None else flat[self.places]

    def unsort(self, ordered: NDArray[np.int32]) -> NDArray[np.int32]:
        """The inverse of `sort`, flat."""
        if self.places is None:
            return ordered
        flat = np.empty_like(ordered)
        flat[self.places] = ordered
        return flat


def with_models(
    bins: NDArray[np.int32], order: Order, tables: SymbolTables
) -> list[tuple[Model, NDArray[np.int32]]]:
    """Return bins in the coded order in pieces, each with the model of its table."""
    models = _models(tables)
    return [(models[table], bins[part]) for table, part in order.parts]


def encode_bins(parts: Sequence[tuple[Model, NDArray[np.int32]]]) -> bytes:
    """Return the words of bins, in the order in which they will be decoded, each by its model."""
    coder = constriction.stream.stack.AnsCoder()
    for model, bins in reversed(parts):  # a stack: what goes in last comes out first
        coder.encode_reverse(bins, model)
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return words.rstrip(b"\0")


def open_coder(data: bytes) -> Coder:
    """Return a coder that decodes words; they may be from anywhere.

    Raises:
        DamagedContainerError: they end in a zero byte.
    """
    if data.endswith(b"\0"):
        raise DamagedContainerError("data ends in a zero byte, which the encoder never writes")
    words = np.frombuffer(data + bytes(-len(data) % _WORD_BYTES), dtype="<u4")
    return constriction.stream.stack.AnsCoder(words.astype(np.uint32))


def decode_bins(
    coder: Coder, order: Order, tables: SymbolTables
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the next bins (n,), in the coded order, and which of them are escapes."""
    bins = np.empty(order.counts.sum(), np.int32)
    for model, piece in with_models(bins, order, tables):
        piece[:] = coder.decode(model, len(piece))
    return bins, np.flatnonzero(bins == order.per_symbol(tables.cdf_length - 2))


def check_empty(coder: Coder) -> None:
    """Check that nothing is left.

    Raises:
        DamagedContainerError: the data held more.
    """
    if not coder.is_empty():
        raise DamagedContainerError("data holds more than the symbols; it is not of these tables")


def to_bins(
    ordered: NDArray[np.int32], order: Order, tables: SymbolTables
) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.int64]]:
    """Symbols in the coded order -> their bins, which of them are escapes, and those' values."""
    offset, escape = order.per_symbol(tables.offset), order.per_symbol(tables.cdf_length - 2)
    # modulo 2**32, symbols below the table are large ones: both sides become the escape
    shifted = ordered.view(np.uint32) - offset.view(np.uint32)
    bins = np.minimum(shifted, escape.view(np.uint32)).view(np.int32)
    escaped = np.flatnonzero(bins == escape)
    distance = ordered[escaped].astype(np.int64) - offset[escaped]  # from the first bin
    above, below = distance - escape[escaped], -distance - 1
    return bins, escaped, np.where(distance < 0, 2 * below + 1, 2 * above)


def from_bins(
    bins: NDArray[np.int32],
    escaped: NDArray[np.intp],
    values: NDArray[np.int64],
    order: Order,
    tables: SymbolTables,
) -> NDArray[np.int32]:
    """The inverse of `to_bins`, in the coded order."""
    offset, escape = order.per_symbol(tables.offset), order.per_symbol(tables.cdf_length - 2)
    symbols = bins + offset  # offsets are far from the ends of int32
    if values.size:
        first, distance = offset[escaped].astype(np.int64), values // 2
        above = first + escape[escaped] + distance
        found = np.where(values & 1, first - 1 - distance, above)
        if found.min() < _INT32.min or found.max() > _INT32.max:
            raise DamagedContainerError("data has an escaped value beyond int32")
        symbols[escaped] = found
    return symbols


@functools.lru_cache(maxsize=64)  # models of one row: 192 take 0.5 ms to build
def _models(tables: SymbolTables) -> Sequence[Model]:
    scale = 1 << (CODER_PRECISION_BITS - tables.precision_bits)
    return tuple(
        constriction.stream.model.Categorical(
            (tables.frequencies(table) * scale - 1).astype(np.float32), perfect=False
        )
        for table in range(tables.num_tables)
    )
