"""Detect workers that are processes: they share work, die in the middle of it, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.feed import FeedEntry, FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState
from support.cloud.frames import make_frame

TESTS = Path(__file__).parents[2]
OUTCOMES = (FeedKind.FRAME_DETECTED, FeedKind.FRAME_FAILED)


@contextmanager
def _worker(
    redis_url: str, seconds_per_frame: float, **overrides: object
) -> Iterator[subprocess.Popen[str]]:
    settings = {"reclaim_idle_seconds": 0.3, "max_batch_size": 4, **overrides}
    process = subprocess.Popen(
        [sys.executable, "-m", "support.cloud.detect_process", redis_url, json.dumps(settings)]
        + [str(seconds_per_frame)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def _outcomes(store: Store, count: int) -> list[FeedEntry]:
    """The events of the outcomes of all frames, once there are `count`."""
    found: list[FeedEntry] = []
    after = "0-0"
    while len(found) < count:
        for event in await store.feed.read(after, block_seconds=0.2):
            after = event.entry_id
            found += [event] if event.kind in OUTCOMES else []
    return found


async def _said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == f"{word}\n"


async def test_two_processes_share_the_work_and_keep_the_order_of_a_camera(
    redis_url: str, store: Store
) -> None:
    cameras, frames = ("gate", "yard"), 30
    patient = {"order_wait_seconds": 30, "reclaim_idle_seconds": 30}  # a busy machine is no death
    slow, fast = _worker(redis_url, 0.03, **patient), _worker(redis_url, 0.01, **patient)
    with slow as first, fast as second:
        for process in (first, second):
            await _said(process, "ready")
        for sequence in range(1, frames + 1):
            for camera in cameras:
                await store.put_frame(*make_frame(sequence, camera_id=camera))
        events = await _outcomes(store, frames * len(cameras))

    done_by: Counter[str] = Counter()
    for camera in cameras:
        ids = [e.frame_id for e in events if e.camera_id == camera and e.frame_id is not None]
        assert [frame_id.sequence for frame_id in ids] == list(range(1, frames + 1))
        for frame_id in ids:
            result = await store.get_detections(frame_id)
            assert result is not None
            done_by[result.detector] += 1
    assert len(done_by) == 2
    assert min(done_by.values()) >= 4
    assert await store.work.outstanding() == 0


async def test_kill_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    redis_url: str, client: Redis, store: Store
) -> None:
    count = 8
    with _worker(redis_url, 0.0, max_queue_delay_seconds=0.2) as first:
        for sequence in range(1, count + 1):
            container = b"stall" if sequence == 6 else b"container"
            await store.put_frame(*make_frame(sequence, container=container))
        await _said(first, "ready")
        await _said(first, "stalled")
        first.kill()
        first.wait()
    held = await store.work.outstanding()
    assert 0 < held <= count
    # what stalled one worker is an ordinary frame to the next
    await client.hset(f"{keys.FRAME}{make_frame(6).frame_id}", "container", b"container")

    with _worker(redis_url, 0.0):
        events = await _outcomes(store, count)
        while await store.work.outstanding():
            await asyncio.sleep(0.02)

    told = [event.frame_id.sequence for event in events if event.frame_id is not None]
    assert sorted(told) == list(range(1, count + 1))
    assert {event.kind for event in events} == {FeedKind.FRAME_DETECTED}
    assert (await store.totals()).detected == count
    assert await store.work.dead_letters() == []


async def test_frame_that_kills_its_workers_ends_in_the_dead_letters(
    redis_url: str, store: Store
) -> None:
    deliveries = 2
    for sequence, container in ((1, b"container"), (2, b"poison"), (3, b"container")):
        await store.put_frame(*make_frame(sequence, container=container))

    deaths = 0
    while (await store.get_frame(make_frame(2).frame_id)).state is FrameState.QUEUED:
        # idle for as long as no busy machine leaves a worker: taking over counts as a delivery
        with _worker(redis_url, 0.0, max_deliveries=deliveries, reclaim_idle_seconds=1.0) as worker:
            while worker.poll() is None and not await store.work.dead_count():
                await asyncio.sleep(0.05)
            deaths += worker.poll() is not None
    with _worker(redis_url, 0.0):
        events = await _outcomes(store, 3)

    assert deaths == deliveries
    outcomes = {e.frame_id.sequence: e.kind for e in events if e.frame_id is not None}
    assert outcomes == {
        1: FeedKind.FRAME_DETECTED,
        2: FeedKind.FRAME_FAILED,
        3: FeedKind.FRAME_DETECTED,
    }
    (letter,) = await store.work.dead_letters()
    assert letter.frame_id == make_frame(2).frame_id
    assert letter.reason == "given up after 2 deliveries: its workers died without a word"
    assert (await store.get_frame(letter.frame_id)).reason == letter.reason
