"""Symbols whose tables are all known before: the data of a whole section, containers 1 and 2.

    symbols --split--> bins ----ANS, integer tables---> words ─┐
                └----> values of escapes --varint----> bytes ──┴─> data

Data is  varint(number of escape bytes) | escape bytes | ANS words (`slimcodec.entropy.ans`).
Varints are LEB128. The table is that of a symbol's channel with a factorized prior, what h_s chose
with a hyperprior. Those of one table come in the order of the latent: channels follow each other,
rows from the top, each row from the left.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.ans import (
    WRONG_FORM,
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

MAX_VARINT_BYTES = 5  # 35 bits: distances between int32 symbols fit


def encode_symbols(
    symbols: NDArray[np.int32], tables: SymbolTables, index: NDArray[np.integer[Any]]
) -> bytes:
    """Return the entropy-coded symbols of some channels.

    Args:
        symbols: int32 (M', h, w), any values.
        tables: Of which each symbol uses one.
        index: The table of each symbol, 0 to T - 1, of a shape that broadcasts to the symbols'.
    """
    order = Order.of(index, symbols.shape, tables)
    bins, _, values = to_bins(order.sort(symbols), order, tables)
    words = encode_bins(with_models(bins, order, tables))
    escape_bytes = _pack_varints(values)
    return _pack_varints(np.array([len(escape_bytes)])) + escape_bytes + words


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
    escape_bytes, words = split_coded(data)
    escape_values = _unpack_varints(escape_bytes)
    order, coder = Order.of(index, shape, tables), open_coder(words)
    bins, escaped = decode_bins(coder, order, tables)
    check_empty(coder)
    if escaped.size != escape_values.size:
        raise DamagedContainerError(
            f"data has {escape_values.size} escaped values for {escaped.size} escapes"
        )
    symbols = from_bins(bins, escaped, escape_values, order, tables)
    return order.unsort(symbols).reshape(shape)


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
                raise DamagedContainerError(WRONG_FORM)
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
        raise DamagedContainerError(WRONG_FORM)
    places = np.arange(octets.size) - np.repeat(starts, lengths)
    return np.add.reduceat((octets & 0x7F) << (7 * places), starts)
