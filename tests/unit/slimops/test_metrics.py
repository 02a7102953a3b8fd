from __future__ import annotations

import pytest

from slimops.metrics import Metrics


def test_names_carry_the_service_and_the_unit() -> None:
    metrics = Metrics("cloud")

    metrics.counter("frames", "Frames", ("width_level",)).labels("2").inc()
    metrics.histogram("queue_seconds", "Waiting").observe(0.02)
    metrics.gauge("streams", "Streams", lambda: 7.0)

    text = metrics.exposition().decode()
    assert 'slim_cloud_frames_total{width_level="2"} 1.0' in text
    assert "slim_cloud_queue_seconds_sum 0.02" in text
    assert "slim_cloud_streams 7.0" in text


@pytest.mark.parametrize("thing", ["queue_ms", "bytes_kb", "Frames", "load_percent"])
def test_name_without_a_base_unit_is_refused(thing: str) -> None:
    with pytest.raises(ValueError, match="base unit"):
        Metrics("cloud").histogram(thing, "Wrong")


def test_two_services_in_one_process_do_not_meet() -> None:
    Metrics("cloud").counter("frames", "Frames")
    Metrics("cloud").counter("frames", "Frames")
