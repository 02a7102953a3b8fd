"""What the edge says on the wire, byte for byte as it always did."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from slimcontrol.link import LinkRate
from slimedge.frame import FrameHeader, micros_of
from slimedge.link.wire import make_frame
from slimwire.v1 import ingest_pb2 as pb

HEADER = FrameHeader(
    sequence=7,
    capture_time_unix_us=1_790_000_000_123_456,
    capture_time_mono_us=4_321_654_321,
    container_crc32c=0x12345678,
    traceparent="00-" + 16 * "ab" + "-" + 8 * "cd" + "-01",
    link_bytes_per_second=98_765,
)
# What version 0.1 wrote of this frame: live, and from the spool of an earlier start.
LIVE = (
    "126608071140c227dafe5b06001931369701010000002209636f6e7461696e65722d7856341230904e3801423730"
    "302d61626162616261626162616261626162616261626162616261626162616261622d6364636463646364636463"
    "64636463642d303150cd8306"
)
SPOOLED = (
    "126c08071140c227dafe5b06001931369701010000002209636f6e7461696e65722d785634123802423730302d61"
    "626162616261626162616261626162616261626162616261626162616261622d6364636463646364636463646364"
    "63642d30314901e025dafe5b060050cd8306"
)


def test_a_frame_is_written_as_before() -> None:
    live = make_frame(HEADER, b"container", 10_000, late=False)
    spooled = make_frame(HEADER, b"container", late=True, epoch=1_790_000_000_000_001)

    assert live.SerializeToString(deterministic=True).hex() == LIVE
    assert spooled.SerializeToString(deterministic=True).hex() == SPOOLED


def test_every_field_of_the_header_is_one_of_the_wire() -> None:
    names = {field.name for field in fields(FrameHeader)}

    assert names <= set(pb.Frame.DESCRIPTOR.fields_by_name)
    frame = make_frame(HEADER, b"", late=False).frame
    assert {name: getattr(frame, name) for name in names} == asdict(HEADER)


@pytest.mark.parametrize(("size_bytes", "seconds"), [(1, 1e9), (10**15, 1e-3)])
def test_what_is_believed_of_any_link_fits_the_wire(size_bytes: int, seconds: float) -> None:
    rate = LinkRate()
    for _ in range(50):
        rate.add_queued(size_bytes, seconds)

    said = round(rate.safe)

    assert pb.Frame(link_bytes_per_second=said).link_bytes_per_second == said > 0


def test_a_time_before_1970_is_said_as_1970() -> None:
    assert micros_of(-5.0) == 0
    assert micros_of(1_790_000_000.123456) == 1_790_000_000_123_456
