"""An object keeps its track while others cross it, hide it, and while it stands still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from pydantic import ValidationError

from slimcloud.tracks.tracker import MAX_TRACKS, Tracker
from slimcodec.detection import Detection

CLEAR, FAINT = 0.8, 0.4


def seen_at(
    x: float, y: float = 200, *, score: float = CLEAR, label: str = "person", w: float = 30
) -> Detection:
    """A box 80 pixels high around a centre."""
    return Detection((x - w / 2, y - 40, x + w / 2, y + 40), score, 0, label)


def track(
    frames: Iterable[tuple[float, Sequence[Detection]]], tracker: Tracker | None = None
) -> list[list[int]]:
    """The ids of each frame's detections; frames are seconds with what is seen."""
    tracker = tracker or Tracker()
    return [tracker.update(round(1e6 * seconds), found) for seconds, found in frames]


@pytest.mark.parametrize("rate", [1, 2, 5, 10])
def test_a_walker_is_one_track_at_any_frame_rate(rate: int) -> None:
    times = [i / rate for i in range(8 * rate)]

    ids = track((t, [seen_at(100 + 50 * t)]) for t in times)

    assert ids == [[1]] * len(times)


def test_frames_may_come_irregularly() -> None:
    times = [0, 0.1, 0.2, 0.9, 1.0, 2.3, 2.4, 3.9, 4.0]

    assert track((t, [seen_at(100 + 50 * t)]) for t in times) == [[1]] * len(times)


@pytest.mark.parametrize("rate", [2, 5, 10])
def test_two_who_cross_keep_their_tracks(rate: int) -> None:
    times = [i / rate for i in range(8 * rate)]

    ids = track((t, [seen_at(100 + 50 * t, 200), seen_at(450 - 50 * t, 215)]) for t in times)

    assert ids == [[1, 2]] * len(times)


def test_a_walker_who_was_hidden_keeps_its_track() -> None:
    times = [i / 5 for i in range(40)]
    hidden = range(15, 23)  # 1.6 s

    ids = track((t, [] if i in hidden else [seen_at(100 + 50 * t)]) for i, t in enumerate(times))

    assert ids[14] == ids[23] == ids[-1] == [1]


def test_a_walker_who_was_away_for_long_is_another() -> None:
    tracker = Tracker()

    track([(t, [seen_at(100 + 50 * t)]) for t in (0, 1, 2)], tracker)

    assert track([(20, [seen_at(200)])], tracker) == [[2]]


def test_who_stops_and_goes_on_keeps_the_track() -> None:
    stops, goes = 4.0, 12.0

    def x_at(t: float) -> float:
        return 100 + 50 * (min(t, stops) + max(0.0, t - goes))

    times = [i / 2 for i in range(32)]

    assert track((t, [seen_at(x_at(t))]) for t in times) == [[1]] * len(times)


def test_what_stands_still_rests_and_is_waited_for() -> None:
    tracker = Tracker()
    van = seen_at(400, w=150, label="car")

    track([(t, [van]) for t in range(8)], tracker)

    assert tracker.tracks[0].is_resting
    assert track([(7 + 120, [van])], tracker) == [[1]]
    assert track([(7 + 120 + 400, [van])], tracker) == [[2]]


def test_what_comes_elsewhere_while_the_parked_one_is_missed_is_another() -> None:
    tracker = Tracker()
    track([(t, [seen_at(400, w=150, label="car")]) for t in range(8)], tracker)

    assert track([(68, [seen_at(900, w=150, label="car")])], tracker) == [[2]]


def test_what_appears_further_off_than_anything_moves_is_another() -> None:
    assert track([(0, [seen_at(100)]), (0.2, [seen_at(100)]), (0.4, [seen_at(400)])])[2] == [2]


def test_the_one_that_was_just_seen_is_likelier_than_one_that_is_missed() -> None:
    tracker = Tracker()
    towards = [(t / 5, [seen_at(100 + 10 * t), seen_at(300)]) for t in range(11)]
    alone = [(t / 5, [seen_at(300)]) for t in range(11, 20)]

    track(towards + alone, tracker)

    # where the missed one is expected, and a step beside the other
    assert track([(4.0, [seen_at(304)])], tracker) == [[2]]


def test_who_steps_out_of_a_car_is_not_the_car() -> None:
    tracker = Tracker()
    track([(t / 5, [seen_at(400, w=80, label="car")]) for t in range(5)], tracker)

    assert track([(1, [seen_at(430, w=40)])], tracker) == [[2]]


def test_who_passes_what_is_parked_does_not_take_its_track() -> None:
    van = seen_at(400, w=150, label="car")

    ids = track((t / 5, [van, seen_at(250 + 10 * t)]) for t in range(40))

    assert ids == [[1, 2]] * 40


def test_an_object_may_be_called_by_another_name_for_a_while() -> None:
    tracker = Tracker()
    names = ["car", "car", "truck", "car", "truck", "car"]

    ids = track([(t, [seen_at(400, w=150, label=name)]) for t, name in enumerate(names)], tracker)

    assert ids == [[1]] * 6
    assert tracker.tracks[0].label == "car"


def test_what_is_faint_continues_a_track_and_begins_none() -> None:
    clear, faint = seen_at(100), seen_at(102, score=FAINT)

    assert track([(0, [faint]), (0.2, [faint])]) == [[0], [0]]
    assert track([(0, [clear]), (0.2, [faint]), (0.4, [clear])]) == [[1], [1], [1]]


def test_a_frame_that_is_not_newer_changes_nothing() -> None:
    tracker = Tracker()
    track([(1, [seen_at(100)])], tracker)
    before = tracker.to_json()

    assert track([(1, [seen_at(100)]), (0.5, [seen_at(300)])], tracker) == [[0], [0]]
    assert tracker.to_json() == before


def test_another_process_goes_on_from_the_state() -> None:
    frames = [
        (
            t / 5,
            [seen_at(100 + 10 * t), seen_at(450 - 10 * t, 215, score=CLEAR if t % 3 else FAINT)],
        )
        for t in range(30)
    ]
    whole, parts = Tracker(), Tracker()

    for frame in frames:
        parts = Tracker.from_json(parts.to_json())
        assert track([frame], parts) == track([frame], whole)

    assert parts.to_json() == whole.to_json()


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(ValidationError):
        Tracker.from_json(b'{"tracks": [{}]}')


def test_the_state_is_bounded() -> None:
    tracker = Tracker()

    for second in range(3):
        crowd = [seen_at(200 * i, 200 * second) for i in range(MAX_TRACKS + 40)]
        track([(second, crowd)], tracker)

    assert len(tracker.tracks) == MAX_TRACKS
    assert len(tracker.to_json()) < 600 * MAX_TRACKS
