"""Many steps on one stack: what comes later may depend on what came before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcodec.entropy.steps import StepDecoder, StepEncoder
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import DamagedContainerError

TABLES = SymbolTables(
    np.array([[0, 100, 60_000, 65_536], [0, 30_000, 65_000, 65_536]], np.uint32),
    np.array([4, 4], np.int32),
    np.array([-1, 0], np.int32),
)
INT32 = st.integers(-(2**31), 2**31 - 1)
STEPS = st.lists(st.lists(st.tuples(INT32 | st.integers(-2, 3), st.integers(0, 1)), max_size=20))


@given(STEPS)
@settings(deadline=None)
def test_any_steps_come_back(steps: list[list[tuple[int, int]]]) -> None:
    coder = StepEncoder()
    for step in steps:
        symbols, index = np.array(step, np.int64).reshape(-1, 2).T
        coder.add(symbols.astype(np.int32), TABLES, index)
    data = coder.finish()

    decoder = StepDecoder(data)
    for step in steps:
        symbols, index = np.array(step, np.int64).reshape(-1, 2).T
        np.testing.assert_array_equal(decoder.take(TABLES, index), symbols)
    decoder.finish()


def test_nothing_takes_no_bytes() -> None:
    assert StepEncoder().finish() == b""
    StepDecoder(b"").finish()


@given(st.binary(max_size=60), st.integers(1, 200))
@settings(deadline=None)
def test_foreign_bytes_decode_or_are_damage(data: bytes, count: int) -> None:
    try:
        decoder = StepDecoder(data)
        decoder.take(TABLES, np.arange(count) % 2)
        decoder.finish()
    except DamagedContainerError:
        pass


def test_bytes_that_are_left_are_damage() -> None:
    decoder = StepDecoder(b"\x01" * 40)
    decoder.take(TABLES, np.zeros(3, np.intp))

    with pytest.raises(DamagedContainerError, match="more than"):
        decoder.finish()


def test_data_never_end_in_a_zero_byte() -> None:
    with pytest.raises(DamagedContainerError, match="zero byte"):
        StepDecoder(b"\x01\0")
