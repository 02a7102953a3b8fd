"""The credit window against a slow link: a real gRPC client and server through 1 Mbit/s."""

from __future__ import annotations

import asyncio
import statistics
import time

from support.edge.edge_uplink import UplinkRecorder, make_ledger_frame, make_uplink
from support.edge.fake_cloud import FakeCloud
from support.edge.throttled_proxy import throttled_proxy

LINK_BYTES_PER_SECOND = 125_000  # 1 Mbit/s
FRAME_BYTES = 10_000
FRAMES = 40
CREDIT_BYTES = 40_000
NO_CREDIT_BYTES = 2**31


async def test_ack_delay_is_bounded_by_the_credit_and_not_by_buffers_of_the_transport() -> None:
    bounded = await _send_all(CREDIT_BYTES)
    unbounded = await _send_all(NO_CREDIT_BYTES)

    # The window drains in 0.32 s, all frames in 3.2 s; the factors leave room for a busy machine.
    assert bounded.max_in_flight_bytes <= CREDIT_BYTES
    assert unbounded.max_in_flight_bytes > 4 * CREDIT_BYTES
    window_seconds = CREDIT_BYTES / LINK_BYTES_PER_SECOND
    assert statistics.median(bounded.ack_seconds) < 2.5 * window_seconds
    assert max(unbounded.ack_seconds) > 3 * max(bounded.ack_seconds)
    assert unbounded.elapsed_seconds > 0.6 * bounded.elapsed_seconds  # the throughput is the link's


async def _send_all(credit_bytes: int) -> UplinkRecorder:
    async with (
        FakeCloud(credit_bytes=credit_bytes) as cloud,
        throttled_proxy(cloud.address, LINK_BYTES_PER_SECOND) as proxy,
    ):
        recorder = UplinkRecorder()
        uplink = make_uplink(proxy.address, recorder)
        running = asyncio.create_task(uplink.run())
        await recorder.wait_until(lambda: recorder.is_up)
        start = time.monotonic()
        for sequence in range(1, FRAMES + 1):
            await uplink.send(make_ledger_frame(sequence, FRAME_BYTES))
        await recorder.wait_until(lambda: len(recorder.detected) == FRAMES)
        recorder.elapsed_seconds = time.monotonic() - start
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return recorder
