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
    offset, escape = _rows(tables, quality, first_channel, symbols.shape[0])
    shifted = symbols.reshape(symbols.shape[0], -1).astype(np.int64) - offset  # (M', h * w)
    # as unsigned numbers, symbols below the table are large ones: both sides become the escape
    bins = np.minimum(shifted.view(np.uint64), escape.view(np.uint64)).astype(np.int32)
    models = _models(tables, quality)
    coder = constriction.stream.stack.AnsCoder()
    for channel in reversed(range(symbols.shape[0])):  # a stack: what goes in last comes out first
        coder.encode_reverse(bins[channel], models[first_channel + channel])
    escaped = np.nonzero(bins == escape)
    above, below = shifted[escaped] - escape[escaped[0], 0], -shifted[escaped] - 1
    escape_bytes = _pack_varints(np.where(above < 0, 2 * below + 1, 2 * above))
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
    offset, escape = _rows(tables, quality, first_channel, shape[0])
    models = _models(tables, quality)
    coder = constriction.stream.stack.AnsCoder(words)
    bins = np.empty((shape[0], shape[1] * shape[2]), dtype=np.int32)
    for channel in range(shape[0]):
        bins[channel] = coder.decode(models[first_channel + channel], bins.shape[1])
    if not coder.is_empty():
        raise DamagedContainerError("data holds more than the symbols; it is not of these tables")
    escaped = np.nonzero(bins == escape)
    if escaped[0].size != escape_values.size:
        raise DamagedContainerError(
            f"data has {escape_values.size} escaped values for {escaped[0].size} escapes"
        )
    symbols = bins + offset.astype(np.int32)  # offsets are far from the ends of int32
    if escape_values.size:
        first, distance = offset[escaped[0], 0], escape_values // 2
        above = first + escape[escaped[0], 0] + distance
        values = np.where(escape_values & 1, first - 1 - distance, above)
        if values.min() < _INT32.min or values.max() > _INT32.max:
            raise DamagedContainerError("data has an escaped value beyond int32")
        symbols[escaped] = values
    return symbols.reshape(shape)


def _rows(
    tables: Tables, quality: int, first_channel: int, num_channels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first symbol and the escape bin of each channel's table, both (M', 1)."""
    channels = slice(first_channel, first_channel + num_channels)
    offset = tables.offset[quality, channels, np.newaxis].astype(np.int64)
    return offset, tables.cdf_length[quality, channels, np.newaxis].astype(np.int64) - 2


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
