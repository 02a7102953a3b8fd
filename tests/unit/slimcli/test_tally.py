"""The edge's events, counted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from slimcli.demo.review import ViewedFrame
from slimcli.demo.screen import PlainScreen, Scene, draw
from slimcli.demo.summary import percentile, summary_json, summary_table
from slimcli.demo.tally import KEPT_PICTURES, Tally
from slimcodec.detection import Detection
from slimedge.event import (
    Acked,
    CameraChanged,
    CameraState,
    Captured,
    Detected,
    Encoded,
    JpegMeasured,
    LinkChanged,
    LinkState,
    LossReason,
    Lost,
    Nacked,
    Replaced,
    Sent,
    Skipped,
    SkipReason,
    Stage,
)

SCENE = Scene("street.mp4", "toy/1", "http://127.0.0.1:1", "1,000 kbit/s, simulated", 20)


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
    tally.notify(Acked(sequence, Stage.RECEIVED, 0.1, 0.1))
    tally.notify(Acked(sequence, Stage.PERSISTED, 0.1, 0.1))
    tally.notify(detected(sequence, latency))
    tally.notify(JpegMeasured(sequence, 4000))


def test_a_frame_is_counted_at_every_step() -> None:
    tally = Tally()

    run_frame(tally, 1)
    run_frame(tally, 2)

    seen = summary_json(tally.totals, None, None)
    assert seen["frames_captured"] == seen["frames_sent"] == seen["frames_acked"] == 2
    assert seen["frames_detected"] == 2
    assert seen["bytes_total"] == 2000
    assert seen["bpp_mean"] == 8 * 1000 / (40 * 50)
    assert seen["jpeg_bytes_total"] == 8000
    assert seen["detections"] == {"person": 2}
    assert tally.totals.against_jpeg == -0.75
    assert tally.is_settled


def test_news_that_comes_twice_is_counted_once() -> None:
    tally = Tally()
    run_frame(tally, 1)

    tally.notify(Sent(1, 1000, 0.0, resent=True))
    tally.notify(Acked(1, Stage.PERSISTED, 0.1, 0.1))
    tally.notify(detected(1))
    tally.notify(JpegMeasured(1, 4000))

    assert tally.totals.frames_sent == tally.totals.frames_detected == 1
    assert tally.totals.sent_bytes == 1000
    assert tally.totals.jpeg_bytes == 4000
    assert len(tally.totals.latencies_seconds) == 1


def test_what_did_not_come_through_is_counted_by_its_reason() -> None:
    tally = Tally()

    tally.notify(Replaced(1))
    tally.notify(Skipped(2, SkipReason.INFEASIBLE))
    tally.notify(encoded(1))
    tally.notify(Lost(1, LossReason.EXPIRED))
    tally.notify(encoded(2))
    tally.notify(Nacked(2, "crc", "damaged", retryable=True))
    tally.notify(Nacked(2, "decode", "broken", retryable=False))

    totals = tally.totals
    assert (totals.frames_replaced, totals.frames_skipped) == (1, 1)
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
    for event in (Acked(1, Stage.PERSISTED, 0.1, 0.1), detected(1), JpegMeasured(1, 4000)):
        tally.notify(event)

    assert not is_settled_before
    assert tally.is_settled
    assert tally.totals.frames_captured == tally.totals.frames_sent == 1
    assert tally.totals.frames_detected == 1


def test_the_narrowest_and_newest_detected_frame_is_reviewed_first() -> None:
    tally = Tally()
    for sequence, level in ((1, 0), (2, 2), (3, 0), (4, 1)):
        run_frame(tally, sequence, level)

    assert [row.sequence for row in tally.reviewable()] == [3, 1, 4, 2]
    picture = tally.picture(3)
    assert picture is not None
    assert picture[0, 0, 0] == 3


def test_old_pictures_are_let_go() -> None:
    tally = Tally()
    for sequence in range(1, KEPT_PICTURES + 3):
        run_frame(tally, sequence)

    assert tally.picture(2) is None
    assert tally.picture(3) is not None
    assert tally.totals.frames_detected == KEPT_PICTURES + 2


def test_the_parts_of_a_latency_add_up_to_the_whole() -> None:
    tally = Tally()

    run_frame(tally, 1, latency=0.5)

    (row,) = tally.recent
    assert row.link_seconds == pytest.approx(0.5 - 0.01 - 0.02 - 0.03 - 0.05 - 0.1)


def test_an_empty_tally_sums_up_to_nulls() -> None:
    seen = summary_json(Tally().totals, None, 1000.0)

    assert seen["bpp_mean"] is seen["latency_p50_seconds"] is seen["view_psnr_db"] is None
    assert seen["frames_captured"] == seen["bytes_total"] == 0
    assert seen["uplink_kbit_per_second"] == 1000.0


def test_percentiles_are_interpolated() -> None:
    assert percentile([1.0, 2.0], 50) == 1.5
    assert percentile([], 50) is None


def shown(renderable: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_screen_shows_the_newest_frame_and_the_totals() -> None:
    tally = Tally()
    tally.notify(LinkChanged(LinkState.UP, "127.0.0.1:1"))
    run_frame(tally, 1)
    run_frame(tally, 2)

    text = shown(draw(tally, SCENE, elapsed=3.2))

    assert "frame 2  level 1  quality 2  50 x 40  1,000 bytes  4.000 bits per pixel" in text
    assert "1 person" in text
    assert "2 captured, 2 sent, 2 detected" in text
    assert "(-75 %)" in text
    assert "http://127.0.0.1:1" in text
    assert "3 s of 20 s" in text


def test_the_screen_waits_for_the_first_frame_and_says_what_is_missing() -> None:
    tally = Tally()
    tally.notify(CameraChanged(CameraState.LOST, "connection refused"))
    tally.notify(LinkChanged(LinkState.DOWN, "again in 2 s"))

    text = shown(draw(tally, SCENE, elapsed=0))

    assert "waiting for the first frame" in text
    assert "lost: connection refused" in text
    assert "down: again in 2 s" in text


def test_the_summary_compares_the_view_before_and_after() -> None:
    tally = Tally()
    run_frame(tally, 1)
    viewed = ViewedFrame("demo:1:1", 0, 1000, 25.0, 500, 30.0, "")

    text = shown(summary_table(tally.totals, viewed, ""))
    seen = summary_json(tally.totals, viewed, None)

    assert "25.00 dB from the 1,000 bytes" in text
    assert "30.00 dB after 500 more" in text
    assert seen["view_psnr_db"] == {"before": 25.0, "after": 30.0}


def test_plain_lines_do_not_repeat_themselves() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    tally = Tally()
    run_frame(tally, 1)

    with PlainScreen(console, SCENE) as screen:
        screen.update(tally)
        screen.update(tally)
        screen.update(tally, "waiting for the last results")

    lines = console.export_text().splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("frame 1: level 1, quality 2, 1,000 bytes")
