import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import mix_tables
from slimcodec.entropy.whole import decode_symbols, encode_symbols


def one_table(offset: int, frequencies: list[int]) -> SymbolTables:
    cdf = np.cumsum([0, *frequencies]).astype(np.uint32)
    tables = SymbolTables(
        cdf[np.newaxis], np.array([cdf.size], np.int32), np.array([offset], np.int32)
    )
    tables.validate("one")
    return tables


@st.composite
def tables(draw: st.DrawFn) -> SymbolTables:
    weights = draw(st.lists(st.integers(1, 500), min_size=2, max_size=30))
    weights[draw(st.integers(0, len(weights) - 1))] += 2**16 - sum(weights)
    return one_table(draw(st.integers(-40, 40)), weights)


def by_symbol(tables: SymbolTables) -> dict[int | None, int]:
    """Frequency of every symbol that has a bin, of the escape under None."""
    *plain, escape = tables.frequencies(0).tolist()
    return {None: escape} | {int(tables.offset[0]) + i: f for i, f in enumerate(plain)}


@given(tables(), tables(), st.integers(1, 255))
def test_mixture_is_valid_and_weighs_both(low: SymbolTables, high: SymbolTables, part: int) -> None:
    mixed = mix_tables(low, high, part)

    mixed.validate("mixed")
    of_low, of_high, of_mixed = by_symbol(low), by_symbol(high), by_symbol(mixed)
    assert set(of_mixed) >= set(of_low) | set(of_high)
    expected = {
        symbol: (256 - part) * of_low.get(symbol, 0) + part * of_high.get(symbol, 0)
        for symbol in of_mixed
    }
    gaps = [symbol for symbol, frequency in expected.items() if frequency == 0]
    largest = max(of_mixed, key=lambda symbol: expected[symbol])
    for symbol, frequency in of_mixed.items():
        if symbol in gaps:
            assert frequency == 1
        elif frequency != expected[symbol]:
            assert expected[symbol] == expected[largest]
            assert frequency == expected[symbol] - len(gaps)


@given(tables(), tables(), st.integers(1, 255), st.lists(st.integers(-90, 90), min_size=1))
def test_symbols_come_back_through_a_mixture(
    low: SymbolTables, high: SymbolTables, part: int, values: list[int]
) -> None:
    mixed = mix_tables(low, high, part)
    symbols = np.array(values, np.int32).reshape(1, 1, -1)
    index = np.zeros((1, 1, 1), np.intp)

    data = encode_symbols(symbols, mixed, index)

    decoded: NDArray[np.int32] = decode_symbols(data, (1, 1, len(values)), mixed, index)
    assert np.array_equal(decoded, symbols)


def test_half_way_between_two_disjoint_tables() -> None:
    low, high = one_table(-2, [2**16 - 1, 1]), one_table(1, [2**15, 2**15 - 3, 3])

    mixed = mix_tables(low, high, 128)

    assert by_symbol(mixed) == {
        -2: 128 * (2**16 - 1) - 2,
        -1: 1,
        0: 1,
        1: 128 * 2**15,
        2: 128 * (2**15 - 3),
        None: 128 * 4,
    }


@pytest.mark.parametrize("part", [1, 255])
def test_many_tables_are_mixed_each_with_its_own(part: int) -> None:
    rng = np.random.default_rng(3)
    rows: list[SymbolTables] = []
    for _ in range(2):
        frequencies = rng.integers(1, 2000, (5, 9))
        frequencies[:, 4] += 2**16 - frequencies.sum(1)
        cdf = np.pad(np.cumsum(frequencies, axis=1), ((0, 0), (1, 0))).astype(np.uint32)
        offset = rng.integers(-9, 3, 5).astype(np.int32)
        rows.append(SymbolTables(cdf, np.full(5, 10, np.int32), offset))

    mixed = mix_tables(rows[0], rows[1], part)

    for table in range(5):
        low, high = (
            SymbolTables(t.cdf[[table]], t.cdf_length[[table]], t.offset[[table]]) for t in rows
        )
        alone = mix_tables(low, high, part)
        assert mixed.offset[table] == alone.offset[0]
        assert np.array_equal(mixed.frequencies(table), alone.frequencies(0))
