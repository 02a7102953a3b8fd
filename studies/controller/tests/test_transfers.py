"""Many transfers at once, against one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimlinks.trace import Trace, constant_trace
from studies.controller.bound.transfers import finish_all


def make_traces() -> st.SearchStrategy[Trace]:
    piece = st.tuples(st.floats(0.01, 5.0), st.just(0.0) | st.floats(1.0, 1e6))
    return st.lists(piece, min_size=1, max_size=8).map(_build)


def _build(pieces: list[tuple[float, float]]) -> Trace:
    ends = [float(end) for end in np.cumsum([seconds for seconds, _ in pieces])]
    rates = [rate for _, rate in pieces]
    rates[0] = rates[0] or 10.0  # something must pass
    return Trace("made", "made", (0.0, *ends[:-1]), tuple(rates), ends[-1])


def test_nothing_ever_passes_a_dead_link() -> None:
    assert np.isinf(finish_all(constant_trace(0.0), np.array([1.0]), np.array([1.0]))).all()


@given(make_traces(), st.lists(st.tuples(st.floats(0, 100), st.floats(1, 1e6)), min_size=1))
def test_many_transfers_at_once_end_as_one_by_one(
    trace: Trace, transfers: list[tuple[float, float]]
) -> None:
    starts, sizes = (np.array(column) for column in zip(*transfers, strict=True))

    ends = finish_all(trace, starts, sizes)

    expected = [trace.finish(start, size) for start, size in transfers]
    for start, size, end, wanted in zip(starts, sizes, ends, expected, strict=True):
        passed = trace.bytes_between(start, end)
        assert end == pytest.approx(wanted) or passed == pytest.approx(size, rel=1e-6, abs=1e-3)
