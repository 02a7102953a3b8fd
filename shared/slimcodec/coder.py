"""Stage 4 of 12: symbols -> entropy-coded data, and back.

    symbols --split--> bins ----ANS, integer tables---> words ─┐
                └----> values of escapes --varint----> bytes ──┴─> data

Data is  varint(number of escape bytes) | escape bytes | ANS words, little-endian, without the zero
bytes at the end of the last word. Varints are LEB128. Channel m is coded with table (quality, m);
channels follow each other, rows from the top, each row from the left. A symbol outside its table
is coded as the escape bin, and as a varint of 2 * distance + (1 if below else 0), where the
distance is counted from the nearest symbol outside the table; so any int32 comes back exactly.

The coder is ANS as in `constriction` (64-bit state, 32-bit words, 24-bit probabilities). Its
`Categorical` model makes integers of floats: a bin gets 1 + its share of 2**24 - bins. With the
weights 2**8 * frequency - 1, which float32 holds exactly, that share is the weight itself and the
result is frequency * 2**8: the stored table, with no rounding. A test compares the words with an
integer-only implementation.

Source: J. Duda et al., "The use of asymmetric numeral systems as an accurate replacement for
Huffman coding", PCS 2015; R. Bamler, "Understanding entropy coding with ANS", arXiv:2201.01741.
"""

import functools
from collections.abc import Sequence

import constriction
import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import DamagedContainerError
from slimcodec.tables import PRECISION_BITS, Tables

CODER_PRECISION_BITS = 24  # of constriction's default models
MAX_VARINT_BYTES = 5  # 35 bits: distances between int32 symbols fit

_WORD_BYTES = 4
_INT32 = np.iinfo(np.int32)


def encode_symbols(
    symbols: NDArray[np.int32], tables: Tables, quality: int, first_channel: int
) -> bytes:
    """Return the entropy-coded symbols of consecutive channels.

    Args:
        symbols: int32 (M', h, w), any values.
        tables: The model's tables.
        quality: Which tables.
        first_channel: Channel of `symbols[0]`.
    """
    coder = constriction.stream.stack.AnsCoder()
    escapes: list[NDArray[np.int64]] = []
    for channel in reversed(range(symbols.shape[0])):  # a stack: what goes in last comes out first
        offset, num_bins = _row(tables, quality, first_channel + channel)
        shifted = symbols[channel].ravel().astype(np.int64) - offset
        inside = (shifted >= 0) & (shifted < num_bins - 1)
        bins = np.where(inside, shifted, num_bins - 1).astype(np.int32)
        coder.encode_reverse(bins, _models(tables, quality)[first_channel + channel])
        if not inside.all():
            outside = shifted[~inside]
            below = outside < 0
            escapes.append(np.where(below, -2 * outside - 1, 2 * (outside - num_bins + 1)))
    escape_bytes = _pack_varints(np.concatenate(escapes[::-1])) if escapes else b""
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return _pack_varints(np.array([len(escape_bytes)])) + escape_bytes + words.rstrip(b"\0")


def decode_symbols(
    data: bytes, shape: tuple[int, int, int], tables: Tables, quality: int, first_channel: int
) -> NDArray[np.int32]:
    """Return int32 symbols of a shape (M', h, w) from `encode_symbols`' data.

    Raises:
        DamagedContainerError: the data does not end exactly where the symbols do, or is not in the
            one form that the encoder writes.
    """
    escape_values, words = _split_data(data)
    coder = constriction.stream.stack.AnsCoder(words)
    symbols = np.empty(shape, dtype=np.int32)
    num_taken = 0
    for channel in range(shape[0]):
        offset, num_bins = _row(tables, quality, first_channel + channel)
        model = _models(tables, quality)[first_channel + channel]
        bins = coder.decode(model, shape[1] * shape[2])
        escaped = np.flatnonzero(bins == num_bins - 1)
        values = bins.astype(np.int64) + offset
        if escaped.size:
            taken = escape_values[num_taken : num_taken + escaped.size]
            if taken.size != escaped.size:
                raise DamagedContainerError("data has fewer escaped values than escapes")
            num_taken += escaped.size
            above = taken // 2 + offset + num_bins - 1
            values[escaped] = np.where(taken & 1, offset - 1 - taken // 2, above)
            if values.min() < _INT32.min or values.max() > _INT32.max:
                raise DamagedContainerError("data has an escaped value beyond int32")
        symbols[channel] = values.reshape(shape[1:])
    if num_taken != escape_values.size or not coder.is_empty():
        raise DamagedContainerError("data holds more than the symbols; it is not of these tables")
    return symbols


def _row(tables: Tables, quality: int, channel: int) -> tuple[int, int]:
    return int(tables.offset[quality, channel]), int(tables.cdf_length[quality, channel]) - 1


@functools.lru_cache(maxsize=64)  # models of one quality: 192 take 0.5 ms to build
def _models(tables: Tables, quality: int) -> Sequence[constriction.stream.model.Model]:
    scale = 1 << (CODER_PRECISION_BITS - PRECISION_BITS)
    return tuple(
        constriction.stream.model.Categorical(
            (tables.frequencies(quality, channel) * scale - 1).astype(np.float32), perfect=False
        )
        for channel in range(tables.num_channels)
    )


def _split_data(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    start = next((i + 1 for i, byte in enumerate(data[:MAX_VARINT_BYTES]) if byte < 0x80), 0)
    if not start:
        raise DamagedContainerError("data has no length of its escapes")
    end = start + int(_unpack_varints(data[:start])[0])
    if end > len(data):
        raise DamagedContainerError(f"data of {len(data)} bytes ends within its escapes")
    stripped = data[end:]
    if stripped.endswith(b"\0"):
        raise DamagedContainerError("data ends in a zero byte, which the encoder never writes")
    words = np.frombuffer(stripped + bytes(-len(stripped) % _WORD_BYTES), dtype="<u4")
    return _unpack_varints(data[start:end]), words.astype(np.uint32)


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
        raise DamagedContainerError("data has an escaped value in a form that no encoder writes")
    places = np.arange(octets.size) - np.repeat(starts, lengths)
    return np.add.reduceat((octets & 0x7F) << (7 * places), starts)
