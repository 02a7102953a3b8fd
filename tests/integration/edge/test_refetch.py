"""Commands for enhancements: each gets one answer, however many come and however often."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from slimcodec.encode import EncodedImage, Encoder
from slimcodec.errors import ImageError
from slimedge.encode.worker import EncodeWorker
from slimedge.event import RefetchRefused
from slimedge.link.refetch import MAX_WAITING, Refetcher
from slimedge.link.wire import Refetch
from slimedge.memory.originals import Originals
from support.edge.edge_uplink import UplinkRecorder, make_uplink
from support.edge.fake_cloud import FakeCloud


class NoEncoder(Encoder):
    """Is never asked: the ring is empty."""

    def __init__(self) -> None:
        pass

    def encode(self, image: NDArray[np.uint8], *_: object, **__: object) -> EncodedImage:
        raise ImageError("no encoder here")

    def enhance(self, image: NDArray[np.uint8], *_: object, **__: object) -> EncodedImage:
        raise ImageError("no encoder here")


def make_command(request_id: str, sequence: int) -> Refetch:
    return Refetch(request_id, sequence, None, 0.0, math.inf)


@asynccontextmanager
async def refetching(cloud: FakeCloud, *asked: Refetch) -> AsyncIterator[UplinkRecorder]:
    """A refetcher with an empty ring, which was asked all that before it could begin."""
    recorder = UplinkRecorder()
    uplink = make_uplink(cloud.address, recorder)
    thread = ThreadPoolExecutor(1)
    worker = EncodeWorker(NoEncoder(), None, thread=thread)
    refetcher = Refetcher(Originals(1, 1), worker, recorder.ledger, recorder, time.monotonic)
    for one in asked:
        refetcher.ask(one)
    tasks = [asyncio.create_task(uplink.run())]
    try:
        await recorder.wait_until(lambda: recorder.is_up)
        tasks.append(asyncio.create_task(refetcher.run(uplink)))
        yield recorder
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        thread.shutdown()


async def test_every_command_beyond_the_limit_is_refused() -> None:
    too_many = 3
    asked = [make_command(f"r-{n}", n) for n in range(1, MAX_WAITING + too_many + 1)]

    async with FakeCloud() as cloud, refetching(cloud, *asked) as recorder:
        await cloud.wait_until(lambda: len(cloud.refusals) == len(asked))

    reasons = {refusal.request_id: refusal.detail for refusal in cloud.refusals}
    assert set(reasons) == {one.request_id for one in asked}
    refused = {name for name, detail in reasons.items() if "too many" in detail}
    assert refused == {f"r-{n}" for n in range(1, too_many + 1)}  # those that waited longest
    assert len(recorder.of(RefetchRefused)) == len(asked)


async def test_a_command_that_is_told_again_while_it_waits_is_carried_out_once() -> None:
    first, again, last = make_command("r-1", 1), make_command("r-1", 1), make_command("r-2", 2)

    async with FakeCloud() as cloud, refetching(cloud, first, again, last):
        await cloud.wait_until(lambda: "r-2" in [r.request_id for r in cloud.refusals])

    assert [refusal.request_id for refusal in cloud.refusals] == ["r-1", "r-2"]
