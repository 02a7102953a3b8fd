import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimlinks.errors import TraceError
from slimlinks.trace import Trace, constant_trace

# 100 B/s for 2 s, nothing for 1 s, 50 B/s for 1 s: 250 bytes in a round of 4 s.
HOLE = Trace("hole", "made", (0.0, 2.0, 3.0), (100.0, 0.0, 50.0), 4.0)


def make_traces() -> st.SearchStrategy[Trace]:
    piece = st.tuples(
        st.floats(0.01, 5.0), st.one_of(st.just(0.0), st.floats(1.0, 1e6, allow_nan=False))
    )
    return st.lists(piece, min_size=1, max_size=8).map(_build)


def _build(pieces: list[tuple[float, float]]) -> Trace:
    ends = [float(end) for end in np.cumsum([seconds for seconds, _ in pieces])]
    rates = [rate for _, rate in pieces]
    rates[0] = rates[0] or 10.0  # something must pass
    return Trace("made", "made", (0.0, *ends[:-1]), tuple(rates), ends[-1])


@pytest.mark.parametrize(
    ("start", "size_bytes", "expected"),
    [
        (0.0, 100, 1.0),
        (0.5, 100, 1.5),
        (0.0, 200, 2.0),  # exactly as the hole begins: it need not wait for the hole's end
        (1.5, 51, 3.02),  # across the hole
        (2.5, 1, 3.02),  # begins in the hole
        (0.0, 250, 4.0),
        (0.0, 350, 5.0),  # into the second round
        (3.0, 300, 8.0),  # through the whole of it
        (4.0, 250, 8.0),
        (9.0, 0, 9.0),
        (2.5, 0, 2.5),
        (400.0, 2500, 440.0),
    ],
)
def test_transfer_ends_where_the_area_under_the_rate_says(
    start: float, size_bytes: int, expected: float
) -> None:
    assert HOLE.finish(start, size_bytes) == pytest.approx(expected)


def test_bytes_between_counts_holes_as_nothing_and_repeats() -> None:
    assert HOLE.bytes_between(0.0, 4.0) == 250.0
    assert HOLE.bytes_between(2.0, 3.0) == 0.0
    assert HOLE.bytes_between(1.0, 9.0) == pytest.approx(100 + 50 + 250 + 100)


def test_rate_holds_from_its_time_on_and_repeats() -> None:
    times = (0.0, 1.99, 2.0, 3.0, 3.99, 4.0, 6.5)

    assert [HOLE.rate_at(t) for t in times] == [100.0, 100.0, 0.0, 50.0, 50.0, 100.0, 0.0]
    assert HOLE.mean == 62.5


def test_nothing_ever_passes_a_dead_link() -> None:
    dead = constant_trace(0.0)

    assert dead.finish(1.0, 1) == math.inf
    assert dead.finish(1.0, 0) == 1.0


@given(make_traces(), st.floats(0, 100), st.floats(1, 1e6))
def test_exactly_the_bytes_of_a_transfer_pass_until_its_end(
    trace: Trace, start: float, size_bytes: float
) -> None:
    end = trace.finish(start, size_bytes)

    assert end > start
    assert trace.bytes_between(start, end) == pytest.approx(size_bytes, rel=1e-6, abs=1e-3)


@given(make_traces(), st.floats(0, 50), st.floats(1, 1e5), st.floats(1, 1e5))
def test_two_transfers_in_a_row_end_as_one_of_their_bytes(
    trace: Trace, start: float, first: float, second: float
) -> None:
    one_by_one = trace.finish(trace.finish(start, first), second)

    # Where a transfer ends at a hole's very edge, rounding decides on which side.
    passed = trace.bytes_between(start, one_by_one)
    assert passed == pytest.approx(first + second, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    ("times", "rates", "seconds"),
    [
        ((0.0,), (), 1.0),
        ((), (), 1.0),
        ((1.0,), (5.0,), 2.0),
        ((0.0, 1.0, 1.0), (5.0, 5.0, 5.0), 2.0),
        ((0.0, 1.0), (5.0, 5.0), 1.0),
        ((0.0,), (-1.0,), 1.0),
        ((0.0,), (math.nan,), 1.0),
        ((0.0,), (math.inf,), 1.0),
    ],
)
def test_numbers_that_are_no_link_are_refused(
    times: tuple[float, ...], rates: tuple[float, ...], seconds: float
) -> None:
    with pytest.raises(TraceError):
        Trace("bad", "made", times, rates, seconds)
