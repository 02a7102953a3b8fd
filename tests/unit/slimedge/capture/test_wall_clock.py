"""A wall clock that somebody sets, and one that is only corrected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimedge.capture.wall_clock import STEP_SECONDS, WallClock


class TwoClocks:
    def __init__(self) -> None:
        self.unix, self.mono = 1_800_000_000.0, 50.0

    def pass_by(self, seconds: float, *, step: float = 0.0) -> None:
        self.mono += seconds
        self.unix += seconds + step

    def watched(self) -> WallClock:
        return WallClock(lambda: self.unix, lambda: self.mono)


def test_a_clock_that_nobody_sets_is_read_as_it_is() -> None:
    clocks = TwoClocks()
    clock = clocks.watched()
    clock.read()
    clocks.pass_by(3600)

    reading = clock.read()

    assert (reading.unix, reading.mono, reading.expected_unix) == (clocks.unix, 3650.0, None)


def test_a_step_is_told_once_with_both_times_and_then_followed() -> None:
    clocks = TwoClocks()
    clock = clocks.watched()
    start = clock.read().unix
    clocks.pass_by(1, step=-3600)

    stepped = clock.read()
    clocks.pass_by(1)
    after = clock.read()

    assert stepped.expected_unix is not None
    assert abs(stepped.expected_unix - (start + 1)) < 1e-3
    assert abs(stepped.unix - (start + 1 - 3600)) < 1e-3
    assert after.expected_unix is None
    assert abs(after.unix - stepped.unix - 1) < 1e-3


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.one_of(
                st.floats(-0.9 * STEP_SECONDS, 0.9 * STEP_SECONDS),
                st.floats(-1e6, -2 * STEP_SECONDS),
                st.floats(2 * STEP_SECONDS, 1e6),
            ),
        ),
        max_size=30,
    )
)
def test_times_rise_unless_a_step_is_told(moves: list[tuple[float, float]]) -> None:
    clocks = TwoClocks()
    clock = clocks.watched()
    last = clock.read()
    for seconds, step in moves:
        clocks.pass_by(seconds, step=step)
        reading = clock.read()
        assert reading.unix > last.unix or reading.expected_unix is not None
        last = reading
