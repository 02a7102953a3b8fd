import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from slimcodec import DamagedContainerError, Tables, decode_symbols, encode_symbols
from support.toy_artifact import make_tables

TABLES = make_tables(np.random.default_rng(5))
INT32 = np.iinfo(np.int32)


def random_tables(rng: np.random.Generator, num_channels: int) -> Tables:
    """Return one quality of tables of 2..200 bins, some nearly flat, some nearly certain."""
    cdf = np.zeros((1, num_channels, 202), np.uint32)
    cdf_length = np.zeros((1, num_channels), np.int32)
    for channel in range(num_channels):
        num_bins = int(rng.integers(2, 201))
        weights = rng.random(num_bins) ** rng.integers(1, 12)
        frequencies = 1 + np.floor(weights / weights.sum() * (2**16 - num_bins)).astype(np.int64)
        frequencies[rng.integers(num_bins)] += 2**16 - frequencies.sum()
        cdf[0, channel, 1 : num_bins + 1] = np.cumsum(frequencies)
        cdf_length[0, channel] = num_bins + 1
    offset = rng.integers(-300, 300, (1, num_channels)).astype(np.int32)
    ones = np.ones((1, num_channels), np.float32)
    tables = Tables(ones, ones, cdf, cdf_length, offset)
    tables.validate()
    return tables


def ans_of_integers(symbols: NDArray[np.int32], tables: Tables) -> bytes:
    """Return the ANS words of symbols without escapes, by Python's integers alone."""
    state, words = 0, []
    for channel in reversed(range(symbols.shape[0])):
        cdf = [int(c) << 8 for c in tables.cdf[0, channel]]
        for symbol in reversed(symbols[channel].ravel().tolist()):
            low = cdf[symbol - tables.offset[0, channel]]
            frequency = cdf[symbol - tables.offset[0, channel] + 1] - low
            if state >> 40 >= frequency:
                words.append(state & 0xFFFFFFFF)
                state >>= 32
            state = (state // frequency << 24) | (state % frequency + low)
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


@pytest.mark.parametrize("seed", range(20))
def test_words_are_those_of_an_integer_only_coder(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, num_channels=3)
    num_plain = tables.cdf_length[0] - 2  # bins but the escape
    symbols = np.stack(
        [tables.offset[0, m] + rng.integers(0, num_plain[m], (4, 9)) for m in range(3)]
    ).astype(np.int32)

    data = encode_symbols(symbols, tables, quality=0, first_channel=0)

    assert data == b"\0" + ans_of_integers(symbols, tables)


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
    data = encode_symbols(symbols, TABLES, quality, first_channel)
    h, w = symbols.shape[1:]

    decoded = decode_symbols(data, (symbols.shape[0], h, w), TABLES, quality, first_channel)

    assert decoded.dtype == np.int32
    assert np.array_equal(decoded, symbols)


def test_symbols_at_the_edges_of_every_table_come_back() -> None:
    for quality, channel in np.ndindex(TABLES.num_qualities, TABLES.num_channels):
        first = int(TABLES.offset[quality, channel])
        last = first + int(TABLES.cdf_length[quality, channel]) - 3
        edges = [INT32.min, first - 65, first - 64, first - 1, first, last, last + 1, last + 64]
        symbols = np.array([[[*edges, INT32.max]]], np.int32)

        data = encode_symbols(symbols, TABLES, quality, channel)

        assert np.array_equal(decode_symbols(data, (1, 1, 9), TABLES, quality, channel), symbols)


@given(st.binary(max_size=64))
def test_arbitrary_data_is_refused_or_is_what_the_encoder_writes(data: bytes) -> None:
    try:
        symbols = decode_symbols(data, (2, 3, 3), TABLES, quality=3, first_channel=4)
    except DamagedContainerError:
        return

    assert encode_symbols(symbols, TABLES, quality=3, first_channel=4) == data


def test_data_of_likely_symbols_is_as_long_as_the_tables_promise() -> None:
    rng = np.random.default_rng(7)
    tables = random_tables(rng, num_channels=8)
    bits, drawn = 0.0, []
    for channel in range(8):
        p = tables.frequencies(0, channel)[:-1] / 2**16
        bins = rng.choice(p.size, size=2000, p=p / p.sum())
        bits += float(-np.log2(p[bins]).sum())
        drawn.append(bins + tables.offset[0, channel])

    symbols = np.array(drawn, np.int32).reshape(8, 40, 50)
    data = encode_symbols(symbols, tables, quality=0, first_channel=0)

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
        decode_symbols(data, (1, 1, 1), TABLES, quality=0, first_channel=0)


def test_escaped_value_beyond_int32_is_refused() -> None:
    data = encode_symbols(np.array([[[INT32.max]]], np.int32), TABLES, 0, 0)
    end = 1 + data[0]
    beyond = data[:end].replace(b"\x0f", b"\x1f")
    assert beyond != data[:end]

    with pytest.raises(DamagedContainerError, match="beyond int32"):
        decode_symbols(beyond + data[end:], (1, 1, 1), TABLES, 0, 0)
