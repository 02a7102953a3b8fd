from __future__ import annotations

import pytest

from slimops.metrics import MAX_LABEL_SETS, Metrics


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


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_label_that_a_stranger_chooses_cannot_grow_without_end(kind: str) -> None:
    metrics = Metrics("cloud")
    metric = getattr(metrics, kind)("things", "Things", ("method",))

    for number in range(MAX_LABEL_SETS + 50):
        child = metric.labels(method=f"M{number}")
        child.inc() if kind == "counter" else child.observe(1)
    metric.labels("M0")  # one that is known stays itself

    text = metrics.exposition().decode()
    name = "slim_cloud_things_total" if kind == "counter" else "slim_cloud_things_count"
    assert f'{name}{{method="other"}} 50.0' in text
    assert text.count(f"{name}{{") == MAX_LABEL_SETS + 1
