import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.whole import decode_symbols, encode_symbols
from slimcodec.errors import DamagedContainerError
from support.models.toy_artifact import make_tables

TABLES = make_tables(np.random.default_rng(5))
INT32 = np.iinfo(np.int32)


def channels(first: int, count: int) -> NDArray[np.intp]:
    """The index of channels that are coded by consecutive tables."""
    return np.arange(first, first + count)[:, np.newaxis, np.newaxis]


def random_tables(rng: np.random.Generator, num_tables: int) -> SymbolTables:
    """Return tables of 2..200 bins, some nearly flat, some nearly certain."""
    cdf = np.zeros((num_tables, 202), np.uint32)
    cdf_length = np.zeros(num_tables, np.int32)
    for table in range(num_tables):
        num_bins = int(rng.integers(2, 201))
        weights = rng.random(num_bins) ** rng.integers(1, 12)
        frequencies = 1 + np.floor(weights / weights.sum() * (2**16 - num_bins)).astype(np.int64)
        frequencies[rng.integers(num_bins)] += 2**16 - frequencies.sum()
        cdf[table, 1 : num_bins + 1] = np.cumsum(frequencies)
        cdf_length[table] = num_bins + 1
    tables = SymbolTables(cdf, cdf_length, rng.integers(-300, 300, num_tables).astype(np.int32))
    tables.validate("random")
    return tables


def ans_of_integers(coded: list[tuple[int, int]], tables: SymbolTables) -> bytes:
    """Return the ANS words of (symbol, table) without escapes, by Python's integers alone."""
    state, words = 0, []
    for symbol, table in reversed(coded):
        cdf = [int(c) << 8 for c in tables.cdf[table]]
        low = cdf[symbol - tables.offset[table]]
        frequency = cdf[symbol - tables.offset[table] + 1] - low
        if state >> 40 >= frequency:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = (state // frequency << 24) | (state % frequency + low)
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("by_channel", [True, False])
def test_words_are_those_of_an_integer_only_coder(seed: int, by_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, num_tables=3)
    index = np.broadcast_to(channels(0, 3), (3, 4, 9))
    if not by_channel:
        index = rng.integers(0, 3, (3, 4, 9))
    num_plain = tables.cdf_length - 2  # bins but the escape
    symbols = (tables.offset[index] + rng.integers(0, num_plain[index])).astype(np.int32)
    pairs = list(zip(symbols.ravel().tolist(), index.ravel().tolist(), strict=True))

    data = encode_symbols(symbols, tables, index)

    in_order = sorted(pairs, key=lambda pair: pair[1])  # by table, and stable
    assert data == b"\0" + ans_of_integers(in_order, tables)


@given(
    arrays(
        np.int32,
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
        elements=st.one_of(st.integers(-4, 4), st.integers(INT32.min, INT32.max)),
    ),
    st.integers(0, 5),
    st.integers(0, 28),
)
def test_any_symbols_come_back(
    symbols: NDArray[np.int32], quality: int, first_channel: int
) -> None:
    num_channels, h, w = symbols.shape
    tables, index = TABLES.at(quality), channels(first_channel, num_channels)

    data = encode_symbols(symbols, tables, index)
    decoded = decode_symbols(data, (num_channels, h, w), tables, index)

    assert decoded.dtype == np.int32
    assert np.array_equal(decoded, symbols)


@given(st.data())
def test_any_symbols_come_back_from_tables_of_their_own(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5)))
    wild = st.one_of(st.integers(-4, 4), st.integers(INT32.min, INT32.max))
    symbols = data.draw(arrays(np.int32, shape, elements=wild))
    index = data.draw(arrays(np.int32, shape, elements=st.integers(0, 31)))

    coded = encode_symbols(symbols, TABLES.at(2), index)

    assert np.array_equal(decode_symbols(coded, shape, TABLES.at(2), index), symbols)


def test_symbols_at_the_edges_of_every_table_come_back() -> None:
    for quality, channel in np.ndindex(*TABLES.offset.shape):
        tables, index = TABLES.at(quality), channels(channel, 1)
        first = int(tables.offset[channel])
        last = first + int(tables.cdf_length[channel]) - 3
        edges = [INT32.min, first - 65, first - 64, first - 1, first, last, last + 1, last + 64]
        symbols = np.array([[[*edges, INT32.max]]], np.int32)

        data = encode_symbols(symbols, tables, index)

        assert np.array_equal(decode_symbols(data, (1, 1, 9), tables, index), symbols)


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(channels(4, 2), id="one table a channel"),
        pytest.param(np.arange(18).reshape(2, 3, 3)[:, ::-1] // 2, id="tables in any order"),
    ],
)
@given(st.binary(max_size=64))
def test_arbitrary_data_is_refused_or_is_what_the_encoder_writes(
    index: NDArray[np.intp], data: bytes
) -> None:
    tables = TABLES.at(3)
    try:
        symbols = decode_symbols(data, (2, 3, 3), tables, index)
    except DamagedContainerError:
        return

    assert encode_symbols(symbols, tables, index) == data


def test_data_of_likely_symbols_is_as_long_as_the_tables_promise() -> None:
    rng = np.random.default_rng(7)
    tables = random_tables(rng, num_tables=8)
    bits, drawn = 0.0, []
    for channel in range(8):
        p = tables.frequencies(channel)[:-1] / 2**16
        bins = rng.choice(p.size, size=2000, p=p / p.sum())
        bits += float(-np.log2(p[bins]).sum())
        drawn.append(bins + tables.offset[channel])

    symbols = np.array(drawn, np.int32).reshape(8, 40, 50)
    data = encode_symbols(symbols, tables, channels(0, 8))

    assert bits / 8 < len(data) < 1.001 * bits / 8 + 16


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no length"),
        (b"\x80\x80\x80\x80\x80\x80", "no length"),
        (b"\x05\x01", "ends within its escapes"),
        (b"\x01\x80", "ends within an escaped value"),
        (b"\x02\x80\x00", "form that no encoder writes"),
        (b"\x06\x80\x80\x80\x80\x80\x01", "form that no encoder writes"),
        (b"\x00\x01\x00", "zero byte"),
        (b"\x01\x05", "1 escaped values for 0 escapes"),
        (b"\x00" + b"\x55" * 40, "more than the symbols"),
    ],
)
def test_data_in_a_form_that_no_encoder_writes_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DamagedContainerError, match=message):
        decode_symbols(data, (1, 1, 1), TABLES.at(0), channels(0, 1))


def test_escaped_value_beyond_int32_is_refused() -> None:
    data = encode_symbols(np.array([[[INT32.max]]], np.int32), TABLES.at(0), channels(0, 1))
    end = 1 + data[0]
    beyond = data[:end].replace(b"\x0f", b"\x1f")
    assert beyond != data[:end]

    with pytest.raises(DamagedContainerError, match="beyond int32"):
        decode_symbols(beyond + data[end:], (1, 1, 1), TABLES.at(0), channels(0, 1))
