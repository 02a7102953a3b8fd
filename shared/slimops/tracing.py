"""Spans of a frame's way, for who collects them: OpenTelemetry, as an optional extra.

    edge: capture ─┬─ encode          (edge)
                   ├─ ingest          (cloud, role ingest)
                   └─ detect          (cloud, role detect)

The frame carries a W3C `traceparent` through the wire and the store, where the edge's spans are
collected. Configured once, in a `__main__`, as logging is; without that nothing is recorded.
A span is recorded when its work is done: a stream that lives for days is no span.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from slimops.errors import OpsError
from slimops.installation import how_to_install

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


_recorder: Callable[[str, str, float, bool], None] | None = None


def configure_tracing(
    service: str, endpoint: str | None, exporter: SpanExporter | None = None
) -> Callable[[], None]:
    """Send the spans of this process to an OTLP collector; gives what sends the last and stops.

    Args:
        service: name of the process among others, e.g. `slimwire-edge`.
        endpoint: of the collector, gRPC, e.g. `http://127.0.0.1:4317`; None for no spans.
        exporter: takes the collector's place.

    Raises:
        OpsError: the extra is not installed.
    """
    global _recorder
    if endpoint is None and exporter is None:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            TraceFlags,
            set_span_in_context,
        )
    except ModuleNotFoundError as exc:
        raise OpsError(
            f"otlp_endpoint needs {exc.name}, which is not installed; run: {how_to_install('otel')}"
        ) from exc

    resource = Resource.create({"service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processor = BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=endpoint, insecure=True))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("slimwire")

    def record(name: str, traceparent: str, seconds: float, is_root: bool) -> None:
        _, trace_id, span_id, flags = traceparent.split("-")
        context = SpanContext(
            int(trace_id, 16), int(span_id, 16), not is_root, TraceFlags(int(flags, 16))
        )
        end_ns = time.time_ns()
        start_ns = end_ns - round(seconds * 1e9)
        if is_root:  # its id was given out before its time was known
            processor.on_end(
                ReadableSpan(name, context, resource=resource, start_time=start_ns, end_time=end_ns)
            )
        else:
            parent = set_span_in_context(NonRecordingSpan(context))
            tracer.start_span(name, parent, start_time=start_ns).end(end_ns)

    def stop() -> None:
        global _recorder
        _recorder = None
        provider.shutdown()

    _recorder = record
    return stop


def record_span(name: str, traceparent: str, seconds: float, *, is_root: bool = False) -> None:
    """Record work that has just ended.

    Args:
        traceparent: of the frame; nothing is recorded without one.
        seconds: what the work took.
        is_root: this is the span that `traceparent` names, and not one below it.
    """
    if _recorder is not None and traceparent:
        _recorder(name, traceparent, seconds, is_root)


def make_traceparent() -> str:
    """Begin a trace: 00-(trace, 16 bytes)-(span, 8 bytes)-(flags), in hexadecimal; empty where
    nobody collects.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    if _recorder is None:
        return ""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{_SAMPLED}"


_SAMPLED = "01"  # whoever collects traces may keep this one
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(traceparent: str) -> str:
    """A W3C `traceparent` of version 00; empty when it is none, for a trace is never worth a frame.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    return traceparent if _TRACEPARENT.fullmatch(traceparent) else ""
