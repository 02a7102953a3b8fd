"""A camera's clock is measured against the cloud's, and its times are told as they can be."""

import pytest

from slimcloud.ingest.clock_offset import ClockOffset

NOW = 1_790_000_000_000_000  # microseconds since 1970
SECOND = 10**6
DAY = 86_400 * SECOND
PASSAGE = 300_000
MONO = 77 * DAY  # of the camera at capture


def take_live(clock: ClockOffset, count: int, ahead_us: int) -> list[int]:
    """Frames of a camera whose clock is ahead by so much: what each is taken to be off by."""
    return [clock.take(NOW + ahead_us - PASSAGE, NOW, MONO) for _ in range(count)]


def test_camera_in_step_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    clock = ClockOffset("gate", lambda: MONO + PASSAGE)

    assert take_live(clock, 20, 0) == [0] * 20
    assert clock.take(NOW - 3 * DAY, NOW) == 0, "it waited in the spool"
    assert clock.take(NOW - 4000 * DAY, NOW) == 0, "it is an old recording"
    assert clock.take(NOW - 25 * SECOND, NOW, MONO) == 0, "its link is slow"
    assert clock.offset_us == 0
    assert not caplog.records


@pytest.mark.parametrize("ahead_us", [120 * SECOND, -60 * SECOND, 4 * DAY, -20_000 * DAY])
def test_camera_out_of_step_is_measured_told_once_and_taken_off(
    ahead_us: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ClockOffset("gate", lambda: MONO + PASSAGE)

    taken = take_live(clock, 20, ahead_us)

    assert taken == [ahead_us - PASSAGE] * 20
    assert clock.offset_us == ahead_us - PASSAGE
    late = clock.take(NOW + ahead_us - DAY, NOW)
    assert late == ahead_us - PASSAGE, "it was kept by the same clock"
    assert [record.message for record in caplog.records] == [
        f"the camera's clock is off by {(ahead_us - PASSAGE) / 1e6:+.0f} s; set it, by NTP say"
    ]


@pytest.mark.parametrize("capture_mono_us", [None, MONO])
def test_odd_time_is_taken_for_the_arrival_and_moves_no_other(capture_mono_us: int | None) -> None:
    clock = ClockOffset("gate", lambda: MONO + PASSAGE)
    take_live(clock, 5, 0)
    year_2255 = 9_000_000_000 * SECOND

    for odd_us in (year_2255, 0):
        assert odd_us - clock.take(odd_us, NOW, capture_mono_us) == NOW

    assert take_live(clock, 5, 0) == [0] * 5
    assert clock.offset_us == 0


def test_camera_whose_clock_is_set_right_is_in_step_again() -> None:
    clock = ClockOffset("gate", lambda: MONO + PASSAGE)
    take_live(clock, 15, -2 * DAY)

    taken = take_live(clock, 15, 0)

    assert all(abs(offset) <= PASSAGE for offset in taken)
    assert clock.offset_us == 0


def test_frames_that_were_held_on_their_way_are_of_no_clock_that_is_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cloud_mono = 5 * DAY
    clock = ClockOffset("gate", lambda: cloud_mono)
    clock.begin(MONO)

    for held in (53 * SECOND, 186 * SECOND, 20 * SECOND):
        cloud_mono = 5 * DAY + held
        assert clock.take(NOW, NOW + held, MONO) == 0

    assert not caplog.records
    cloud_mono = 5 * DAY + 200 * SECOND
    taken = [clock.take(NOW - 60 * SECOND, NOW + 200 * SECOND, MONO) for _ in range(15)]
    assert taken[-1] == -60 * SECOND, "and a clock that is set while they are held is seen"
