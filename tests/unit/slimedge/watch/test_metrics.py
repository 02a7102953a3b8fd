"""Every event moves a metric; health follows the events."""

from __future__ import annotations

import numpy as np
import pytest

from slimcontrol.controller import WaitReason
from slimedge.event import (
    Acked,
    Backfilled,
    CameraChanged,
    CameraState,
    Captured,
    ClockStepped,
    Damaged,
    Detected,
    EdgeEvent,
    Encoded,
    GapRecorded,
    LinkChanged,
    LinkState,
    LossReason,
    Lost,
    Nacked,
    Refetched,
    RefetchRefused,
    Replaced,
    Sent,
    Skipped,
    SpoolChanged,
    Spooled,
    Stage,
)
from slimedge.gap import Gap, GapReason
from slimedge.memory.originals import Originals
from slimedge.watch.metrics import MetricsObserver
from slimops.metrics import Metrics

IMAGE = np.zeros((10, 20, 3), np.uint8)
EVENTS_AND_SAMPLES: list[tuple[EdgeEvent, str]] = [
    (Captured(1, (10, 20)), "slim_edge_frames_captured_total 1.0"),
    (Damaged("cut"), 'slim_edge_frames_dropped_total{reason="damaged"} 1.0'),
    (Replaced(1), 'slim_edge_frames_dropped_total{reason="replaced"} 1.0'),
    (Skipped(1, WaitReason.CREDIT), 'slim_edge_frames_dropped_total{reason="credit"} 1.0'),
    (Lost(1, LossReason.EXPIRED), 'slim_edge_frames_dropped_total{reason="expired"} 1.0'),
    (
        Encoded(1, 1, 2, 3, 500, IMAGE, 0.1, 0.2, probe=True),
        'slim_edge_bitstream_bytes_sum{width_level="2"} 500.0',
    ),
    (Encoded(1, 1, 2, 3, 500, IMAGE, 0.1, 0.2, probe=True), "slim_edge_probes_total 1.0"),
    (Sent(1, 500, 0.1, resent=False), "slim_edge_frames_sent_total 1.0"),
    (Sent(1, 500, 0.1, resent=True), "slim_edge_frames_resent_total 1.0"),
    (
        Acked(1, Stage.PERSISTED, 0.2),
        'slim_edge_ack_seconds_count{stage="persisted"} 1.0',
    ),
    (Detected(1, (), 0.4, 0.1, 0.1), "slim_edge_latency_seconds_sum 0.4"),
    (Nacked(1, "crc", "", retryable=True), 'slim_edge_nacks_total{reason="crc"} 1.0'),
    (Refetched("r", 1, 3, 900), 'slim_edge_refetches_total{reason="sent"} 1.0'),
    (RefetchRefused("r", 1, ""), 'slim_edge_refetches_total{reason="refused"} 1.0'),
    (LinkChanged(LinkState.UP, ""), "slim_edge_link_up 1.0"),
    (LinkChanged(LinkState.DOWN, ""), 'slim_edge_link_changes_total{state="down"} 1.0'),
    (CameraChanged(CameraState.UP, ""), "slim_edge_camera_up 1.0"),
    (CameraChanged(CameraState.LOST, ""), "slim_edge_camera_losses_total 1.0"),
    (SpoolChanged(True, ""), "slim_edge_spool_up 1.0"),
    (Spooled(1, 500), "slim_edge_frames_spooled_total 1.0"),
    (Backfilled(7, 1, 500), "slim_edge_frames_backfilled_total 1.0"),
    (
        GapRecorded(Gap(GapReason.CAMERA_LOST, 1.0, 2.0)),
        'slim_edge_gaps_total{reason="camera_lost"} 1.0',
    ),
    (ClockStepped(5.0, 1.0), "slim_edge_clock_steps_total 1.0"),
]


@pytest.mark.parametrize(("event", "sample"), EVENTS_AND_SAMPLES)
def test_an_event_moves_its_metric(event: EdgeEvent, sample: str) -> None:
    metrics = Metrics("edge")
    observer = MetricsObserver(metrics, lambda: 0.0, lambda: 0.0, lambda: 0.0)
    assert sample not in metrics.exposition().decode().splitlines()

    observer.notify(event)

    assert sample in metrics.exposition().decode().splitlines()


def test_gauges_read_the_ledger_and_the_controller() -> None:
    metrics = Metrics("edge")
    originals = Originals(1, 1)
    observer = MetricsObserver(metrics, lambda: 1234.0, lambda: 5678.0, lambda: 9.5)
    observer.watch_originals(originals)

    lines = metrics.exposition().decode().splitlines()
    originals.close()

    assert "slim_edge_in_flight_bytes 1234.0" in lines
    assert "slim_edge_last_ack_age_seconds 9.5" in lines
    assert "slim_edge_link_rate_bytes_per_second 5678.0" in lines
    assert "slim_edge_originals_bytes 0.0" in lines


def _counted(*events: EdgeEvent) -> MetricsObserver:
    observer = MetricsObserver(Metrics("edge"), lambda: 0.0, lambda: 0.0, lambda: 0.0)
    for event in events:
        observer.notify(event)
    return observer


def test_totals_say_how_far_frames_came_and_why_not_farther() -> None:
    counted = _counted(
        *(Captured(frame, (4, 6)) for frame in range(1, 9)),
        Damaged("cut"),
        Replaced(1),
        *(Skipped(frame, WaitReason.INFEASIBLE) for frame in (2, 3)),
        *(Sent(sequence, 100, 0.0, resent=False) for sequence in (1, 2, 3)),
        Sent(1, 100, 0.0, resent=True),
        Acked(1, Stage.RECEIVED, 0.1),
        Detected(1, (), 0.1, 0.0, 0.0),
        Lost(3, LossReason.EXPIRED),
        Spooled(4, 100),
    )

    assert counted.totals() == (
        "8 captured, 3 sent, 1 detected; not detected: 1 damaged, 1 replaced, 2 infeasible, "
        "1 expired, 1 kept for later"
    )


def test_a_source_of_which_nothing_arrived_was_not_delivered() -> None:
    captured = Captured(1, (4, 6))

    assert _counted().has_delivered  # there was nothing
    assert not _counted(captured, Replaced(1)).has_delivered
    assert _counted(captured, Spooled(1, 100)).has_delivered
    assert _counted(captured, Acked(1, Stage.RECEIVED, 0.1)).has_delivered
