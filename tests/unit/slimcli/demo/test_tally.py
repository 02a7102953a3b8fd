"""The edge's events, counted."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from slimcli.demo.plan import STREET, Plan
from slimcli.demo.rate import slower_rate
from slimcli.demo.review import ViewedFrame
from slimcli.demo.screen import LiveScreen, PlainScreen, draw
from slimcli.demo.summary import jpeg_line, percentile, summary_json, summary_lines
from slimcli.demo.tally import RECENT_FRAMES, SeenFrame, Tally
from slimcodec.detection import Detection
from slimedge.event import (
    Acked,
    CameraChanged,
    CameraState,
    Captured,
    Detected,
    Encoded,
    LinkChanged,
    LinkState,
    LossReason,
    Lost,
    Nacked,
    Sent,
    Stage,
)
from slimedge.settings import EdgeSettings
from slimlinks.trace import constant_trace

PLAN = Plan(
    edge=EdgeSettings(source="street.mp4", camera_id="demo", deadline_seconds=1.0),
    model="slim/2",
    page="http://127.0.0.1:1",
    seconds=20,
    link=constant_trace(125_000),
    shown=STREET,
    against_jpeg=jpeg_line("b982f16d00dd5787"),
)


def encoded(sequence: int, level: int = 1, size: int = 1000) -> Encoded:
    return Encoded(
        frame=sequence,
        sequence=sequence,
        level=level,
        quality=2,
        bitstream_bytes=size,
        image=np.full((40, 50, 3), sequence % 256, np.uint8),
        wait_seconds=0.01,
        encode_seconds=0.02,
        probe=False,
    )


def detected(
    sequence: int, latency: float = 0.5, labels: tuple[str, ...] = ("person",)
) -> Detected:
    found = tuple(Detection((0, 0, 9, 9), 0.9, 0, label) for label in labels)
    return Detected(sequence, found, latency, 0.05, 0.1)


def run_frame(tally: Tally, sequence: int, level: int = 1, latency: float = 0.5) -> None:
    """One frame all the way."""
    tally.notify(Captured(sequence, (40, 50)))
    tally.notify(encoded(sequence, level))
    tally.notify(Sent(sequence, 1000, 0.03, resent=False))
    tally.notify(Acked(sequence, Stage.RECEIVED, 0.1))
    tally.notify(Acked(sequence, Stage.PERSISTED, 0.1))
    tally.notify(detected(sequence, latency))


def summed(tally: Tally, viewed: ViewedFrame | None = None) -> dict[str, object]:
    return summary_json(tally.totals, viewed)


def test_a_frame_is_counted_at_every_step() -> None:
    tally = Tally()

    run_frame(tally, 1)
    run_frame(tally, 2)

    seen = summed(tally)
    assert seen["frames_captured"] == seen["frames_sent"] == seen["frames_acked"] == 2
    assert seen["frames_detected"] == 2
    assert seen["bytes_total"] == 2000
    assert seen["bpp_mean"] == 8 * 1000 / (40 * 50)
    assert seen["detections"] == {"person": 2}
    assert tally.is_settled


def test_news_that_comes_twice_is_counted_once() -> None:
    tally = Tally()
    run_frame(tally, 1)

    tally.notify(Sent(1, 1000, 0.0, resent=True))
    tally.notify(Acked(1, Stage.PERSISTED, 0.1))
    tally.notify(detected(1))

    assert tally.totals.frames_sent == tally.totals.frames_detected == 1
    assert tally.totals.sent_bytes == 1000
    assert len(tally.totals.latencies_seconds) == 1


def test_what_did_not_come_through_is_counted_by_its_reason() -> None:
    tally = Tally()

    tally.notify(Captured(1, (40, 50)))
    tally.notify(encoded(1))
    tally.notify(Lost(1, LossReason.EXPIRED))
    tally.notify(encoded(2))
    tally.notify(Nacked(2, "crc", "damaged", retryable=True))
    tally.notify(Nacked(2, "decode", "broken", retryable=False))
    tally.notify(Lost(2, LossReason.REFUSED))  # the edge tells both of one frame

    totals = tally.totals
    assert (totals.frames_lost, totals.frames_nacked) == (1, 1)
    assert tally.is_settled


def test_a_closed_tally_follows_old_frames_and_counts_no_new_ones() -> None:
    tally = Tally()
    tally.notify(Captured(1, (40, 50)))
    tally.notify(encoded(1))
    tally.notify(Sent(1, 1000, 0.0, resent=False))
    tally.close()
    is_settled_before = tally.is_settled

    run_frame(tally, 2)
    for event in (Acked(1, Stage.PERSISTED, 0.1), detected(1)):
        tally.notify(event)

    assert not is_settled_before
    assert tally.is_settled
    assert tally.totals.frames_captured == tally.totals.frames_sent == 1
    assert tally.totals.frames_detected == 1


def test_the_narrowest_and_newest_detected_frame_is_reviewed_first() -> None:
    tally = Tally()
    for sequence, level in ((1, 0), (2, 2), (3, 0), (4, 1)):
        run_frame(tally, sequence, level)

    best = tally.best_to_look_at()

    assert best is not None
    sequence, picture = best
    assert sequence == picture[0, 0, 0] == 3


def test_old_pictures_are_let_go() -> None:
    tally = Tally()
    run_frame(tally, 1, level=0)
    for sequence in range(2, RECENT_FRAMES + 1):
        run_frame(tally, sequence)
    before = tally.best_to_look_at()
    run_frame(tally, RECENT_FRAMES + 1)
    after = tally.best_to_look_at()

    assert before is not None
    assert after is not None
    assert (before[0], after[0]) == (1, RECENT_FRAMES + 1)
    assert tally.totals.frames_detected == RECENT_FRAMES + 1


def test_the_parts_of_a_latency_add_up_to_the_whole() -> None:
    tally = Tally()

    run_frame(tally, 1, latency=0.5)

    (seen,) = tally.recent
    assert seen.way_seconds == pytest.approx(0.5 - 0.01 - 0.02 - 0.05 - 0.1)
    assert seen.machine_seconds == pytest.approx(0.02 + 0.05 + 0.1)
    assert seen.work_seconds == pytest.approx(0.02 + 0.1)


def test_what_was_counted_while_warming_up_is_forgotten() -> None:
    tally = Tally()
    run_frame(tally, 1)
    tally.notify(encoded(2))
    tally.restart()

    tally.notify(Sent(2, 1000, 0.0, resent=False))
    tally.notify(detected(2))
    run_frame(tally, 3)

    assert tally.totals.frames_sent == tally.totals.frames_detected == 1
    assert [seen.encoded.sequence for seen in tally.recent] == [3]


def test_a_frame_that_was_captured_before_the_count_began_is_in_none_of_the_counts() -> None:
    tally = Tally()
    tally.notify(Captured(1, (40, 50)))
    tally.restart()

    for event in (encoded(1), Sent(1, 1000, 0.0, resent=False), detected(1)):
        tally.notify(event)
    run_frame(tally, 2)

    seen = summed(tally)
    counts = ("frames_captured", "frames_sent", "frames_acked", "frames_detected")
    assert [seen[name] for name in counts] == [1, 1, 1, 1]
    assert seen["frames_skipped"] == 0


def test_an_empty_tally_sums_up_to_nulls() -> None:
    seen = summed(Tally())

    assert seen["bpp_mean"] is seen["latency_p50_seconds"] is seen["view_psnr_db"] is None
    assert seen["frames_captured"] == seen["bytes_total"] == 0


def test_percentiles_are_interpolated() -> None:
    assert percentile([1.0, 2.0], 50) == 1.5


def shown(renderable: object) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_screen_shows_the_newest_frame_and_the_totals() -> None:
    tally = Tally(deadline_seconds=1.0)
    tally.notify(LinkChanged(LinkState.UP, "127.0.0.1:1"))
    run_frame(tally, 1)
    run_frame(tally, 2, latency=1.5)

    text = shown(draw(tally, PLAN, "3 s", 10.0, None))

    assert "street.mp4, 50 x 40, 10 pictures a second" in text
    assert "now level 1, quality 2" in text
    assert "1 person" in text
    assert "2 sent, 2 answered, 1 after more than 1 s" in text
    assert "1.0 kB a picture" in text
    assert "only of person, bicycle, car" in text
    assert "fewer bytes for equal detections" in text


def test_the_screen_says_nothing_of_jpeg_for_a_model_that_was_not_measured() -> None:
    plan = replace(PLAN, against_jpeg=jpeg_line("of another"))

    assert "JPEG" not in shown(draw(Tally(), plan, "", 10.0, None))


def test_the_screen_waits_for_the_first_frame_and_says_what_is_missing() -> None:
    tally = Tally()
    tally.notify(CameraChanged(CameraState.LOST, "connection refused"))
    tally.notify(LinkChanged(LinkState.DOWN, "again in 2 s"))

    text = shown(draw(tally, PLAN, "warming up", 10.0, None))

    assert "nothing yet" in text
    assert "lost: connection refused" in text
    assert "down: again in 2 s" in text
    assert "warming up" in text


def test_the_screen_fits_a_terminal_of_80_by_24_at_its_fullest() -> None:
    tally = Tally()
    tally.notify(LinkChanged(LinkState.UP, "127.0.0.1:1"))
    labels = tuple(label for label in (*STREET, "sports ball", "frisbee") for _ in range(30))
    for sequence in range(1, 300):
        tally.notify(Captured(sequence, (40, 50)))
        tally.notify(encoded(sequence, size=123_456))
        tally.notify(Sent(sequence, 123_456, 0.0, resent=False))
        tally.notify(detected(sequence, 1234.5, labels))
        tally.notify(Lost(sequence, LossReason.EXPIRED))
        tally.notify(Nacked(sequence, "decode", "broken", retryable=False))
    name = "a-very-long-name-of-a-video-that-somebody-has-in-a-folder-somewhere-1920x1080.mp4"
    plan = replace(
        PLAN,
        edge=PLAN.edge.model_copy(update={"source": name}),
        link=replace(constant_trace(1_543_125), name="ATT-LTE-driving-2016_up.txt"),
        round_trip_seconds=0.05,
        is_replayed=True,
    )
    console = Console(width=80, height=24, record=True, file=io.StringIO(), force_terminal=True)

    with LiveScreen(console, plan, tally) as screen:
        screen.say("This machine works 0.3 s on a picture: 2 a second now, not 10. Counted anew.")
        screen.update("waiting for the last results", 10.0, 1e9)
    lines = console.export_text().splitlines()

    drawn = shown(draw(tally, plan, "note", 10.0, 1e9, "a sentence")).splitlines()
    assert lines[0].startswith("http://127.0.0.1:1 ")
    assert 1 + len(drawn) <= 23  # and the cursor's line
    assert max(map(len, drawn)) <= 80


def test_the_summary_compares_the_view_before_and_after() -> None:
    tally = Tally()
    run_frame(tally, 1)
    viewed = ViewedFrame(1000, 25.0, 500, 30.0, "")

    told = summary_lines(tally.totals, viewed, PLAN)["on demand"]
    seen = summed(tally, viewed)

    assert "the 1.0 kB for the boxes give it at 25.0 dB; 0.5 kB more" in told
    assert "at 30.0 dB" in told
    assert seen["view_psnr_db"] == {"before": 25.0, "after": 30.0}


def test_plain_lines_begin_with_the_page_and_do_not_repeat_themselves() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    tally = Tally()
    run_frame(tally, 1)

    with PlainScreen(console, PLAN, tally) as screen:
        screen.update("", 10.0, None)
        screen.update("", 10.0, None)
        screen.update("waiting for the last results", 10.0, None)

    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("http://127.0.0.1:1 ")
    assert lines[2].startswith("frame 1: level 1, quality 2, 1,000 bytes")


def seen_of(*parts: tuple[float, float, float]) -> list[SeenFrame]:
    """Frames that took so long to encode, to wait in the cloud, and to detect; seconds."""
    return [
        SeenFrame(replace(encoded(1), encode_seconds=encode), Detected(1, (), 2.0, queue, compute))
        for encode, queue, compute in parts
    ]


@pytest.mark.parametrize(
    ("parts", "rate", "expected"),
    [
        ([(0.02, 0.01, 0.07)] * 4, 10.0, None),
        ([(0.02, 0.01, 0.07)] * 3 + [(0.02, 0.9, 0.9)], 10.0, None),  # one by chance
        ([(0.02, 0.9, 0.9)] * 3, 10.0, None),  # too few to say
        ([(0.02, 0.40, 0.12)] * 4, 10.0, 5.0),
        ([(0.05, 0.40, 0.30)] * 4, 10.0, 2.0),
        ([(0.30, 0.40, 0.90)] * 4, 10.0, 1.0),
        ([(0.05, 0.40, 0.30)] * 4, 5.0, 2.0),
        ([(0.30, 0.40, 0.90)] * 4, 1.0, None),  # there is no slower one
    ],
)
def test_a_machine_that_cannot_keep_up_gets_fewer_pictures(
    parts: list[tuple[float, float, float]], rate: float, expected: float | None
) -> None:
    assert slower_rate(seen_of(*parts), rate, deadline_seconds=1.0) == expected
