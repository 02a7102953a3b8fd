"""What the edge says on the wire, byte for byte as it always did."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from slimcontrol.link import LinkRate
from slimedge.frame import FrameHeader, micros_of
from slimedge.link.wire import begun_by, make_enhancement, make_frame
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


HELLO = pb.Hello(time_mono_us=4_000_000_000, time_unix_us=1_789_999_678_469_500)
CHECKED = b"\x9bSLW\x03" + bytes(80)  # a container of version 3 has its own checksum


def test_a_quiet_frame_costs_60_bytes_beside_its_container_at_most() -> None:
    month_us = 30 * 86_400 * 10**6
    header = FrameHeader(
        sequence=25_920_000,  # of a month at 10 frames/s
        capture_time_unix_us=HELLO.time_unix_us + month_us,
        capture_time_mono_us=HELLO.time_mono_us + month_us,
        container_crc32c=0x12345678,
        link_bytes_per_second=12_500_000,
        reference_sequence=25_919_999,
    )

    message = make_frame(header, CHECKED, 10_000, late=False, hello=HELLO)

    grpc_and_http2 = 5 + 9
    assert message.ByteSize() + grpc_and_http2 - len(CHECKED) <= 60
    assert message.frame.capture_after_us == month_us
    assert not message.frame.capture_time_unix_us
    assert not message.frame.container_crc32c
    assert not message.frame.lane


def test_a_short_frame_says_what_the_cloud_does_not_know() -> None:
    wall_was_set = replace(HEADER, capture_time_unix_us=HEADER.capture_time_unix_us + 10**7)
    of_before = replace(HEADER, capture_time_mono_us=0)

    other = make_frame(wall_was_set, CHECKED, late=False, hello=HELLO).frame
    unchecked = make_frame(HEADER, b"\x9bSLW\x02", late=True, hello=HELLO).frame
    kept = make_frame(of_before, CHECKED, late=True, epoch=3, hello=HELLO).frame

    assert other.capture_time_unix_us == wall_was_set.capture_time_unix_us
    assert other.capture_after_us == 321_654_321
    assert (unchecked.container_crc32c, unchecked.lane) == (0x12345678, pb.LANE_BACKFILL)
    assert not unchecked.capture_time_unix_us
    assert kept.capture_time_unix_us == HEADER.capture_time_unix_us
    assert not kept.HasField("capture_after_us")


def test_an_older_cloud_is_sent_long_messages() -> None:
    hello = pb.StreamFramesRequest(hello=HELLO)

    assert begun_by(hello, pb.Welcome()) is None
    assert begun_by(hello, pb.Welcome(protocol_minor=2)) == HELLO
    assert make_enhancement(1, CHECKED, "r").enhancement.container_crc32c
    assert not make_enhancement(1, CHECKED, "r", HELLO).enhancement.container_crc32c


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
