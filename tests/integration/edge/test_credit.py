"""The credit window against a slow link: a real gRPC client and server through 1 Mbit/s."""

from __future__ import annotations

import asyncio

from slimedge.event import Acked, EdgeEvent, Sent, Stage
from slimlinks.shaping import ShapedLink
from support.edge.edge_uplink import UplinkRecorder, make_ledger_frame, make_uplink
from support.edge.fake_cloud import FakeCloud
from support.edge.throttled_proxy import throttled_proxy

LINK_BYTES_PER_SECOND = 125_000  # 1 Mbit/s
FRAME_BYTES = 10_000
FRAMES = 40
CREDIT_BYTES = 40_000
NO_CREDIT_BYTES = 2**31


class DelayRecorder(UplinkRecorder):
    """Measures how long an Ack takes in what the link carries meanwhile: a busy machine changes
    its seconds, not its bytes.
    """

    def __init__(self, link: ShapedLink) -> None:
        super().__init__()
        self._link = link
        self._passed_before: dict[int, int] = {}
        self.ack_bytes: list[int] = []

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case Sent():
                self._passed_before[event.sequence] = self._link.passed_bytes
            case Acked(stage=Stage.RECEIVED):
                passed = self._link.passed_bytes - self._passed_before[event.sequence]
                self.ack_bytes.append(passed)
        super().notify(event)


async def test_ack_delay_is_bounded_by_the_credit_and_not_by_buffers_of_the_transport() -> None:
    bounded = await _send_all(CREDIT_BYTES)
    unbounded = await _send_all(NO_CREDIT_BYTES)

    assert bounded.max_in_flight_bytes <= CREDIT_BYTES
    assert unbounded.max_in_flight_bytes > 4 * CREDIT_BYTES
    # What was before it, and what took the places of that; a tenth is gRPC's and the Hello's.
    assert max(bounded.ack_bytes) < 1.1 * 2 * CREDIT_BYTES
    assert max(unbounded.ack_bytes) > 4 * CREDIT_BYTES


async def _send_all(credit_bytes: int) -> DelayRecorder:
    async with (
        FakeCloud(credit_bytes=credit_bytes) as cloud,
        throttled_proxy(cloud.address, LINK_BYTES_PER_SECOND) as proxy,
    ):
        recorder = DelayRecorder(proxy)
        uplink = make_uplink(proxy.address, recorder)
        running = asyncio.create_task(uplink.run())
        await recorder.wait_until(lambda: recorder.is_up)
        for sequence in range(1, FRAMES + 1):
            await uplink.send(make_ledger_frame(sequence, FRAME_BYTES))
        await recorder.wait_until(lambda: len(recorder.detected) == FRAMES)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return recorder
