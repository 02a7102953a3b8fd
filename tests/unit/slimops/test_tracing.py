from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from slimops.errors import OpsError
from slimops.tracing import configure_tracing, make_traceparent, record_span, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


def test_root_has_the_ids_of_the_traceparent_and_the_others_are_below_it() -> None:
    exporter = InMemorySpanExporter()
    stop = configure_tracing("slimwire-test", None, exporter)

    record_span("encode", TRACEPARENT, 0.25)
    record_span("capture", TRACEPARENT, 0.5, is_root=True)
    stop()  # sends what waits

    child, root = exporter.get_finished_spans()
    assert (child.name, root.name) == ("encode", "capture")
    assert f"{root.context.trace_id:032x}" == f"{child.context.trace_id:032x}" == TRACE
    assert f"{root.context.span_id:016x}" == SPAN
    assert root.parent is None
    assert child.parent is not None
    assert child.parent.span_id == root.context.span_id
    assert child.start_time is not None
    assert child.end_time is not None
    assert child.end_time - child.start_time == 250_000_000
    assert child.resource.attributes["service.name"] == "slimwire-test"


def test_frame_without_a_trace_is_not_recorded() -> None:
    exporter = InMemorySpanExporter()
    stop = configure_tracing("slimwire-test", None, exporter)

    record_span("encode", "", 0.1)
    stop()
    record_span("encode", TRACEPARENT, 0.1)  # and nothing after the stop

    assert exporter.get_finished_spans() == ()


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(OpsError, match=r"pip install .*\[otel\]"):
        configure_tracing("slimwire-test", "http://127.0.0.1:4317")


def test_a_trace_that_was_begun_is_one_and_anything_else_is_none() -> None:
    stop = configure_tracing("slimwire-test", None, InMemorySpanExporter())
    first, second = make_traceparent(), make_traceparent()
    stop()

    assert make_traceparent() == ""  # nobody collects
    assert first != second
    assert trace_of(first) == first
    assert trace_of("") == trace_of("00-cut") == trace_of(first.upper()) == ""
    assert trace_of(f"00-{32 * '0'}-{16 * '1'}-01") == ""
