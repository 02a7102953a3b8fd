"""Symbols -> entropy-coded data, and back.

    symbols --split--> bins ----ANS, integer tables---> words ─┐
                └----> values of escapes --varint----> bytes ──┴─> data

Data is  varint(number of escape bytes) | escape bytes | ANS words, little-endian, without the zero
bytes at the end of the last word. Varints are LEB128. Every symbol has the number of its table: its
channel's with a factorized prior, what h_s chose with a hyperprior. Symbols are coded in the order
of these numbers, and those of one table in the order of the latent: channels follow each other,
rows from the top, each row from the left. A symbol outside its table is coded as the escape bin,
and as a varint of 2 * distance + (1 if below else 0), where the distance is counted from the
nearest symbol outside the table; so any int32 comes back exactly. Varints come in the same order.

The coder is ANS as in `constriction` (64-bit state, 32-bit words, 24-bit probabilities). The words
are a stack: the data are filled up with zero bytes to whole words, and the last word is taken
first. A bin has its frequency and the cumulative one before it, both times 2**(24 - bits of its
table).

    begin      state = 0, then fill
    bin        low = state mod 2**24; the bin in whose frequencies low lies;
               state = state // 2**24 * frequency + low - cumulative, then fill
    fill       while state < 2**32 and a word is left: state = state * 2**32 + word
    end        state = 0 and no word is left, or the data are damaged

`constriction`'s `Categorical` model makes integers of floats: a bin gets 1 + its share of 2**24 -
bins. With the weights frequency - 1, of frequencies that sum to 2**24 (those of a stored table
times 2**8), which float32 holds exactly, that share is the weight itself: the table, with no
rounding. A test compares the words with an integer-only implementation.

Where later tables depend on earlier symbols there are steps (`StepEncoder`, `StepDecoder`), one
after another on one ANS stack; the data are the words alone. The bins of a step come by the number
of their table, and those of one table in the order of the step. The values of its escapes (as
above, 2 * distance + side) follow in that same order and in rounds: first the lowest three bits of
each, then the next three of those that go on, and so forth. A round's digit is coded as one of 16
bins of equal frequency, 8 more than its three bits where the value goes on. The last digit of
several is not 0, and there are 12 at most.

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

from slimcodec.errors import DamagedContainerError, ModelError

PRECISION_BITS = 16  # of stored tables
MAX_TABLES = 1 << 16
MAX_OFFSET = 1 << 30  # an int32 minus an offset is then one number modulo 2**32

_Model: TypeAlias = constriction.stream.model.Model

TABLE_DTYPES: dict[str, type[np.generic]] = {
    "cdf": np.uint32,
    "cdf_length": np.int32,
    "offset": np.int32,
}

CODER_PRECISION_BITS = 24  # of constriction's default models
MAX_VARINT_BYTES = 5  # 35 bits: distances between int32 symbols fit

_WORD_BYTES = 4
_DIGIT_BITS = 3  # of an escaped value among steps
_MAX_ESCAPE_BITS = 33  # of a distance between int32 symbols, and its side
_DIGITS = constriction.stream.model.Uniform(2 << _DIGIT_BITS)
_FORM = "an escaped value in a form that no encoder writes"
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class SymbolTables:
    """T integer entropy tables, of which each symbol uses one.

    A row of `cdf` holds `cdf_length` cumulative frequencies, from 0 to 2**bits, then padding. Bin i
    stands for the symbol `offset + i`, except the last bin, which is the escape.
    """

    cdf: NDArray[np.uint32]  # (T, S + 2), rows rise strictly from 0 to 2**bits
    cdf_length: NDArray[np.int32]  # (T,), entries used in a row, at least 3
    offset: NDArray[np.int32]  # (T,), the symbol of the first bin
    precision_bits: int = PRECISION_BITS  # cumulative frequencies end at 2**bits

    @property
    def num_tables(self) -> int:
        """T."""
        return int(self.offset.size)

    def frequencies(self, table: int) -> NDArray[np.int64]:
        """Return the frequencies of a table; they sum to 2**bits, the last is the escape's."""
        cdf: NDArray[np.int64] = self.cdf[table, : self.cdf_length[table]].astype(np.int64)
        return cdf[1:] - cdf[:-1]

    @functools.cached_property
    def least_bits(self) -> NDArray[np.float64]:
        """(T,) bits of each table's most probable symbol: no symbol of it costs less."""
        frequencies = np.diff(self.cdf.astype(np.int64), axis=1)  # (T, S + 1), then padding
        used = np.arange(frequencies.shape[1]) < self.cdf_length[:, np.newaxis] - 1
        bits: NDArray[np.float64] = self.precision_bits - np.log2(
            np.where(used, frequencies, 1).max(axis=1)
        )
        return bits

    def validate(self, what: str) -> None:
        """Check shapes, types and every table.

        Args:
            what: What to call them in an error, as "tables: row 3".

        Raises:
            ModelError: naming the first table that is wrong.
        """
        for name, dtype in TABLE_DTYPES.items():
            array, ndim = getattr(self, name), 2 if name == "cdf" else 1
            if array.dtype != dtype or array.ndim != ndim or len(array) != self.num_tables:
                raise ModelError(
                    f"{what}: {name} is {array.dtype} {array.shape}; expected {dtype.__name__} in "
                    f"{ndim} dimensions, for {self.num_tables} tables"
                )
        if not 1 <= self.num_tables <= MAX_TABLES:
            raise ModelError(f"{what}: {self.num_tables} tables, not 1..{MAX_TABLES}")
        if np.abs(self.offset.astype(np.int64)).max() > MAX_OFFSET:
            raise ModelError(f"{what}: offset beyond +-{MAX_OFFSET}")
        for table, length in enumerate(self.cdf_length.tolist()):
            where = f"{what}, table {table}"
            if not 3 <= length <= self.cdf.shape[1]:
                raise ModelError(f"{where}: cdf_length {length} not in 3..{self.cdf.shape[1]}")
            row = self.cdf[table, :length]
            if row[0] != 0 or row[-1] != 1 << self.precision_bits:
                raise ModelError(
                    f"{where}: cdf runs {row[0]}..{row[-1]}, not 0..2**{self.precision_bits}"
                )
            if (np.diff(row.astype(np.int64)) < 1).any():
                raise ModelError(f"{where}: a bin has frequency 0")


def encode_symbols(
    symbols: NDArray[np.int32], tables: SymbolTables, index: NDArray[np.integer[Any]]
) -> bytes:
    """Return the entropy-coded symbols of some channels.

    Args:
        symbols: int32 (M', h, w), any values.
        tables: Of which each symbol uses one.
        index: The table of each symbol, 0 to T - 1, of a shape that broadcasts to the symbols'.
    """
    order = _Order.of(index, symbols.shape, tables)
    bins, _, values = _to_bins(order.sort(symbols), order, tables)
    models = _models(tables)
    coder = constriction.stream.stack.AnsCoder()
    for table, part in reversed(order.parts):  # a stack: what goes in last comes out first
        coder.encode_reverse(bins[part], models[table])
    escape_bytes = _pack_varints(values)
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return _pack_varints(np.array([len(escape_bytes)])) + escape_bytes + words.rstrip(b"\0")


def decode_symbols(
    data: bytes, shape: tuple[int, int, int], tables: SymbolTables, index: NDArray[np.integer[Any]]
) -> NDArray[np.int32]:
    """Return int32 symbols of a shape (M', h, w) from `encode_symbols`' data.

    Args:
        data: From anywhere.
        shape: Checked by the caller: it is allocated.
        tables, index: As the encoder had them.

    Raises:
        DamagedContainerError: the data does not end exactly where the symbols do, or is not in the
            one form that the encoder writes.
    """
    escape_bytes, stripped = split_coded(data)
    escape_values = _unpack_varints(escape_bytes)
    words = np.frombuffer(stripped + bytes(-len(stripped) % _WORD_BYTES), dtype="<u4")
    order = _Order.of(index, shape, tables)
    models = _models(tables)
    coder = constriction.stream.stack.AnsCoder(words.astype(np.uint32))
    bins = np.empty(order.counts.sum(), dtype=np.int32)
    for table, part in order.parts:
        bins[part] = coder.decode(models[table], part.stop - part.start)
    if not coder.is_empty():
        raise DamagedContainerError("data holds more than the symbols; it is not of these tables")
    escaped = np.flatnonzero(bins == order.per_symbol(tables.cdf_length - 2))
    if escaped.size != escape_values.size:
        raise DamagedContainerError(
            f"data has {escape_values.size} escaped values for {escaped.size} escapes"
        )
    symbols = _from_bins(bins, escaped, escape_values, order, tables)
    return order.unsort(symbols).reshape(shape)


class StepEncoder:
    """Collects the steps of one section, in the order in which they will be decoded."""

    def __init__(self) -> None:
        self._parts: list[tuple[_Model, NDArray[np.int32]]] = []

    def add(
        self, symbols: NDArray[np.int32], tables: SymbolTables, index: NDArray[np.integer[Any]]
    ) -> None:
        """Add a step: symbols (n,) and the table of each."""
        if not symbols.size:
            return
        order = _Order.of(index, index.shape, tables)
        ordered = order.sort(symbols)
        bins, escaped, values = _to_bins(ordered, order, tables)
        models = _models(tables)
        self._parts += [(models[table], bins[part]) for table, part in order.parts]
        while escaped.size:
            more = values >= 1 << _DIGIT_BITS
            digits = (values & (1 << _DIGIT_BITS) - 1) + (more << _DIGIT_BITS)
            self._parts.append((_DIGITS, digits.astype(np.int32)))
            escaped, values = escaped[more], values[more] >> _DIGIT_BITS

    def finish(self) -> bytes:
        """Return the section's data."""
        coder = constriction.stream.stack.AnsCoder()
        for model, bins in reversed(self._parts):
            coder.encode_reverse(bins, model)
        words: bytes = coder.get_compressed().astype("<u4").tobytes()
        return words.rstrip(b"\0")


class StepDecoder:
    """Gives the symbols of `StepEncoder`'s data, step by step; the data may be from anywhere."""

    def __init__(self, data: bytes) -> None:
        if data.endswith(b"\0"):
            raise DamagedContainerError("data ends in a zero byte, which the encoder never writes")
        words = np.frombuffer(data + bytes(-len(data) % _WORD_BYTES), dtype="<u4")
        self._coder = constriction.stream.stack.AnsCoder(words.astype(np.uint32))

    def take(self, tables: SymbolTables, index: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the next step's symbols (n,), given the table of each.

        Raises:
            DamagedContainerError: an escape in a form that the encoder never writes.
        """
        if not index.size:
            return np.empty(0, np.int32)
        order, models = _Order.of(index, index.shape, tables), _models(tables)
        bins = np.empty(index.size, np.int32)
        for table, part in order.parts:
            bins[part] = self._coder.decode(models[table], part.stop - part.start)
        escape = order.per_symbol(tables.cdf_length - 2)
        escaped = np.flatnonzero(bins == escape)
        values = self._escape_values(escaped.size)
        return order.unsort(_from_bins(bins, escaped, values, order, tables))

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DamagedContainerError: the data held more than the steps.
        """
        if not self._coder.is_empty():
            raise DamagedContainerError(
                "data holds more than the symbols; it is not of these tables"
            )

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
                raise DamagedContainerError(f"data has {_FORM}")
            going_on = going_on[digits >= 1 << _DIGIT_BITS]
            shift += _DIGIT_BITS
        return values


def _to_bins(
    ordered: NDArray[np.int32], order: "_Order", tables: SymbolTables
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


def _from_bins(
    bins: NDArray[np.int32],
    escaped: NDArray[np.intp],
    values: NDArray[np.int64],
    order: "_Order",
    tables: SymbolTables,
) -> NDArray[np.int32]:
    """The inverse of `_to_bins`, in the coded order."""
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


@dataclass(frozen=True, eq=False)
class _Order:
    """The order in which symbols are coded: by table, and within one as they come."""

    places: NDArray[np.intp] | None  # (n,) where each coded symbol stands; None: in this order
    tables: NDArray[np.integer[Any]]  # those that are used, ascending
    counts: NDArray[np.intp]  # symbols of each

    @classmethod
    def of(
        cls, index: NDArray[np.integer[Any]], shape: tuple[int, ...], tables: SymbolTables
    ) -> "_Order":
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


@functools.lru_cache(maxsize=64)  # models of one row: 192 take 0.5 ms to build
def _models(tables: SymbolTables) -> Sequence[_Model]:
    scale = 1 << (CODER_PRECISION_BITS - tables.precision_bits)
    return tuple(
        constriction.stream.model.Categorical(
            (tables.frequencies(table) * scale - 1).astype(np.float32), perfect=False
        )
        for table in range(tables.num_tables)
    )


def split_coded(data: bytes) -> tuple[bytes, bytes]:
    """Return the escape bytes and the words of `encode_symbols`' data; neither is decoded.

    Raises:
        DamagedContainerError: they do not fill the data in the one form that the encoder writes.
    """
    num_escape_bytes, start = _unpack_length(data)
    end = start + num_escape_bytes
    if end > len(data):
        raise DamagedContainerError(f"data of {len(data)} bytes ends within its escapes")
    if end < len(data) and data[-1] == 0:
        raise DamagedContainerError("data ends in a zero byte, which the encoder never writes")
    return data[start:end], data[end:]


def _unpack_length(data: bytes) -> tuple[int, int]:
    """The varint at the start, and where it ends; by hand, for arrays take 20 times as long."""
    value = 0
    for place, byte in enumerate(data[:MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if place and not byte:
                raise DamagedContainerError(f"data has {_FORM}")
            return value, place + 1
    raise DamagedContainerError("data has no length of its escapes")


def _pack_varints(values: NDArray[np.int64]) -> bytes:
    shifts = 7 * np.arange(MAX_VARINT_BYTES)
    digits = values[:, np.newaxis] >> shifts  # (n, 5)
    used = digits > 0
    used[:, 0] = True
    continued = np.pad(used[:, 1:], ((0, 0), (0, 1))) << 7
    packed: bytes = ((digits & 0x7F) | continued)[used].astype(np.uint8).tobytes()
    return packed


def _unpack_varints(packed: bytes) -> NDArray[np.int64]:
    octets = np.frombuffer(packed, dtype=np.uint8).astype(np.int64)
    ends = np.flatnonzero(octets < 0x80)
    if octets.size == 0:
        return octets
    if octets[-1] >= 0x80:
        raise DamagedContainerError("data ends within an escaped value")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > MAX_VARINT_BYTES or ((lengths > 1) & (octets[ends] == 0)).any():
        raise DamagedContainerError(f"data has {_FORM}")
    places = np.arange(octets.size) - np.repeat(starts, lengths)
    return np.add.reduceat((octets & 0x7F) << (7 * places), starts)
